"""LSFA's head: patches of all modalities on one grid, adapted, and how far from a memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.descriptors import AROUND
from blemish.fpfh import WIDTH
from blemish.methods.padim import pool
from blemish.nets.features import Features
from blemish.shots import Sight

if TYPE_CHECKING:
    from blemish.methods.lsfa import LsfaConfig

Patches = list[tuple[Tensor, Tensor]]  # a modality: (B, N, D) patches, (B, N) seen
MANY = 100  # parts that tell how features are spread
LEAST = 0.3  # share of a cell that must have been seen


class Cells(nn.Module):
    """Taps side by side on one grid: (B, C, h', w') each → (B, D, grid, grid).

    smooth: whether they are pooled 3 x 3 and enlarged bilinearly, or repeated as they are (as the
    paper's tokens).
    """

    def __init__(self, grid: int, smooth: bool) -> None:
        super().__init__()
        self.grid, self.smooth = grid, smooth

    def forward(self, *taps: Tensor) -> Tensor:
        return torch.cat([self._fit(pool(tap) if self.smooth else tap) for tap in taps], dim=1)

    def _fit(self, tap: Tensor) -> Tensor:
        side = tap.shape[2]
        if side == self.grid:
            return tap
        if side % self.grid == 0:
            return F.avg_pool2d(tap, side // self.grid)
        how = "bilinear" if self.smooth else "nearest"
        return F.interpolate(tap, (self.grid, self.grid), mode=how)


class Parts(nn.Module):
    """A batch of taps, and of scans if there are some → (B, N, D) patches of each modality, and (B,
    N) whether they were seen.

    balance: of a photograph's features, so that all taps count alike: deep ones vary far more, and
    would be all that counts. weights: of the numbers of a scan's description, to the same end.
    """

    balance: Tensor
    weights: Tensor

    def __init__(self, config: LsfaConfig, sight: Sight | None) -> None:
        super().__init__()
        self.cells = Cells(config.grid, smooth=not config.backbone.startswith("vit_"))
        self.pictures = len(sight.pictures) if sight else 1
        self.points, self.taps = bool(sight and sight.points != "none"), len(config.taps)
        self.register_buffer("balance", torch.ones(1))
        self.register_buffer("weights", torch.ones(1))

    def forward(self, *given: Tensor) -> Patches:
        taps = [tap if tap.ndim == 5 else tap[:, None] for tap in given[: self.taps]]
        found = []
        for number in range(self.pictures):
            grid = self.cells(*(tap[:, number] for tap in taps))
            patches = grid.flatten(2).transpose(1, 2) * self.balance
            found.append((patches, torch.ones(patches.shape[:2], dtype=torch.bool)))
        if self.points:
            shape, seen = given[self.taps : self.taps + 2]
            there = seen.flatten(1) > LEAST
            patches = shape.flatten(2).transpose(1, 2) * self.weights
            found.append((patches * there[:, :, None], there))
        return found


class LsfaHead(nn.Module):
    """Adapted patches' distances to the memory, in units that good parts tell, joined over the
    modalities that are there: → (grid, grid).

    banks: one memory a modality, added when it is known. square: whether modalities are joined by
    the root of their mean square, or averaged.
    """

    level: Tensor
    unit: Tensor
    weights: Tensor

    def __init__(self, parts: Parts, adaptors: nn.ModuleList, square: bool) -> None:
        super().__init__()
        self.parts, self.adaptors, self.banks = parts, adaptors, nn.ModuleList()
        self.square = square
        for name, value in (("level", 0.0), ("unit", 1.0), ("weights", 1.0)):
            self.register_buffer(name, torch.full((len(adaptors),), value))

    def measure(self, number: int, far: Sequence[Tensor]) -> None:
        """Sets level and unit of a modality from distances in spared good parts: none and their
        oddest patches' median if scores are squared, else mean and spread of all."""
        every = torch.cat([*far]) if far else torch.zeros(0)
        if len(every) < 2:  # a scan may have seen nothing of them
            return
        if self.square:
            unit = torch.stack([one.max() for one in far]).median()
        else:
            unit, self.level[number] = every.std(), every.mean()
        self.unit[number] = unit.clamp_min(1e-6)

    def scores(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        """(M, N) scores of one part in their units, 0 where nothing was seen, and (M, N) seen."""
        far, seen = [], []
        for number, (patches, there) in enumerate(self.parts(*given)):
            adapted = self.adaptors[number](patches)[0]
            apart = self.banks[number](adapted, there[0])
            score = (apart - self.level[number]) / self.unit[number]
            far.append(score * there[0])
            seen.append(there[0])
        return torch.stack(far), torch.stack(seen)

    def forward(self, *given: Tensor) -> Tensor:
        if len(self.banks) == 1:
            scores = self.scores(*given)[0][0]
        else:
            *taps, present = given
            # A part's taps come with its photographs as their first axis.
            count = self.parts.taps
            whole = [tap[None] for tap in taps[:count]] + taps[count:]
            weights = self.weights * present
            scores = self.scores(*whole)[0]
            scores = scores.square() if self.square else scores
            scores = (weights[:, None] * scores).sum(0) / weights.sum()
            scores = scores.sqrt() if self.square else scores
        side = self.parts.cells.grid
        return scores.reshape(side, side)


def patches_of(features: Features, parts: Parts, indices: Sequence[int]) -> Patches:
    """Patches of these images, not adapted."""
    return cast(Patches, parts(*map(torch.from_numpy, features.batch(indices))))


def weigh(parts: Parts, features: Features, learnt: Sequence[int], even: bool) -> None:
    """Makes taps count alike if `even`; of scans FPFH as a whole, mean heights and extreme ones,
    too, and each of the heights as much as the others of its kind."""
    sight = features.origin.sight
    shapes = sight is not None and sight.points == "fpfh"
    if not (even or shapes):
        return
    known = patches_of(features, parts, some(learnt))
    if even:
        pictures = [_spread(*one).square() for one in known[: parts.pictures]]
        spread = torch.stack(pictures).mean(0).sqrt()
        taps = torch.split(spread, [shape[-3] for shape in features.shapes[: parts.taps]])
        each = torch.cat([_size(tap).expand(len(tap)) for tap in taps])
        parts.balance = _size(spread) / len(taps) ** 0.5 / each  # all together vary as they did
    if shapes:
        spread = _spread(*known[-1])
        bends, heights = spread[:WIDTH], spread[WIDTH:]
        means, ends = heights[: len(AROUND)], heights[len(AROUND) :]
        units = [_size(bends).expand(WIDTH), *(one * len(one) ** 0.5 for one in (means, ends))]
        parts.weights = 1 / torch.cat(units)


def _spread(patches: Tensor, seen: Tensor) -> Tensor:
    """(D,) standard deviation of each feature, above 0; 1 where too little was seen to tell."""
    if seen.sum() < 2:
        return torch.ones(patches.shape[2])
    return patches[seen].std(0).clamp_min(1e-9)


def _size(spread: Tensor) -> Tensor:
    return spread.square().sum().sqrt()


def some(indices: Sequence[int]) -> Sequence[int]:
    """At most MANY of them, evenly spread."""
    return indices[:: -(-len(indices) // MANY)]
