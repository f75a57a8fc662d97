"""Large images in windows that overlap, and the scores of all windows as one map without seams.

What a network says near a window's border is worth little, because it does not see what lies
beyond. So windows share some pixels: of these the outer third counts for nothing, over the middle
third one window fades into its neighbour (docs/decisions/0013). The weights are products of a row's
and a column's, so no array of the image's size is needed but the map itself.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Map, Mask

Seen = TypeVar("Seen", bound=np.generic)
Corner = tuple[int, int]  # (top, left) of a window, native pixels; below 0 in a smaller image
SMALLEST, LARGEST = 32, 8192  # sides of a window, native pixels


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Square windows of native pixels.

    side: 32 to 8192. overlap: pixels that neighbours share at least, 0 to half of the side.
    """

    side: int
    overlap: int

    def starts(self, length: int) -> list[int]:
        """Where windows begin along a side of the image: as few as will do, evenly spread, none
        beyond its ends; of a side shorter than a window the one that has it in the middle.

        >>> Tiles(side=100, overlap=20).starts(250)
        [0, 75, 150]
        """
        if length <= self.side:
            return [-((self.side - length) // 2)]
        count = -((self.overlap - length) // (self.side - self.overlap))
        return [round(start) for start in np.linspace(0, length - self.side, count).tolist()]

    def corners(self, size: tuple[int, int], seen: Mask | None = None) -> list[Corner]:
        """Windows of an image of (H, W), row by row: all, or those that show something of what is
        inspected, seen: (H, W)."""
        every = [(top, left) for top in self.starts(size[0]) for left in self.starts(size[1])]
        if seen is None:
            return every
        side = self.side
        return [
            (top, left)
            for top, left in every
            if seen[max(top, 0) : top + side, max(left, 0) : left + side].any()
        ]

    def cut(self, pixels: npt.NDArray[Seen], corner: Corner) -> npt.NDArray[Seen]:
        """(H, W, C) → (side, side, C): what a window shows; the edge is repeated beyond it."""
        (top, left), side = corner, self.side
        shown = pixels[max(top, 0) : top + side, max(left, 0) : left + side]
        above, before = max(-top, 0), max(-left, 0)
        below, after = side - above - shown.shape[0], side - before - shown.shape[1]
        if not (above or before or below or after):
            return shown
        return np.pad(shown, ((above, below), (before, after), (0, 0)), "edge")

    def weights(self, length: int) -> npt.NDArray[np.float32]:
        """(windows, side): how much each counts at its pixels along a side of the image. All that
        count at a pixel sum to 1; beyond the image nothing counts."""
        starts = np.array(self.starts(length))
        faded = np.ones((len(starts), self.side))
        for row, shared in enumerate((starts[:-1] + self.side - starts[1:]).tolist()):
            way = np.clip(3 * (np.arange(shared) + 0.5) / max(shared, 1) - 1, 0, 1)
            faded[row, self.side - shared :] *= np.cos(np.pi / 2 * way) ** 2
            faded[row + 1, :shared] *= np.sin(np.pi / 2 * way) ** 2
        places = starts[:, None] + np.arange(self.side)  # of the image's pixels
        inside = (places >= 0) & (places < length)
        total = np.bincount(places[inside], faded[inside], length)
        return np.where(inside, faded / total[places.clip(0, length - 1)], 0).astype(np.float32)

    def map_of(
        self,
        size: tuple[int, int],
        grid_of: Callable[[Corner], Map],
        workers: int = 1,
        seen: Mask | None = None,
    ) -> Map:
        """(H, W) map of an image, from the (h', w') scores of each of its windows.

        workers: threads that call grid_of. seen: as of corners; what other windows would have said
        counts as 0, as what lies beyond the image. Besides the map, a row of windows is in memory.
        """
        map = np.zeros(size, np.float32)
        corners = self.corners(size, seen)
        chosen, lefts, across = {*corners}, self.starts(size[1]), self.weights(size[1])
        with ThreadPoolExecutor(workers) as pool:
            grids = pool.map(grid_of, corners)
            try:
                for top, down in zip(self.starts(size[0]), self.weights(size[0]), strict=True):
                    band = np.zeros((self.side, size[1]), np.float32)
                    for left, weight in zip(lefts, across, strict=True):
                        if (top, left) in chosen:
                            whole = cv2.resize(next(grids), (self.side,) * 2)  # bilinear
                            _add(band.T, left, (whole * weight).T)
                    _add(map, top, band * down[:, None])
            finally:  # if one fails, the others are not waited for
                pool.shutdown(cancel_futures=True)
        return map


def _add(whole: Map, start: int, part: Map) -> None:
    """Adds to the rows from `start` on those of `part` that are there."""
    into = whole[max(start, 0) : start + len(part)]
    into += part[max(-start, 0) :][: len(into)]
