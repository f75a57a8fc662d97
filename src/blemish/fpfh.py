"""FPFH: how the normals around a point turn, in 33 numbers that do not depend on its pose.

Rusu, Blodow, Beetz 2009, "Fast Point Feature Histograms (FPFH) for 3D registration". Neighbours
come from the organised grid instead of a search tree. Weights and scale are those of Open3D, which
published figures use: neighbours count by 1 / distance squared, every histogram sums to 100.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.geometry import Surface, pitch
from blemish.records import Mask
from blemish.scans import Scan

Array = npt.NDArray[np.float32]
Slices = tuple[slice, slice]

BINS = 11  # of each of three angles
WIDTH = 3 * BINS


def fpfh(scan: Scan, surface: Surface, radius: int = 4, reach: float | None = None) -> Array:
    """(H, W, 33) float32 features of a scan; 0 where no normal is known.

    surface: of the same scan. radius: px, 1 or more: neighbours lie in a window of 2 * radius + 1
    squared. reach: and at most so far away, in the scan's unit; None is 1.5 * radius of the scan's
    usual steps. Raises ConfigError on numbers out of range.
    """
    reach = 1.5 * radius * pitch(scan) if reach is None else reach
    if radius < 1 or reach < 0:
        raise ConfigError(
            "the radius of FPFH must be 1 px or more and its reach 0 or more, but they are"
            f" {radius} and {reach}. Change them."
        )
    points, normals = scan.points.astype(np.float64), surface.normals
    size = (scan.seen.shape[0], scan.seen.shape[1])
    simple, count = np.zeros((*size, WIDTH), np.float32), np.zeros(size, np.float32)
    pairs: list[tuple[Slices, Slices, Array]] = []
    for one, other in _pairs(size, radius):
        step = points[other] - points[one]
        square = (step * step).sum(2)
        near = surface.known[one] & surface.known[other] & (square <= reach**2) & (square > 0)
        if not near.any():
            continue
        bins = _bins(step[near].astype(np.float32), normals[one][near], normals[other][near])
        for side in (one, other):  # an angle is the same from both ends
            _add(simple[side], near, bins)
            count[side] += near
        weight = np.divide(1, square, out=np.zeros_like(square), where=near)
        pairs.append((one, other, (weight * reach**2).astype(np.float32)[..., None]))
    simple *= (100 / np.maximum(count, 1))[..., None]
    around = np.zeros_like(simple)
    for one, other, weight in pairs:
        around[one] += weight * simple[other]
        around[other] += weight * simple[one]
    thirds = around.reshape(*size, 3, BINS)
    total = thirds.sum(3, keepdims=True)
    thirds *= np.divide(100, total, out=np.zeros_like(total), where=total > 0)
    return around + simple


def _pairs(size: tuple[int, int], radius: int) -> Iterator[tuple[Slices, Slices]]:
    """Every pair of pixels within the window once: where the one is, where the other."""
    for row in range(radius + 1):
        for column in range(-radius, radius + 1):
            if (row, column) > (0, 0):
                left, right = max(0, -column), max(0, column)
                width = size[1] - abs(column)
                if row < size[0] and width > 0:
                    yield (
                        (slice(0, size[0] - row), slice(left, left + width)),
                        (slice(row, size[0]), slice(right, right + width)),
                    )


def _bins(step: Array, here: Array, there: Array) -> npt.NDArray[np.intp]:
    """(P, 3) places in the 33 of the angles between pairs of normals and the line between them."""
    line = step / np.linalg.norm(step, axis=1, keepdims=True)
    first, second = (here * line).sum(1), (there * line).sum(1)
    # The frame stands on the point whose normal is nearer to the line, whichever is asked for.
    swap = (np.abs(first) < np.abs(second))[:, None]
    source, target = np.where(swap, there, here), np.where(swap, here, there)
    line = np.where(swap, -line, line)
    v = np.cross(line, source)
    length = np.linalg.norm(v, axis=1, keepdims=True)
    v = np.divide(v, length, out=np.zeros_like(v), where=length > 0)
    w = np.cross(source, v)
    theta = np.arctan2((w * target).sum(1), (source * target).sum(1))
    alpha, phi = (v * target).sum(1), np.where(swap[:, 0], -second, first)
    # Without a frame, the line along both normals, all three angles are 0.
    upright = length[:, 0] > 0
    angles = np.stack([theta / np.pi, alpha, phi], axis=1) * upright[:, None]
    places = np.clip(np.floor(BINS * (angles + 1) / 2).astype(np.intp), 0, BINS - 1)
    return np.asarray(places + np.arange(0, WIDTH, BINS))


def _add(histograms: Array, near: Mask, bins: npt.NDArray[np.intp]) -> None:
    rows, columns = np.nonzero(near)
    for place in bins.T:  # a pixel comes once in each: no count is lost
        histograms[rows, columns, place] += 1
