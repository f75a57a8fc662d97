"""A scan as a map-maker draws it: a grey surface in light from the upper left.

Unit, tilt and scale of the scan do not matter, only its shape. Slopes are drawn by how unusual they
are among those of their own size: grain, dents and the part's own form all show in one picture, and
a steep wall does not drown what lies beside it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud, Field
from blemish.records import Mask
from blemish.report.overlay import RGB
from blemish.scans import Scan

GROUND = 158  # grey of what does not slope, of 255
HOLE = (118, 140, 172)  # RGB: a quiet blue; no slope is blue
LIGHT = (-0.5, -0.5, 0.7071)  # from where it comes: x right, y down, z towards the viewer
SHADOW = 0.25  # how softly light ends on what faces away from it
STRENGTH = (0.25, 0.33, 0.33, 0.33, 0.28, 0.22)  # of slopes over 1, 2, 4 … px, where they are usual
USUAL = 0.8  # quantile of the slopes of one size
NEAR = 0.65  # how far what is usual is told by the surroundings; the rest by the whole scan
MOST = 3.0  # usual slopes: unusual ones of one size are drawn at most so steep
STEEPEST = 1.3  # slope that nothing is drawn steeper than
DEPTH = 0.18  # how much darker than its surroundings a low place is
AROUND = 1 / 6  # of the shorter side: what counts as surroundings
_SAMPLES = 10_000  # points that a quantile or a median is taken of
_ROUNDING = 2.0**-19  # of the largest coordinate: less than that is not told by 32-bit floats
_NO_SLOPE = (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


def relief(scan: Scan) -> RGB:
    """The scan's surface in light from the upper left, (H, W, 3) uint8 RGB; holes are HOLE.

    Hill shading of Lambert's law (Horn 1981, "Hill shading and the reflectance map") after the
    overall slope is taken out. Slopes are parted by size (1, 2, 4 … px) and each size is drawn with
    the contrast that its own spread asks for, so that a dent of a few times the sensor's noise is
    seen on a high part. Low places are also a little darker than what lies around them.

    >>> relief(Scan(points=np.ones((1, 2, 3), np.float32), seen=np.array([[True, False]]))).tolist()
    [[[158, 158, 158], [118, 140, 172]]]
    """
    if not scan.seen.any():
        return _painted(np.zeros(scan.seen.shape, np.float32), scan.seen)
    height = upright(scan)[..., 2].copy()
    rounding = _ROUNDING * (float(np.abs(scan.points).max()) or 1.0)
    high = max(float(np.abs(height).max()), rounding)
    height, least = height / np.float32(high), rounding / high
    across, down = _drawn(_by_size(height, scan.seen), least)
    steep = np.sqrt(1 + across * across + down * down)
    facing = (LIGHT[2] - LIGHT[0] * across - LIGHT[1] * down) / (LIGHT[2] * steep)
    lit = (facing + np.sqrt(facing * facing + SHADOW**2)) / (1 + np.sqrt(1 + SHADOW**2))
    return _painted(lit * (1 + DEPTH * _above(height, scan.seen, least)), scan.seen)


def upright(scan: Scan) -> Cloud:
    """(H, W, 3) float32: the points as the viewer has them before him, x to the right, y up, z
    towards him, above the plane that the scan lies in on the whole; 0 in holes.

    Scans are of right-handed axes, seen with rows running down and columns to the right. Where x
    and y are column and row themselves, as of disparity, z rises towards the viewer as it is.
    """
    right, down = (_usual_step(scan, axis) for axis in (1, 0))
    if on_pixels(scan):
        axes = np.array([[1, 0, 0], [0, -1, 0], [-right[2], -down[2], 1]])
    else:
        normal = np.cross(down, right)
        length = np.linalg.norm(normal)
        normal, along = (
            (normal / length, right / np.linalg.norm(right))
            if length > 0
            else (np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0]))
        )
        axes = np.stack([along, np.cross(normal, along), normal])
    middle = np.median(_some(scan.points, scan.seen), axis=0) if scan.seen.any() else 0
    placed = (scan.points - np.float32(middle)) @ axes.T.astype(np.float32)
    placed[~scan.seen] = 0
    return placed


def on_pixels(scan: Scan) -> bool:
    """Whether x and y are column and row and z is a file's own number, as of disparity."""
    rows, columns = np.indices(scan.seen.shape, np.float32)
    x, y, z = np.moveaxis(scan.points, 2, 0)
    whole = (x == columns) & (y == rows) & (z == np.rint(z))  # as a 16-bit file has them
    return bool(scan.seen.any() and whole[scan.seen].all())


