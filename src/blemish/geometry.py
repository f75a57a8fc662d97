"""The surface that a scan sampled: normals, curvature, other sizes of the same surface.

Two neighbouring points belong to one surface if they are not much farther apart than neighbours
usually are. Nothing here looks, averages or interpolates across a hole or a depth edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud, Field
from blemish.errors import ConfigError
from blemish.records import Mask
from blemish.sensors import Scan

REACH = 4.0  # a step of so many usual ones is an edge: surfaces tilted by less than 75° have none
_LEAST = 5  # points that a plane is fitted to
_STRIP = 32  # rows
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """normals: (H, W, 3) float32, length 1, towards the viewer; 0 where not known. curvature:
    (H, W) float32 in [0, 1/3], 0 is flat (surface variation: Pauly, Gross, Kobbelt 2002).
    known: (H, W) bool."""

    normals: Cloud
    curvature: Field
    known: Mask


def pitch(scan: Scan) -> float:
    """Median distance of seen neighbours along rows and columns, in the scan's unit; 0 if none."""
    steps = []
    for axis in (0, 1):
        both = _pairs(scan.seen, axis)
        steps.append(np.linalg.norm(np.diff(scan.points, axis=axis)[both], axis=1))
    every = np.concatenate(steps)
    every = every[every > 0]
    return float(np.median(every)) if len(every) else 0.0


def surface_of(scan: Scan, radius: int = 2) -> Surface:
    """Planes fitted to each point's neighbours on its own surface.

    radius: px, 1 or more: a window of 2 * radius + 1 squared. A normal is known where at least five
    points of the window, itself among them, lie on one surface and not on one line. Rows run down
    and columns to the right as the viewer sees them, in right-handed axes. Raises ConfigError on
    the radius.
    """
    if radius < 1:
        raise ConfigError(f"the radius of a surface must be 1 px or more, but is {radius}.")
    height, width = scan.seen.shape
    usual = REACH * pitch(scan)
    edge = ((radius, radius), (radius, radius))
    points = np.pad(scan.points.transpose(2, 0, 1), ((0, 0), *edge))
    seen = np.pad(scan.seen, edge)
    normals, curvature = (
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width), np.float32),
    )
    known = np.zeros((height, width), np.bool_)
    for top in range(0, height, _STRIP):  # a strip's sums stay in a core's cache
        strip = slice(top, min(top + _STRIP, height) + 2 * radius)
        inside = np.s_[top : top + _STRIP]
        found = _fitted(points[:, strip], seen[strip], radius, usual)
        normals[inside], curvature[inside], known[inside] = found
    return Surface(normals=normals, curvature=curvature, known=known)


def _fitted(
    points: npt.NDArray[np.float32], seen: Mask, radius: int, usual: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Mask]:
    """Normals, curvature and where they are known, of (3, H, W) points less the radius around."""
    sums = _sums(points, seen, radius, usual)
    count = np.maximum(sums[0], 1)
    mean = sums[1:4] / count
    spread = np.empty((*count.shape, 3, 3))
    for (i, j), total in zip(_PAIRS, sums[4:10], strict=True):
        spread[..., i, j] = spread[..., j, i] = total / count - mean[i] * mean[j]
    lengths, axes = np.linalg.eigh(spread)  # ascending
    lengths = np.maximum(lengths, 0)
    apart = lengths[..., 1] > 1e-4 * lengths[..., 2]  # not on one line
    known = (sums[0] >= _LEAST) & apart
    facing = np.cross(sums[10:13], sums[13:16], axis=0)  # down × right
    turned = (axes[..., 0] * np.moveaxis(facing, 0, 2)).sum(-1) < 0
    normals = axes[..., 0] * np.where(known, np.where(turned, -1, 1), 0)[..., None]
    total = lengths.sum(-1)
    bent = np.divide(lengths[..., 0], total, out=np.zeros_like(total), where=known & (total > 0))
    return normals, bent, known


def _sums(
    points: npt.NDArray[np.float32], seen: Mask, radius: int, usual: float
) -> npt.NDArray[np.float64]:
    """Over each point's neighbours on its surface, as steps from it, (16, H, W): how many, their
    sum, their products by _PAIRS, and their sums weighted by how far down and how far right."""
    height, width = seen.shape[0] - 2 * radius, seen.shape[1] - 2 * radius
    middle = np.s_[radius : radius + height, radius : radius + width]
    here, there = points[:, middle[0], middle[1]].astype(np.float64), seen[middle]
    sums = np.zeros((16, height, width))
    for row, column in product(range(-radius, radius + 1), repeat=2):
        at = np.s_[radius + row : radius + row + height, radius + column : radius + column + width]
        step = points[:, at[0], at[1]] - here
        near = seen[at] & there
        near &= (step * step).sum(0) <= usual**2 * (row * row + column * column)
        step *= near
        sums[0] += near
        sums[1:4] += step
        for place, (i, j) in enumerate(_PAIRS, 4):
            sums[place] += step[i] * step[j]
        sums[10:13] += row * step
        sums[13:16] += column * step
    return sums


