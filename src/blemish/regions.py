"""A map and two levels → the outlined regions of a defect, in native pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.records import Map, Mask, Region

BAND = 2**22  # pixels that are labelled at once: labels of a whole map take as much as the map
Labels = npt.NDArray[np.int32]


def region_mask(map: Map, seed: float, extent: float, seen: Mask | None = None) -> Mask:
    """Which pixels belong to regions: around each peak above `seed`, those that rise at least
    half as far above `extent` as the peak does.

    `extent` is the level that good parts reach; half of the height above it outlines a blurred
    blemish at its own width. The map's own peak always counts, so that a defect has a region.
    seen: (H, W), where regions may be; None: anywhere.
    """
    highest = map.max() if seen is None else map.max(where=seen, initial=-np.inf)
    seed = min(seed, float(np.nextafter(highest, np.float32(-np.inf))))
    level = min(extent, seed)

    def above(rows: slice) -> Mask:
        high = map[rows] > level
        return high if seen is None else high & seen[rows]

    pieces = Pieces(map, above)
    half = np.where(pieces.peaks > seed, (level + pieces.peaks) / 2, np.inf).astype(np.float32)
    mask = np.zeros(map.shape, np.bool_)
    for rows, labels, _ in pieces.bands():
        places = np.flatnonzero(labels != 0)  # few, of most maps
        high = map[rows].ravel()[places] >= half[labels.ravel()[places]]
        mask[rows].ravel()[places] = high
    return mask


def regions(
    map: Map,
    seed: float,
    extent: float,
    *,
    seen: Mask | None = None,
    mm_per_pixel: float | None = None,
) -> tuple[Region, ...]:
    """The 8-connected pieces of region_mask whose peak is above `seed`, highest peak first.

    mm_per_pixel: side of a pixel; None leaves sizes in pixels alone.
    """
    marked = region_mask(map, seed, extent, seen)
    found = [one for rows, columns in boxes(marked) for one in _within(map, marked, rows, columns)]
    found.sort(key=lambda region: -region.peak)
    found = [r for r in found if r.peak > seed] or found[:1]
    return tuple(found if mm_per_pixel is None else (in_mm(r, mm_per_pixel) for r in found))


def _within(map: Map, marked: Mask, rows: slice, columns: slice) -> Iterator[Region]:
    """All regions in a box that cuts none."""
    part = marked[rows, columns].astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    for label in range(1, count):
        one = _region(map[rows, columns], labels, label, stats[label])
        x, y, width, height = one.box
        yield replace(one, box=(x + columns.start, y + rows.start, width, height))


def require_scale(mm_per_pixel: float | None) -> None:
    """Raises ConfigError unless it is None or a length."""
    if mm_per_pixel is not None and not 0 < mm_per_pixel < math.inf:
        raise ConfigError(
            "the millimetres per pixel (--mm-per-pixel) must be a number above 0, but are"
            f" {mm_per_pixel}. Divide a known length on the part by its pixels."
        )


def in_mm(region: Region, mm_per_pixel: float) -> Region:
    """The region with its sizes in millimetres, too. mm_per_pixel: side of a pixel."""
    width, height = region.box[2:]
    return replace(
        region,
        area_mm2=region.area_px * mm_per_pixel**2,
        length_mm=region.length_px * mm_per_pixel,
        size_mm=(width * mm_per_pixel, height * mm_per_pixel),
    )


def _region(map: Map, labels: npt.NDArray[Any], label: int, stats: npt.NDArray[Any]) -> Region:
    x, y, width, height, area = (int(value) for value in stats)
    window = (slice(y, y + height), slice(x, x + width))
    own = labels[window] == label
    peak = float(map[window][own].max())
    # The first and the last pixel of each row, as rows and columns, have the hull of all.
    first, last = own.argmax(axis=1), width - 1 - own[:, ::-1].argmax(axis=1)
    ends = np.stack([np.tile(np.arange(height), 2), np.concatenate([first, last])], axis=1)
    hull = cv2.convexHull(ends.astype(np.int32))[:, 0]  # (K, 2)
    apart = np.abs(hull[:, None] - hull[None]) + 1  # from the far corner of one to that of another
    length = float(np.hypot(apart[..., 0], apart[..., 1]).max())
    return Region(box=(x, y, width, height), area_px=area, peak=peak, length_px=length)


def sizes(region: Region) -> str:
    """A region's sizes in words: area, and in millimetres length, too.

    >>> sizes(in_mm(Region(box=(3, 4, 5, 2), area_px=10, peak=1.0, length_px=5.4), 0.1))
    '10 px (0.1 mm2, 0.54 mm long)'
    """
    told = f"{region.area_px} px"
    if region.area_mm2 is None:
        return told
    return f"{told} ({region.area_mm2:.3g} mm2, {region.length_mm:.3g} mm long)"


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
            places = np.flatnonzero(labels != 0)  # ten times quicker than of whole numbers
            np.maximum.at(highest, labels.ravel()[places], map[rows].ravel()[places])
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
                count, found = cv2.connectedComponents(marked, connectivity=8)
                labels = np.asarray(found, np.int32)
                self._first = self._first or (count, labels)
            else:
                count, labels = self._first
            after = np.where(labels > 0, labels + np.int32(known), 0) if known else labels
            yield rows, after, count - 1
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
    for rows in _runs(np.asarray(marked.any(axis=1))):
        for columns in _runs(np.asarray(marked[rows].any(axis=0))):
            yield rows, columns


def _runs(there: Mask) -> list[slice]:
    """(N,) → where it is True without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]))).tolist()
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
