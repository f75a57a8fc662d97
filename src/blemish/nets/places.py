"""A student that is known in closed form: what the teacher sees at each place of a good part.

It foretells a Gaussian for each place instead of one feature, so its attention (how far the
teacher is from it) is in units of what is usual there, and told apart by groups of features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.features import Features
from blemish.nets.gaussian import Surprise, fit_places, whitening
from blemish.nets.sfnet import enlarge, unit

BATCH = 32  # images whose features are in memory at once
GROUPS = ((2, 4, 4), (4, 4))  # of features at each tap, fine and coarse
SHARES = (2, 1)  # side of the squares of positions that share a covariance, fine and coarse


class Fine(nn.Module):
    """The three finer taps side by side on the second's grid, not blurred: they tell where."""

    def forward(self, *taps: Tensor) -> Tensor:
        third = enlarge(taps[2], taps[1].shape[2:])
        return torch.cat([F.avg_pool2d(taps[0], 2), taps[1], third], dim=1)


class Coarse(nn.Module):
    """The two coarser taps side by side on the third's grid, each pooled 3 x 3: they tell what.

    basis: (C, K) of the deepest, its K strongest directions on good parts.
    """

    kernel: Tensor

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", basis.T[:, :, None, None].contiguous())

    def forward(self, *taps: Tensor) -> Tensor:
        third = F.avg_pool2d(taps[2], 3, stride=1, padding=1, count_include_pad=False)
        fourth = F.conv2d(taps[3], self.kernel)
        fourth = F.avg_pool2d(fourth, 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([third, enlarge(fourth, third.shape[2:])], dim=1)


class Attention(nn.Module):
    """Taps of one image → (1, 10, h, w) and (1, 8, h / 2, w / 2): how far each group of features is
    from what is usual at its place, in standard deviations of its logarithm on good parts."""

    def __init__(self, sees: Sequence[nn.Module], surprises: Sequence[Surprise]) -> None:
        super().__init__()
        self.sees, self.surprises = nn.ModuleList(sees), nn.ModuleList(surprises)
        self.groups = [surprise.average.shape[1] for surprise in surprises]
        for i, groups in enumerate(self.groups):
            self.register_buffer(f"level_{i}", torch.zeros(1, groups, 1, 1))
            self.register_buffer(f"spread_{i}", torch.ones(1, groups, 1, 1))

    def forward(self, *taps: Tensor) -> tuple[Tensor, ...]:
        raw = [far(see(*taps)) for far, see in zip(self.surprises, self.sees, strict=True)]
        return tuple(
            (grid - self.get_buffer(f"level_{i}")) / self.get_buffer(f"spread_{i}")
            for i, grid in enumerate(raw)
        )

    def scale(self, levels: Sequence[Tensor], spreads: Sequence[Tensor]) -> None:
        for i, (level, spread) in enumerate(zip(levels, spreads, strict=True)):
            self.get_buffer(f"level_{i}").copy_(level)
            self.get_buffer(f"spread_{i}").copy_(spread)


def fit_attention(features: Features, basis: Tensor, ridge: float) -> Attention:
    """Fits a Gaussian a place, one pass for the finer and one for the coarser taps."""
    first, second, third, _ = (shape[0] for shape in features.shapes)
    channels = ((first, second, third), (third, basis.shape[1]))
    sees: tuple[nn.Module, ...] = (Fine(), Coarse(basis))
    surprises = []
    for see, share, counts, pieces in zip(sees, SHARES, channels, GROUPS, strict=True):
        places = fit_places((see(*taps) for taps in batches(features)), share)
        split = (_split(*pair) for pair in zip(counts, pieces, strict=True))
        groups = [size for sizes in split for size in sizes]
        surprises.append(Surprise(places, whitening(places.covariance, ridge), tuple(groups)))
    return Attention(sees, surprises)


def _split(count: int, pieces: int) -> list[int]:
    """Near equal parts that sum to count, none empty."""
    pieces = min(pieces, count)
    return [(count + i) // pieces for i in range(pieces)]


def crossed(features: Features, basis: Tensor, ridge: float) -> tuple[Attention, list[Attention]]:
    """The attention of all images, and two of one half each, on one scale.

    The second is of the images at even indices and for those at odd ones, the first the other way
    round: an image that a Gaussian was fitted on looks too usual to it, few images by far.
    """
    evens, odds = range(0, len(features), 2), range(1, len(features), 2)
    pair = [
        fit_attention(features.part(half), basis, ridge) for half in (odds, evens)
    ]  # pair[i % 2] has not seen image i
    levels, spreads = _scale(features, pair)
    whole = fit_attention(features, basis, ridge)
    for attention in (whole, *pair):
        attention.scale(levels, spreads)
    return whole, pair


def _scale(features: Features, pair: Sequence[Attention]) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and standard deviation of each group over all images and positions."""
    sums: list[Tensor] = []
    squares: list[Tensor] = []
    for index in range(len(features)):
        taps = (torch.from_numpy(tap) for tap in features.batch([index]))
        grids = [grid.double() for grid in pair[index % 2](*taps)]
        means = [grid.mean((0, 2, 3), keepdim=True) for grid in grids]
        seconds = [grid.square().mean((0, 2, 3), keepdim=True) for grid in grids]
        sums = [a + b for a, b in zip(sums, means, strict=True)] if sums else means
        squares = [a + b for a, b in zip(squares, seconds, strict=True)] if squares else seconds
    count = len(features)
    levels = [total / count for total in sums]
    spreads = [
        (square / count - level.square()).clamp_min(1e-6).sqrt()
        for square, level in zip(squares, levels, strict=True)
    ]
    return [level.float() for level in levels], [spread.float() for spread in spreads]


def strongest(features: Features, width: int) -> Tensor:
    """(C, K) principal directions of the deepest tap over all images and positions, K at most
    `width`; the largest entry of each is positive, so that no library's choice of signs matters."""
    channels = features.shapes[3][0]
    count, total, square = 0, torch.zeros(channels), torch.zeros(channels, channels)
    for taps in batches(features):
        rows = taps[3].transpose(0, 1).flatten(1)  # (C, N)
        count, total = count + rows.shape[1], total + rows.sum(1)
        square += rows @ rows.mT
    mean = total / count
    vectors = torch.linalg.eigh(square / count - torch.outer(mean, mean))[1]
    basis = vectors[:, -min(width, channels) :].flip(1)
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    signed: Tensor = basis * largest.sign()
    return signed


def batches(features: Features) -> Iterator[tuple[Tensor, ...]]:
    for taps in features.batches(BATCH):
        yield tuple(torch.from_numpy(tap) for tap in taps)


class Judge(nn.Module):
    """A small U over both grids of attention → (B, 1, h, w) logits of a defect.

    It sees how far features are from usual and never what they are, so it cannot learn what its
    training defects look like, only how they lie.
    """

    def __init__(self, groups: Sequence[int], width: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(unit(inside, width, 3) for inside in groups)
        self.mix = unit(width, width, 3)
        self.down = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.up = nn.ModuleList(unit(width, width, 3) for _ in range(3))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        both = self.enter[0](fine) + enlarge(self.enter[1](coarse), fine.shape[2:])
        levels = [self.mix(both)]
        for shrink in self.down:
            levels.append(shrink(F.avg_pool2d(levels[-1], 2, ceil_mode=True)))
        grid = levels.pop()
        for grow in self.up:
            level = levels.pop()
            grid = grow(level + enlarge(grid, level.shape[2:]))
        return cast(Tensor, self.last(grid))


class PlacesHead(nn.Module):
    """Attention, the judge's logit, and `weight` times the mean attention, which ranks what the
    judge is sure is good: → (h, w)."""

    def __init__(self, attention: Attention, judge: Judge, weight: float) -> None:
        super().__init__()
        self.attention, self.judge, self.weight = attention, judge, weight

    def forward(self, *taps: Tensor) -> Tensor:
        fine, coarse = self.attention(*taps)
        logits = self.judge(fine, coarse)
        far = fine.mean(1, keepdim=True) + enlarge(coarse.mean(1, keepdim=True), fine.shape[2:])
        return cast(Tensor, (logits + self.weight * far / 2)[0, 0])
