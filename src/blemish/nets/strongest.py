"""A Gaussian for each place by its covariance's strongest directions; the rest lies at one level.

With unit vectors v and variances c of the K strongest directions, and one variance r for all
others (the harmonic mean of theirs: no other level is as near to the inverse covariance),

    distance² = |x|² / r - sum of (v x)² (1 / r - 1 / c),    x = feature - mean,

in units in which the ridge adds 1 to each variance. It is exact for covariances of that form, as
far as c is at most LIMIT times r. A score takes as long as its maps take to come from memory, and
these are K columns in place of D.

Principal components and one level for the rest are Moghaddam's and Pentland's 1997, "Probabilistic
Visual Learning for Object Representation", IEEE TPAMI 19 (7), there with the arithmetic mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.gaussian import Places, factorising, floor_of

CHUNK = 64  # covariances in float64 at once
# A direction counts as at most so many times as variable as the rest: then a thousandth at least of
# |x|² is left when what lies in the strongest directions is taken away, and float32 keeps three
# digits of it. Of few parts two or three directions are beyond it, of many none.
LIMIT = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """Strongest directions of P covariances of D features.

    unit: (D,), what a feature is multiplied by so that the ridge's share of its variance is 1.
    maps: (P, D, K), so that r * distance² = |x|² - |x @ maps|² of features in these units.
    rest: (P,), r, the variance of all other directions, at least 1.
    """

    unit: Tensor
    maps: Tensor
    rest: Tensor


def directions_of(covariance: Tensor, ridge: float, count: int) -> Directions:
    """(P, D, D) → the `count` strongest directions of each, 1 to D - 1. ridge: as for whitening."""
    unit = floor_of(covariance, ridge).rsqrt()
    pairs = [_strongest(chunk, unit, count) for chunk in torch.split(covariance, CHUNK)]
    maps, rest = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return Directions(unit=unit, maps=maps, rest=rest)


def _strongest(covariance: Tensor, unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    scale = unit.double()
    even = covariance.double() * scale * scale[:, None]
    even.diagonal(dim1=1, dim2=2).add_(1)  # the ridge
    with factorising():
        variance, vectors = torch.linalg.eigh(even)  # ascending
    # below 1 by rounding alone
    others, kept = variance.clamp_min(1).tensor_split([variance.shape[1] - count], dim=1)
    rest = 1 / (1 / others).mean(1, keepdim=True)  # (P, 1)
    weight = (1 - rest / kept).clamp(0, 1 - 1 / LIMIT).sqrt()  # (P, K)
    maps = vectors[:, :, -count:] * weight[:, None]
    return maps.float().contiguous(), rest[:, 0].float()


class Strongest(nn.Module):
    """Distance of each position's features from its place's Gaussian.

    (1, h, w, D), features last → (h, w), 0 or more.
    """

    mean: Tensor
    unit: Tensor
    maps: Tensor
    inverse: Tensor

    def __init__(self, places: Places, directions: Directions) -> None:
        super().__init__()
        self.grid, self.side = places.grid, places.side
        self.register_buffer("mean", places.mean)  # (P, S, D)
        self.register_buffer("unit", directions.unit)
        self.register_buffer("maps", directions.maps[:, None])  # (P, 1, D, K)
        self.register_buffer("inverse", 1 / directions.rest[:, None])  # (P, 1)

    def forward(self, features: Tensor) -> Tensor:
        h, w, side = *self.grid, self.side
        rows = features.reshape(h // side, side, w // side, -1).transpose(1, 2)
        x = (rows.reshape(h // side * (w // side), side * side, -1) - self.mean) * self.unit
        whole = x.square().sum(2)  # (P, S)
        # One row at a time: a runtime then reads a map as it lies, and from near memory but once,
        # in place of packing it for four rows first.
        kept = (x[:, :, None] @ self.maps).square().sum((2, 3))
        # Rounding may leave less than nothing of what lies in the strongest directions alone.
        squares = F.relu(whole - kept) * self.inverse
        cells = squares.sqrt().reshape(h // side, w // side, side, side)
        return cells.permute(0, 2, 1, 3).reshape(h, w)
