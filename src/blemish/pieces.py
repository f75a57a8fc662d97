"""Connected pieces of what is marked in a large map, without labels of all of it at once.

Labels take as much memory as the map itself, and what is made with them several times that. Here a
band of rows is labelled at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Map, Mask

BAND = 2**22  # pixels that are labelled at once
Labels = npt.NDArray[np.int32]


class Pieces:
    """The 8-connected pieces of the marked pixels of an (H, W) map.

    marked: rows → which of their pixels, (rows, W) bool; asked twice for all but the first band.
    peaks: (labels,), by label the highest value of the piece that it is part of.
    """

    peaks: Map

    def __init__(self, map: Map, marked: Callable[[slice], Mask]) -> None:
        self._map, self._marked = map, marked
        self._first: tuple[int, Labels] | None = None
        self._parents = [0]  # of each label; 0 is what is not marked
        own = [np.full(1, -np.inf, np.float32)]
        last: Labels | None = None
        for rows, labels, count in self.bands():
            self._parents += range(len(self._parents), len(self._parents) + count)
            highest = np.full(len(self._parents), -np.inf, np.float32)
            inside = labels > 0
            np.maximum.at(highest, labels[inside], map[rows][inside])
            own.append(highest[-count:] if count else highest[:0])
            if last is not None:
                self._join(last, labels[0])
            last = labels[-1]
        pieces = np.array([self._piece(label) for label in range(len(self._parents))])
        peaks = np.full(len(pieces), -np.inf, np.float32)
        np.maximum.at(peaks, pieces, np.concatenate(own))
        self.peaks = peaks[pieces]

    def bands(self) -> Iterator[tuple[slice, Labels, int]]:
        """Rows, the label of each of their pixels (0: not marked), and how many labels are new. A
        piece may have other labels in other bands."""
        step, known = max(1, BAND // self._map.shape[1]), 0
        for top in range(0, self._map.shape[0], step):
            rows = slice(top, top + step)
            if top or self._first is None:
                marked = self._marked(rows).astype(np.uint8)
                count, labels = cv2.connectedComponents(marked, connectivity=8)
                self._first = self._first or (count, np.asarray(labels, np.int32))
            else:
                count, labels = self._first
            yield rows, np.where(labels > 0, labels + np.int32(known), 0), count - 1
            known += count - 1

    def _join(self, above: Labels, below: Labels) -> None:
        """Two neighbouring rows of labels: what touches, corners included, is one piece."""
        width = len(above)
        for shift in (-1, 0, 1):
            first = above[max(0, -shift) : width - max(0, shift)]
            second = below[max(0, shift) : width - max(0, -shift)]
            touch = (first > 0) & (second > 0)
            for one, other in set(zip(first[touch].tolist(), second[touch].tolist(), strict=True)):
                self._parents[self._piece(other)] = self._piece(one)

    def _piece(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label


def boxes(marked: Mask) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of boxes that hold all marked pixels of (H, W), no piece in two of them: cut
    along empty rows, and within these along empty columns."""
    for rows in _runs(marked.any(axis=1)):
        for columns in _runs(marked[rows].any(axis=0)):
            yield rows, columns


def _runs(there: Mask) -> list[slice]:
    """(N,) → where it is True without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]))).tolist()
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
