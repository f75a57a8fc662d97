"""A map and two levels → the outlined regions of a defect, in native pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Map, Mask, Region


def region_mask(map: Map, seed: float, extent: float) -> Mask:
    """Which pixels belong to regions: around each peak above `seed`, those that rise at least
    half as far above `extent` as the peak does.

    `extent` is the level that good parts reach; half of the height above it outlines a blurred
    blemish at its own width. The map's own peak always counts, so that a defect has a region.
    """
    seed = min(seed, float(np.nextafter(map.max(), np.float32(-np.inf))))
    level = min(extent, seed)
    above = map > level
    count, found = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    # Most of a map lies below: only what is above is looked at again.
    inside = np.flatnonzero(above)
    values, labels = map.ravel()[inside], np.asarray(found, np.int32).ravel()[inside]
    starts = np.flatnonzero(np.diff(labels, prepend=0))  # of runs: maximum.at is slow by the pixel
    peaks = np.full(count, -np.inf, np.float32)
    np.maximum.at(peaks, labels[starts], np.maximum.reduceat(values, starts))
    half = np.where(peaks > seed, (level + peaks) / 2, np.inf).astype(np.float32)
    mask = np.zeros(map.shape, np.bool_)
    mask.ravel()[inside[values >= half[labels]]] = True
    return mask


def regions(map: Map, seed: float, extent: float) -> tuple[Region, ...]:
    """The 8-connected pieces of region_mask whose peak is above `seed`, highest peak first."""
    marked = region_mask(map, seed, extent).astype(np.uint8)
    left, top, wide, high = cv2.boundingRect(marked)  # most of a map is empty
    marked, map = marked[top : top + high, left : left + wide], map[top:, left:]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    found = [_region(map, labels, label, stats[label]) for label in range(1, count)]
    found.sort(key=lambda region: -region.peak)
    found = [r for r in found if r.peak > seed] or found[:1]
    return tuple(replace(r, box=(r.box[0] + left, r.box[1] + top, *r.box[2:])) for r in found)


def _region(map: Map, labels: npt.NDArray[Any], label: int, stats: npt.NDArray[Any]) -> Region:
    x, y, width, height, area = (int(value) for value in stats)
    window = (slice(y, y + height), slice(x, x + width))
    peak = float(map[window][labels[window] == label].max())
    return Region(box=(x, y, width, height), area_px=area, peak=peak)
