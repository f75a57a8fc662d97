"""A Gaussian for each place of a feature grid: accumulated in one pass, scored as one product.

Neighbouring positions may share a covariance (never a mean): that divides the size of the model
and the time of a score, and steadies the estimate where images are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blemish.errors import ConfigError, DataError

COLUMNS = 40  # at most, of a piece of a map; fewer save more numbers, but take more steps
LEAST = 0.05  # added to a mean square whose usual value is 1, so that its logarithm has an end


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Statistics of good parts. P blocks of S = side * side positions, D features.

    mean: (P, S, D). covariance: (P, D, D). rows: feature vectors behind each covariance.
    grid: (h, w) positions.
    """

    mean: Tensor
    covariance: Tensor
    rows: int
    grid: tuple[int, int]
    side: int


def blocks(grid: Tensor, side: int) -> Tensor:
    """(B, D, h, w) → (P, B * S, D): positions that share a covariance, together."""
    b, d, h, w = grid.shape
    cut = grid.reshape(b, d, h // side, side, w // side, side)
    return cut.permute(2, 4, 0, 3, 5, 1).reshape(h // side * (w // side), b * side * side, d)


def fit_places(batches: Iterable[Tensor], side: int) -> Places:
    """Means and covariances of (B, D, h, w) batches; h and w are multiples of side.

    Raises DataError if the features do not vary at all.
    """
    sums: Sums | None = None
    for batch in batches:
        sums = sums or Sums(batch, side)
        sums.add(batch)
    if sums is None:
        raise DataError("fitting needs features of at least one good image, but got none.")
    mean = sums.total / sums.count
    covariance = sums.square / (sums.count * side * side) - mean.mT @ mean / (side * side)
    covariance *= sums.count / max(sums.count - 1, 1)
    if not covariance.diagonal(dim1=1, dim2=2).max() > 0:
        raise DataError(
            "the good images must differ from each other at least by noise, but their features"
            " are all the same. Photograph different parts."
        )
    return Places(
        mean=mean + blocks(sums.origin, side),
        covariance=covariance,
        rows=sums.count * side * side,
        grid=(sums.origin.shape[2], sums.origin.shape[3]),
        side=side,
    )


class Sums:
    """Running sums about the first image, so that nothing cancels in float32."""

    def __init__(self, batch: Tensor, side: int) -> None:
        d = batch.shape[1]
        self.side, self.count, self.origin = side, 0, batch[:1].clone()
        places = blocks(self.origin, side).shape[0]
        if places == 0:
            raise ConfigError(
                f"share must be at most the side of the feature grid, but is {side}."
                " Lower it with --set share=…, or raise the size."
            )
        self.total = torch.zeros(places, side * side, d)
        self.square = torch.zeros(places, d, d)

    def add(self, batch: Tensor) -> None:
        """Takes in (B, D, h, w) features."""
        rows = blocks(batch - self.origin, self.side)  # (P, B * S, D)
        self.square.baddbmm_(rows.mT, rows)
        self.total += rows.reshape(len(rows), len(batch), -1, rows.shape[2]).sum(1)
        self.count += len(batch)


def whitening(covariance: Tensor, ridge: float) -> Tensor:
    """(P, D, D) → W of the same shape, so that (x - mean) @ W has unit covariance.

    ridge: added to each feature's variance, as a share of its mean variance over all places.
    """
    floor = torch.diag(floor_of(covariance, ridge))
    unit = torch.eye(covariance.shape[1]).expand_as(covariance)
    with factorising():
        root = torch.linalg.cholesky(covariance + floor)  # lower
        whiten: Tensor = torch.linalg.solve_triangular(root, unit, upper=False).mT.contiguous()
    return whiten


def floor_of(covariance: Tensor, ridge: float) -> Tensor:
    """(P, D, D) → (D,): what a ridge adds to each feature's variance; see whitening."""
    level = covariance.diagonal(dim1=1, dim2=2).mean(0)
    return ridge * level.clamp_min(1e-6 * float(level.max()))


@contextmanager
def factorising() -> Iterator[None]:
    """One thread: many small factorisations are some 30 times slower when each is split.

    Raises ConfigError if a matrix is singular to working precision.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ConfigError(
            "every covariance must have an inverse, but the good images are too few or too alike"
            " for that. Raise ridge (--set ridge=…, for fbft also penalty), or give more images."
        ) from error
    finally:
        torch.set_num_threads(before)


class Whitened(nn.Module):
    """Squared length of each position's features after its place's linear map.

    maps: (P, D, K); width: K. (1, D, h, w) → (h, w).

    A score takes as long as its maps take to come from memory. Those of a Cholesky factor are
    triangular, so they are kept in pieces of COLUMNS columns, each down to its last row that is not
    all zeros: five eighths of the numbers, and the same sums.
    """

    shift: Tensor

    def __init__(self, places: Places, maps: Tensor) -> None:
        super().__init__()
        self.grid, self.side, self.width = places.grid, places.side, maps.shape[2]
        pieces = maps.tensor_split(-(-self.width // COLUMNS), dim=2)
        self.heights = tuple(_rows_in_use(piece) for piece in pieces)
        for number, (piece, height) in enumerate(zip(pieces, self.heights, strict=True)):
            self.register_buffer(f"maps_{number}", piece[:, :height].contiguous())
        self.register_buffer("shift", places.mean @ maps)  # (P, S, K)

    def residuals(self, features: Tensor) -> Tensor:
        """(1, D, h, w) → (P, S, K): each position's features after its map."""
        return torch.cat(self._pieces(features), dim=2)

    def _pieces(self, features: Tensor) -> list[Tensor]:  # (P, S, columns) each
        h, w, side = *self.grid, self.side
        # What `blocks` does, in two turns that the runtime copies row by row.
        rows = features.flatten(2).transpose(1, 2).reshape(h // side, side, w // side, -1)
        rows = rows.transpose(1, 2).reshape(h // side * (w // side), side * side, -1)
        made, start = [], 0
        for number, height in enumerate(self.heights):
            maps = self.get_buffer(f"maps_{number}")
            seen = rows if height == rows.shape[2] else rows[:, :, :height]
            shift = self.shift[:, :, start : start + maps.shape[2]]
            made.append(seen @ maps - shift)
            start += maps.shape[2]
        return made

    def forward(self, features: Tensor) -> Tensor:
        h, w, side = *self.grid, self.side
        squares = [piece.square().sum(2) for piece in self._pieces(features)]
        cells = torch.stack(squares).sum(0).reshape(h // side, w // side, side, side)
        return cells.permute(0, 2, 1, 3).reshape(h, w)


def _rows_in_use(maps: Tensor) -> int:
    """How many rows there are down to the last one that is not zero at every place, at least 1."""
    used = maps.abs().amax(dim=(0, 2)).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


class Surprise(Whitened):
    """How far each position's features lie from its place's, told apart by groups of features.

    The map is a whitening by Cholesky's factor, so that a feature counts by what those before it
    do not foretell. (1, D, h, w) → (1, G, h, w): the logarithm of each group's mean square, 0 where
    features are as usual.
    """

    average: Tensor

    def __init__(self, places: Places, maps: Tensor, groups: tuple[int, ...]) -> None:
        super().__init__(places, maps)
        average = torch.zeros(sum(groups), len(groups))
        for group, count in enumerate(groups):
            start = sum(groups[:group])
            average[start : start + count, group] = 1 / count
        self.register_buffer("average", average)  # (K, G)

    def forward(self, features: Tensor) -> Tensor:
        level = torch.log(self.residuals(features).square() @ self.average + LEAST)  # (P, S, G)
        return self._grid(level)

    def white(self, features: Tensor) -> Tensor:
        """(1, D, h, w) → (1, K, h, w): the features of each position after its place's map."""
        return self._grid(self.residuals(features))

    def _grid(self, cells: Tensor) -> Tensor:  # (P, S, C) → (1, C, h, w)
        h, w, side = *self.grid, self.side
        rows = cells.reshape(h // side, w // side, side, side, -1)
        return rows.permute(4, 0, 2, 1, 3).reshape(1, -1, h, w)
