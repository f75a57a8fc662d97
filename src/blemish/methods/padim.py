"""PaDiM: a Gaussian for each place of frozen features; what lies far from it is odd.

Defard, Setkov, Loesch, Audigier 2020, "PaDiM: a Patch Distribution Modeling Framework for Anomaly
Detection and Localization", arXiv 2011.08785. Written from the paper; weights and licence are the
backbone's (nets/weights.py). What differs from the paper and why: docs/methods/padim.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.methods.base import Config, Method
from blemish.nets.features import Features
from blemish.nets.gaussian import Places, Whitened, fit_places, whitening
from blemish.nets.strongest import Strongest, directions_of
from blemish.settings import require
from blemish.track import Track, silent


@dataclass(frozen=True, kw_only=True)
class PadimConfig(Config):
    """share: side of the squares of positions that share a covariance, 1 to 8; 1 in the paper.
    ridge: added to each feature's variance, as a share of its mean over all places, above 0
        (paper: 0.01 absolute).
    width: features kept at random of those the taps give; 0 keeps all (paper: 100 of ResNet-18's).
    directions: of each covariance, the strongest, that are kept as they are; all others get one
        variance, the harmonic mean of theirs; 0, or as many as there are features, keeps all
        (paper: all).
    """

    share: int = 2
    ridge: float = 0.01
    width: int = 0
    directions: int = 48

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.share <= 8, "share", "between 1 and 8 positions", self.share)
        cell = self.taps[0] * self.share
        require(
            self.size % cell == 0, "size", f"a multiple of {cell}: stride times share", self.size
        )
        require(self.ridge > 0, "ridge", "above 0", self.ridge)
        require(self.width >= 0, "width", "0 or more features", self.width)
        require(self.directions >= 0, "directions", "0 or more", self.directions)


class Stack(nn.Module):
    """Taps side by side on the finest grid, each pooled 3 x 3; some channels of them, or all."""

    def __init__(self, keep: Tensor | None) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, *taps: Tensor) -> Tensor:  # (B, C, h', w') each → (B, D, h, w)
        stacked = torch.cat(_finest(taps), dim=1)
        return stacked if self.keep is None else stacked[:, self.keep]

    def rows(self, *taps: Tensor) -> Tensor:
        """The same as (B, h, w, D). Moved before they are joined, because runtimes move each tap on
        its way out of a layout of their own."""
        stacked = torch.cat([tap.permute(0, 2, 3, 1) for tap in _finest(taps)], dim=3)
        return stacked if self.keep is None else stacked[..., self.keep]


def _finest(taps: tuple[Tensor, ...]) -> list[Tensor]:  # (B, C, h, w) each
    size = taps[0].shape[2:]
    first, *others = (pool(tap) for tap in taps)
    return [first, *(F.interpolate(tap, size, mode="bilinear") for tap in others)]


def pool(tap: Tensor) -> Tensor:
    """Mean of each 3 x 3 neighbourhood, of what there is of it at the border."""
    return F.avg_pool2d(tap, 3, stride=1, padding=1, count_include_pad=False)


class PadimHead(nn.Module):
    """Mahalanobis distance of each position (paper, equation 2)."""

    def __init__(self, stack: Stack, whitened: Whitened) -> None:
        super().__init__()
        self.stack, self.whitened = stack, whitened

    def forward(self, *taps: Tensor) -> Tensor:
        distance: Tensor = self.whitened(self.stack(*taps)).sqrt()
        return distance  # (h, w)


class StrongestHead(nn.Module):
    """The same of covariances by their strongest directions."""

    def __init__(self, stack: Stack, strongest: Strongest) -> None:
        super().__init__()
        self.stack, self.strongest = stack, strongest

    def forward(self, *taps: Tensor) -> Tensor:
        distance: Tensor = self.strongest(self.stack.rows(*taps))
        return distance  # (h, w)


class Padim(Method):
    """See the module's head. Presets: "embedded", and "paper": ResNet-18 with 100 features."""

    name = "padim"
    presets: ClassVar[dict[str, Config]] = {
        "embedded": PadimConfig(),
        "paper": PadimConfig(
            size=224, backbone="resnet18", taps=(4, 8, 16), share=1, width=100, directions=0
        ),
    }
    config: PadimConfig

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Padim:
        """Means and covariances of good parts in one pass."""
        channels = sum(shape[0] for shape in features.shapes)
        stack = Stack(self._keep(channels, seed))
        places = fit_places(features.grids(stack, track), self.config.share)
        self.head_ = self._head(stack, places)
        return self

    def _head(self, stack: Stack, places: Places) -> nn.Module:
        ridge, count = self.config.ridge, self.config.directions
        if 0 < count < places.covariance.shape[1]:
            directions = directions_of(places.covariance, ridge, count)
            return StrongestHead(stack, Strongest(places, directions))
        return PadimHead(stack, Whitened(places, whitening(places.covariance, ridge)))

    def _keep(self, channels: int, seed: int) -> Tensor | None:
        if not 0 < self.config.width < channels:
            return None
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        return order[: self.config.width].sort().values