def resize_scan(scan: Scan, size: tuple[int, int]) -> Scan:
    """The same surface on a grid of (h, w) pixels that covers the same picture.

    Between four seen points of one surface a new point is interpolated; elsewhere it is the nearest
    seen one within the new pixel, as it was measured; without one it is a hole. Raises ConfigError
    on a side below 1.
    """
    if min(size) < 1:
        raise ConfigError(f"a scan must be resized to sides of 1 px or more, but got {size}.")
    if size == scan.seen.shape:
        return Scan(points=scan.points * scan.seen[..., None], seen=scan.seen)
    rows, columns = (_centres(new, old) for new, old in zip(size, scan.seen.shape, strict=True))
    blended, seen = _bilinear(scan, rows, columns)
    points = np.where(seen[..., None], blended, 0).astype(np.float32)
    down, right = np.nonzero(~seen)
    points[down, right], seen[down, right] = _nearest(scan, rows, columns, (down, right))
    return Scan(points=points, seen=seen)


def _centres(new: int, old: int) -> npt.NDArray[np.float64]:
    """Where the centres of the new pixels lie among the old ones'."""
    return (np.arange(new) + 0.5) * old / new - 0.5


def _bilinear(
    scan: Scan, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], Mask]:
    height, width = scan.seen.shape
    top, left = (
        np.clip(np.floor(at).astype(np.intp), 0, max(side - 2, 0))
        for at, side in ((rows, height), (columns, width))
    )
    down, right = np.clip(rows - top, 0, 1), np.clip(columns - left, 0, 1)
    low, far = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    corners = [
        scan.points[np.ix_(a, b)].astype(np.float64) for a in (top, low) for b in (left, far)
    ]
    weights = [np.outer(a, b) for a in (1 - down, down) for b in (1 - right, right)]
    smooth = np.ones((len(rows), len(columns)), np.bool_)
    for a in (top, low):
        for b in (left, far):
            smooth &= scan.seen[np.ix_(a, b)]
    usual = REACH * pitch(scan)
    for one, other in ((0, 1), (2, 3), (0, 2), (1, 3)):
        smooth &= np.linalg.norm(corners[one] - corners[other], axis=2) <= usual
    blended = sum(
        (corner * weight[..., None] for corner, weight in zip(corners, weights, strict=True)),
        np.zeros((len(rows), len(columns), 3)),
    )
    return blended, smooth


def _nearest(
    scan: Scan,
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    places: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> tuple[Cloud, Mask]:
    """(N, 3) seen points nearest to the centres of N new pixels, of those within them, (0, 0, 0)
    where there is none, and (N,) whether there is."""
    height, width = scan.seen.shape
    half = [max(side / len(at) / 2, 0.5) for side, at in ((height, rows), (width, columns))]
    across, along = rows[places[0]], columns[places[1]]
    points = np.zeros((len(across), 3), np.float32)
    best = np.full(len(across), np.inf)
    for row in range(-int(half[0] + 0.5), int(half[0] + 0.5) + 1):
        at = np.rint(across).astype(np.intp) + row
        off = np.where((at >= 0) & (at < height), np.abs(at - across), np.inf)
        for column in range(-int(half[1] + 0.5), int(half[1] + 0.5) + 1):
            to = np.rint(along).astype(np.intp) + column
            aside = np.where((to >= 0) & (to < width), np.abs(to - along), np.inf)
            place = np.clip(at, 0, height - 1), np.clip(to, 0, width - 1)
            inside = (off <= half[0]) & (aside <= half[1])
            apart = np.where(inside & scan.seen[place], np.hypot(off, aside), np.inf)
            closer = apart < best
            best[closer] = apart[closer]
            points[closer] = scan.points[place][closer]
    return points, np.isfinite(best)


def _pairs(mask: Mask, axis: int) -> Mask:
    """Where a pixel and the next one along an axis are both True."""
    return mask[1:] & mask[:-1] if axis == 0 else mask[:, 1:] & mask[:, :-1]
