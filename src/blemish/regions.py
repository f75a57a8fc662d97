"""A map and two levels → the outlined regions of a defect, in native pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.records import Map, Mask, Region


def region_mask(map: Map, seed: float, extent: float, seen: Mask | None = None) -> Mask:
    """Which pixels belong to regions: around each peak above `seed`, those that rise at least
    half as far above `extent` as the peak does.

    `extent` is the level that good parts reach; half of the height above it outlines a blurred
    blemish at its own width. The map's own peak always counts, so that a defect has a region.
    seen: (H, W), where regions may be; None: anywhere.
    """
    if seen is not None:
        map = np.where(seen, map, np.float32(-np.inf))
    seed = min(seed, float(np.nextafter(map.max(), np.float32(-np.inf))))
    level = min(extent, seed)
    count, found = cv2.connectedComponents((map > level).astype(np.uint8), connectivity=8)
    labels = np.asarray(found, np.int32)
    peaks = np.full(count, -np.inf, np.float32)
    inside = labels > 0
    np.maximum.at(peaks, labels[inside], map[inside])
    half = np.where(peaks > seed, (level + peaks) / 2, np.inf).astype(np.float32)
    half[0] = np.inf
    return np.asarray(map >= half[labels])


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
    marked = region_mask(map, seed, extent, seen).astype(np.uint8)
    left, top, wide, high = cv2.boundingRect(marked)  # most of a map is empty
    marked, map = marked[top : top + high, left : left + wide], map[top:, left:]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    found = [_region(map, labels, label, stats[label]) for label in range(1, count)]
    found.sort(key=lambda region: -region.peak)
    found = [r for r in found if r.peak > seed] or found[:1]
    found = [replace(r, box=(r.box[0] + left, r.box[1] + top, *r.box[2:])) for r in found]
    return tuple(found if mm_per_pixel is None else (in_mm(r, mm_per_pixel) for r in found))


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
    hull = cv2.convexHull(np.argwhere(own).astype(np.int32))[:, 0]  # (K, 2) rows and columns
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
