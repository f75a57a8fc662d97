"""A memory of good parts: few rows that lie close to every feature ever seen (PatchCore's coreset).

Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler 2022, "Towards Total Recall in Industrial Anomaly
Detection", arXiv 2106.08265, algorithm 1: greedy k-centre, that is, always take the point farthest
from all rows so far. The rows are those that the plain loop takes, up to the rounding of float32,
but many are found in each pass over the points: as long as one of the farthest CANDIDATES is still
farther than any other point can be, it is the next, and only they need to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish.errors import ConfigError, DataError, NotFittedError, ShapeError
from blemish.nets.nearest import CHUNK, SAME, nearest_square
from blemish.track import Track, silent

Array = npt.NDArray[np.float32]

CANDIDATES = 2048  # a pass finds about a third as many rows


class Memory:
    """Rows for a growing and shrinking set of images.

    share: rows for each point seen, above 0 to 1. most: rows at most; 0 is no limit.

    The points stay where they are, in arrays or np.memmap files that must not change; besides them
    the memory keeps its rows and one number a point. Nothing is random: the first row is the point
    farthest from the mean. Raises ConfigError on a share or a limit out of range.

    >>> memory = Memory(share=0.5)
    >>> memory.add({"a": np.array([[0, 0], [0, 1], [9, 0], [9, 1]], np.float32)})
    >>> memory.at, memory.radius
    ([('a', 0), ('a', 3)], 1.0)
    >>> memory.add({"b": np.array([[4, 0], [4, 9]], np.float32)})
    >>> memory.at[2:]
    [('b', 1)]
    """

    def __init__(self, *, share: float, most: int = 0) -> None:
        if not 0 < share <= 1 or most < 0:
            raise ConfigError(
                "a memory must keep a share of points above 0 and at most 1, and at most 0 (no"
                f" limit) or more rows, but got {share} and {most}. Change them."
            )
        self.share, self.most = share, most
        self.images: dict[str, Array] = {}  # (n, D) points
        self.at: list[tuple[str, int]] = []  # image and place in it of each row, as chosen
        self._origin = torch.zeros(0)  # (D,): lengths from it are short, so that little cancels
        self._rows = torch.zeros(0, 0)  # (M, D), from the origin
        self._far = torch.zeros(0)  # (N,) squared distance of each point to its nearest row
        self._longest = 0.0  # largest squared length of a point from the origin

    @property
    def rows(self) -> Array:
        """(M, D) float32, in the order they were chosen."""
        return np.stack([self.images[name][place] for name, place in self.at])

    @property
    def radius(self) -> float:
        """Distance within which every point has a row. Raises NotFittedError without points."""
        if not self.images:
            raise NotFittedError(
                "a memory must hold points before it has a radius, but is empty. Call add first."
            )
        return float(self._far.max().sqrt())

    def add(self, images: Mapping[str, Array], *, track: Track = silent) -> None:
        """Takes in (n, D) float32 points by image, and as many rows more as their share.

        Raises DataError on no points, a name that is there already, NaN or infinity, and ShapeError
        on a width that differs; the memory is then as it was.
        """
        self._check(images)
        if not self.images:
            count = sum(len(points) for points in images.values())
            total = sum(chunk.double().sum(0) for chunk in _chunks(images.values()))
            self._origin = (torch.as_tensor(total) / count).float()
            self._rows = torch.zeros(0, len(self._origin))
        far = [self._far]
        for chunk in _chunks(images.values()):
            points = chunk - self._origin
            self._longest = max(self._longest, float(points.square().sum(1).max()))
            far.append(nearest_square(points, self._rows))
        self.images.update(images)
        self._far = torch.cat(far)
        if not self.at:
            self._begin()
        self._grow(self._target(), 0.0, track)

    def remove(self, names: Iterable[str]) -> None:
        """Forgets images, their points and their rows, and mends the holes these leave: what is
        left is covered no worse than before, as far as the number of rows before allows.

        Raises DataError on a name that is not there.
        """
        gone = set(names)
        if lost := gone - self.images.keys():
            raise DataError(
                f"an image to forget must be in the memory, but '{min(lost)}' is not. Name one"
                f" of its {len(self.images)}."
            )
        if not gone:
            return
        before, covered = len(self.at), float(self._far.max())
        stays = [name not in gone for name in self.images for _ in range(len(self.images[name]))]
        keep = torch.tensor([name not in gone for name, _ in self.at], dtype=torch.bool)
        orphaned = self._rows[~keep]
        self.images = {name: p for name, p in self.images.items() if name not in gone}
        self.at = [place for place in self.at if place[0] not in gone]
        self._rows = self._rows[keep]
        self._far = self._far[torch.tensor(stays, dtype=torch.bool)]
        if not self.images:
            return
        if self.at:
            self._mend(orphaned)
        else:
            self._begin()
        self._grow(before, covered, silent)
        self._grow(self._target(), 0.0, silent)

    def _begin(self) -> None:
        """The first row: the point farthest from the origin."""
        squares = [(c - self._origin).square().sum(1) for c in _chunks(self.images.values())]
        self._far.fill_(torch.inf)
        self._take(torch.cat(squares).argmax()[None])

    def _target(self) -> int:
        wanted = max(1, int(self.share * len(self._far)))
        return min(wanted, self.most) if self.most else wanted

    def _grow(self, count: int, enough: float, track: Track) -> None:
        """Rows until there are `count`, or every squared distance is at most `enough`."""
        enough = max(enough, SAME * self._longest)

        def passes() -> Iterator[int]:
            while len(self.at) < count and float(self._far.max()) > enough:
                before = len(self.at)
                self._take(self._next(count - before, enough))
                yield from range(before, len(self.at))  # progress counts rows

        for _ in track(passes(), "Choosing what to remember", max(0, count - len(self.at))):
            pass

    def _next(self, count: int, enough: float) -> Tensor:
        """The next rows, at most `count`: places among all points, as the plain loop takes them."""
        ranked = min(CANDIDATES, len(self._far))
        candidates = self._far.topk(ranked).indices.sort().values  # of equals the first, as argmax
        far = self._far[candidates].clone()
        # No other point is farther than the nearest candidate, nor will ever be.
        others = float(far.min()) if ranked < len(self._far) else -1.0
        points = self._points(candidates)
        squares = points.square().sum(1)
        chosen: list[int] = []
        apart = torch.addmm(squares, points, points.T, alpha=-2) + squares[:, None]
        while len(chosen) < count:
            place = int(far.argmax())
            if float(far[place]) <= max(others if chosen else -1.0, enough):
                break
            torch.minimum(far, apart[place], out=far)
            far[place] = 0
            chosen.append(place)
        return candidates[chosen]

    def _take(self, chosen: Tensor) -> None:
        """Makes points rows, and brings every distance up to date."""
        rows = self._points(chosen)
        self._rows = torch.cat([self._rows, rows])
        self.at += self._places(chosen)
        start = 0
        for chunk in _chunks(self.images.values()):
            part = self._far[start : start + len(chunk)]
            torch.minimum(part, nearest_square(chunk - self._origin, rows), out=part)
            start += len(chunk)
        self._far[chosen] = 0

    def _places(self, chosen: Tensor) -> list[tuple[str, int]]:
        """Image and place in it of places among all points."""
        ends = np.cumsum([len(points) for points in self.images.values()])
        blocks = np.searchsorted(ends, chosen.numpy(), side="right")
        names, starts = list(self.images), np.concatenate([[0], ends])[blocks]
        places = (chosen.numpy() - starts).tolist()
        return [(names[block], place) for block, place in zip(blocks, places, strict=True)]

    def _points(self, chosen: Tensor) -> Tensor:
        """(K, D) points from the origin."""
        points = np.stack([self.images[name][place] for name, place in self._places(chosen)])
        return torch.from_numpy(points) - self._origin

    def _mend(self, orphaned: Tensor) -> None:
        """Distances again of those points whose nearest row is gone."""
        start, slack = 0, SAME * self._longest
        for chunk in _chunks(self.images.values()):
            points = chunk - self._origin
            part = self._far[start : start + len(chunk)]
            lost = nearest_square(points, orphaned) <= part * (1 + SAME) + slack
            if lost.any():
                part[lost] = nearest_square(points[lost], self._rows)
            start += len(chunk)

    def _check(self, images: Mapping[str, Array]) -> None:
        if not images:
            raise DataError("a memory must be given points of at least one image, but got none.")
        known = [*self.images.values(), *images.values()][0]
        for name, points in images.items():
            if name in self.images:
                raise DataError(
                    f"an image of the memory must be new, but '{name}' is in it. Remove it first."
                )
            if points.ndim != 2 or len(points) == 0 or points.shape[1:] != known.shape[1:]:
                raise ShapeError(
                    f"points of '{name}' must be (n, D), at least one, of the memory's width, but"
                    f" are {points.shape} beside {known.shape}. Give features of one backbone."
                )
            if points.dtype != np.float32 or not np.isfinite(points).all():
                raise DataError(
                    f"points of '{name}' must be finite float32 numbers, but are {points.dtype} of"
                    f" which {int((~np.isfinite(points)).sum())} are not finite. Leave it out."
                )


def _chunks(images: Iterable[Array]) -> Iterator[Tensor]:
    """All points in order, at most CHUNK at a time, as copies: a file may be read-only."""
    waiting: list[Array] = []
    for points in images:
        for start in range(0, len(points), CHUNK):
            piece = points[start : start + CHUNK]
            if sum(map(len, waiting)) + len(piece) > CHUNK:
                yield torch.from_numpy(np.concatenate(waiting))
                waiting = []
            waiting.append(piece)
    if waiting:
        yield torch.from_numpy(np.concatenate(waiting))
