"""A denoising stream behind a frozen teacher: what it would see of a part without the defect.

Both live on the teacher's taps after the whitening of each place (nets/places.py), so that what
they differ by is in units of what is usual there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.features import Features
from blemish.nets.gaussian import LEAST
from blemish.nets.places import Attention, rescale
from blemish.nets.sfnet import enlarge, unit


class White(nn.Module):
    """The plain stream: taps of one image → (1, D, h, w), whitened at each place."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.stacked, self.surprise = attention.stacked, attention.surprise

    def forward(self, *taps: Tensor) -> Tensor:
        return self.surprise.white(self.stacked(*taps))


class Denoiser(nn.Module):
    """The denoising stream, a U of 3 x 3 convolutions: (B, D, h, w) of a part with a defect → the
    same of that part without it."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.enter = unit(features, width, 1)
        self.mix = unit(width, width, 3)
        self.down = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.up = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.last = nn.Conv2d(width, features, 1)

    def forward(self, seen: Tensor) -> Tensor:
        levels = [self.mix(self.enter(seen))]
        for shrink in self.down:
            levels.append(shrink(F.avg_pool2d(levels[-1], 2, ceil_mode=True)))
        grid = levels.pop()
        for grow in self.up:
            level = levels.pop()
            grid = grow(level + enlarge(grid, level.shape[2:]))
        return cast(Tensor, self.last(grid))


class Difference(Attention):
    """Attention to where the two streams differ: what the denoising one takes away."""

    kernel: Tensor

    def __init__(self, attention: Attention, denoiser: Denoiser) -> None:
        super().__init__(attention.stacked, attention.surprise)
        self.denoiser = denoiser
        average = attention.surprise.average  # (D, G)
        self.register_buffer("kernel", average.T[:, :, None, None].contiguous())

    def forward(self, *taps: Tensor) -> Tensor:
        seen = self.surprise.white(self.stacked(*taps))
        left = (seen - self.denoiser(seen)).square()
        return (torch.log(F.conv2d(left, self.kernel) + LEAST) - self.level) / self.spread


def differences(
    features: Features, whole: Attention, pair: Sequence[Attention], denoiser: Denoiser
) -> tuple[Attention, list[Attention]]:
    """Of the attentions of all images and of either half, on one scale (see places.crossed)."""
    first, *others = (Difference(one, denoiser) for one in (whole, *pair))
    rescale(features, first, others)
    return first, list(others)