def _usual_step(scan: Scan, axis: int) -> npt.NDArray[np.float64]:
    """From a pixel to the next one along an axis, (3,); 0 where nothing tells."""
    points, seen = np.moveaxis(scan.points, axis, 0), np.moveaxis(scan.seen, axis, 0)
    far = max(1, len(seen) // 8)  # a long step is not drowned by noise
    both = seen[far:] & seen[:-far]
    if not both.any():
        return np.zeros(3)
    steps = _some(points[far:], both).astype(np.float64) - _some(points[:-far], both)
    return np.asarray(np.median(steps, axis=0) / far, np.float64)


def _some(values: npt.NDArray[np.float32], where: Mask) -> npt.NDArray[np.float32]:
    """Of those there, as many as a quantile needs."""
    every = max(1, int(np.sqrt(where.size / _SAMPLES)))
    thin = where[::every, ::every]
    return values[::every, ::every][thin] if thin.any() else values[where]


def _by_size(height: Field, seen: Mask) -> list[tuple[Field, Field, Mask]]:
    """Slopes along columns and rows, a pixel, parted by size, and where they are known: those over
    1 px first; each next on a grid half as fine. Their sum is the slope of the finest."""
    sizes = []
    weight = seen.astype(np.float32)
    for scale in range(len(STRENGTH)):
        across, down = _slopes(height, weight)
        sizes.append((across / 2**scale, down / 2**scale, weight > 0))
        half = ((height.shape[1] + 1) // 2, (height.shape[0] + 1) // 2)
        height, weight = means(height, weight, half)
    larger = [*((x, y) for x, y, _ in sizes[1:]), _NO_SLOPE]
    return [
        (x - _resized(coarse[0], x), y - _resized(coarse[1], y), known)
        for (x, y, known), coarse in zip(sizes, larger, strict=True)
    ]


def _slopes(height: Field, weight: Field) -> tuple[Field, Field]:
    """Of planes fitted to what was seen around each pixel, by least squares."""
    at = np.arange(-3, 4, dtype=np.float32)
    near = np.exp(-at * at / (2 * 1.2**2))
    kernels = [near, near * at, near * at * at]

    def sums(field: Field, across: int, down: int) -> Field:
        x, y = kernels[across], kernels[down]
        found = cv2.sepFilter2D(field, cv2.CV_32F, x, y, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(found, np.float32)

    seen = height * weight
    count = _not_zero(sums(weight, 0, 0))
    x, y, z = sums(weight, 1, 0) / count, sums(weight, 0, 1) / count, sums(seen, 0, 0) / count
    xx = sums(weight, 2, 0) / count - x * x + 0.03  # a lone pixel has no slope
    yy = sums(weight, 0, 2) / count - y * y + 0.03
    xy = sums(weight, 1, 1) / count - x * y
    xz, yz = sums(seen, 1, 0) / count - x * z, sums(seen, 0, 1) / count - y * z
    area = xx * yy - xy * xy
    return (xz * yy - yz * xy) / area, (yz * xx - xz * xy) / area


def _drawn(sizes: list[tuple[Field, Field, Mask]], least: float) -> tuple[Field, Field]:
    """Slopes to be lit: those of each size in units of what is usual for it here and elsewhere."""
    across, down = _NO_SLOPE
    for (x, y, known), strength in reversed(list(zip(sizes, STRENGTH, strict=True))):
        steep = np.maximum(np.hypot(x, y), least)
        whole = float(np.quantile(_some(steep, known), USUAL))
        # The mean of logarithms is not drowned by a wall; USUAL of noise is about twice as much.
        around = _around(np.log(steep), known.astype(np.float32))
        unit = (2 * np.exp(around)) ** NEAR * whole ** (1 - NEAR)
        drawn: Field = np.asarray(strength / np.hypot(unit, steep / MOST), np.float32)
        across, down = _resized(across, x) + x * drawn, _resized(down, y) + y * drawn
    most: Field = np.asarray(np.hypot(1, np.hypot(across, down) / STEEPEST), np.float32)
    return across / most, down / most


def _above(height: Field, seen: Mask, least: float) -> Field:
    """-1 … 1: how far each place lies above its surroundings, by how far is usual."""
    weight = seen.astype(np.float32)
    above = _blurred(height, weight, min(seen.shape) / 200) - _around(height, weight)
    unit = 2 * max(least, float(np.quantile(_some(np.abs(above), seen), USUAL)))
    return np.asarray(above / np.sqrt(unit * unit + above * above), np.float32)


def _around(height: Field, weight: Field) -> Field:
    """The mean of the surroundings."""
    reach = AROUND * min(height.shape)
    coarse = max(1, int(reach / 4))  # surroundings need no finer grid
    size = (-(-height.shape[1] // coarse), -(-height.shape[0] // coarse))
    return _resized(_blurred(*means(height, weight, size), reach / coarse), height)


def means(height: Field, weight: Field, size: tuple[int, int]) -> tuple[Field, Field]:
    """On a coarser grid of (w, h) pixels: the mean height of what was seen, and how much was."""
    total, share = (
        np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)
        for field in (height * weight, weight)
    )
    return total / _not_zero(share), share


def _not_zero(count: Field) -> Field:
    return np.asarray(np.maximum(count, 1e-6), np.float32)


def _resized(field: Field, like: Field) -> Field:
    return np.asarray(cv2.resize(field, (like.shape[1], like.shape[0])), np.float32)


def _blurred(height: Field, weight: Field, sigma: float) -> Field:
    """The mean height of what was seen around, on the same grid."""
    total, count = (
        cv2.GaussianBlur(field, (0, 0), max(sigma, 0.5), borderType=cv2.BORDER_CONSTANT)
        for field in (height * weight, weight)
    )
    return np.asarray(total / _not_zero(np.asarray(count, np.float32)), np.float32)


def _painted(light: Field, seen: Mask) -> RGB:
    grey = np.clip(np.rint(GROUND * light), 0, 255).astype(np.uint8)
    drawn = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    drawn[~seen] = HOLE
    return drawn
