"""A student that is known in closed form: what the teacher sees at each place of a good part.

It foretells a Gaussian for each place instead of one feature, so its attention (how far the
teacher is from it) is in units of what is usual there, and told apart by groups of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.errors import DataError
from blemish.nets.features import Features
from blemish.nets.gaussian import Surprise, fit_places, whitening
from blemish.nets.sfnet import enlarge, unit
from blemish.track import silent

GROUPS = (1, 2, 2, 2)  # of features at each tap
SHARE = 2  # side of the squares of positions that share a covariance


class Stacked(nn.Module):
    """Taps side by side on the second's grid, (B, D, h, w), not blurred: a defect keeps its edges.

    basis: (C, K), the directions of the deepest tap that are kept.
    """

    kernel: Tensor

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", basis.T[:, :, None, None].contiguous())

    def forward(self, *taps: Tensor) -> Tensor:
        first, second, third, fourth = taps
        size = second.shape[2:]
        deepest = F.conv2d(fourth, self.kernel)
        return torch.cat(
            [F.avg_pool2d(first, 2), second, enlarge(third, size), enlarge(deepest, size)], dim=1
        )


class Attention(nn.Module):
    """Taps of one image → (1, G, h, w): how far each group of features is from what is usual at its
    place, in standard deviations of its logarithm on good parts."""

    level: Tensor
    spread: Tensor

    def __init__(self, stacked: Stacked, surprise: Surprise) -> None:
        super().__init__()
        self.stacked, self.surprise = stacked, surprise
        self.groups = surprise.average.shape[1]
        self.register_buffer("level", torch.zeros(1, self.groups, 1, 1))
        self.register_buffer("spread", torch.ones(1, self.groups, 1, 1))

    def forward(self, *taps: Tensor) -> Tensor:
        return cast(Tensor, self.surprise(self.stacked(*taps)) - self.level) / self.spread


def fit_attention(features: Features, basis: Tensor, ridge: float) -> Attention:
    """Fits a Gaussian a place, in one pass."""
    stacked = Stacked(basis)
    places = fit_places(features.grids(stacked, silent), SHARE)
    counts = [*(shape[0] for shape in features.shapes[:3]), basis.shape[1]]
    groups = [size for pair in zip(counts, GROUPS, strict=True) for size in _split(*pair)]
    return Attention(stacked, Surprise(places, whitening(places.covariance, ridge), tuple(groups)))


def _split(count: int, pieces: int) -> list[int]:
    """Near equal parts that sum to count, none empty."""
    pieces = min(pieces, count)
    return [(count + i) // pieces for i in range(pieces)]


def crossed(features: Features, basis: Tensor, ridge: float) -> tuple[Attention, list[Attention]]:
    """The attention of all images, and two of one half each, on one scale.

    The second is of the photographs of even numbers and for those of odd ones, the first the other
    way round: a part that a Gaussian was fitted on looks too usual to it, few parts by far. Raises
    DataError on fewer than 4 photographs.
    """
    if features.photographs < 4:
        raise DataError(
            "a head of made-up defects needs at least 4 good images to learn from, but got"
            f" {features.photographs}; of few a third is spared. Photograph at least 6 good parts,"
            " or fit with --method padim."
        )
    evens, odds = (range(first, features.photographs, 2) for first in (0, 1))
    pair = [
        fit_attention(features.part(half), basis, ridge) for half in (odds, evens)
    ]  # pair[n % 2] has not seen photograph n
    whole = fit_attention(features, basis, ridge)
    rescale(features, whole, pair)
    return whole, pair


def rescale(features: Features, whole: Attention, pair: Sequence[Attention]) -> None:
    """Gives all three the mean and standard deviation that images have in the half which has not
    seen them; those of `pair` must be on no scale yet."""
    level, spread = _scale(features, pair)
    for attention in (whole, *pair):
        attention.level.copy_(level)
        attention.spread.copy_(spread)


def _scale(features: Features, pair: Sequence[Attention]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each group over all images and positions, (1, G, 1, 1)."""
    total, square = torch.zeros(2, 1, pair[0].groups, 1, 1, dtype=torch.float64)
    for index in range(len(features)):
        taps = (torch.from_numpy(tap) for tap in features.batch([index]))
        grid = pair[features.of(index) % 2](*taps).double()
        total += grid.mean((0, 2, 3), keepdim=True)
        square += grid.square().mean((0, 2, 3), keepdim=True)
    level = total / len(features)
    spread = (square / len(features) - level.square()).clamp_min(1e-6).sqrt()
    return level.float(), spread.float()


def strongest(features: Features, width: int) -> Tensor:
    """(C, K) principal directions of the deepest tap over all images and positions, K at most
    `width`; the largest entry of each is positive, so that no library's choice of signs matters."""
    channels = features.shapes[3][0]
    count, total, square = 0, torch.zeros(channels), torch.zeros(channels, channels)
    for taps in features.batches():
        rows = taps[3].transpose(0, 1).flatten(1)  # (C, N)
        count, total = count + rows.shape[1], total + rows.sum(1)
        square += rows @ rows.mT
    mean = total / count
    vectors = torch.linalg.eigh(square / count - torch.outer(mean, mean))[1]
    basis = vectors[:, -min(width, channels) :].flip(1)
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    signed: Tensor = basis * largest.sign()
    return signed


class Judge(nn.Module):
    """A small U over a grid of attention, (B, G, h, w) → (B, 1, h, w) logits of a defect.

    It sees how far features are from usual and never what they are, so it cannot learn what its
    training defects look like, only how they lie.
    """

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.enter = unit(groups, width, 3)
        self.mix = unit(width, width, 3)
        self.down = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.up = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, attention: Tensor) -> Tensor:
        levels = [self.mix(self.enter(attention))]
        for shrink in self.down:
            levels.append(shrink(F.avg_pool2d(levels[-1], 2, ceil_mode=True)))
        grid = levels.pop()
        for grow in self.up:
            level = levels.pop()
            grid = grow(level + enlarge(grid, level.shape[2:]))
        return cast(Tensor, self.last(grid))


class PlacesHead(nn.Module):
    """The judge's logit, and `weight` times the mean attention, which ranks what the judge is sure
    is good: → (h, w)."""

    def __init__(self, attention: Attention, judge: Judge, weight: float) -> None:
        super().__init__()
        self.attention, self.judge, self.weight = attention, judge, weight

    def forward(self, *taps: Tensor) -> Tensor:
        far = self.attention(*taps)
        return cast(Tensor, (self.judge(far) + self.weight * far.mean(1, keepdim=True))[0, 0])
