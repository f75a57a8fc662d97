"""What a graph is shown of a scan: numbers for each cell of a grid that tell its shape there.

FPFH (fpfh.py) tells how a surface bends, whatever its pose, and is blind to soft slopes; relief
tells how far it lies above its surroundings, near and far, along the viewing axis: as a mean of the
cell, and as its lowest and highest eighth, as grooves and their rims cancel out in a mean.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from blemish.fpfh import WIDTH, fpfh
from blemish.geometry import pitch, resize_scan, surface_of
from blemish.records import Mask
from blemish.sensors import Scan

Array = npt.NDArray[np.float32]

VERSION = 2  # raise it whenever the same scan gives other numbers
FINE = 8  # pixels a cell, along each side, that relief is measured at; FPFH at 2
AROUND = (4.0, 8.0, 16.0, 32.0, 64.0)  # widths of the surroundings, in those pixels
EXTREME = 8  # a cell's lowest and highest pixels: a single one may be the sensor's error
COUNT = WIDTH + 3 * len(AROUND)
GENTLE = 0.1  # slope that stands for usual ones where depth has no metres
METRIC = 3.0  # no surface of a part in metres is usually so steep


def describe(scan: Scan, grid: int, stretch: float = 1.0) -> tuple[Array, Array]:
    """(48, grid, grid) numbers of each cell, and (1, grid, grid) the share of it that was seen.

    The first 33 are FPFH, sums of 100 a third; the others heights above surroundings of AROUND, in
    the scan's unit times `stretch`: 5 means of the cell, and 5 times the means of its EXTREME
    lowest and of its EXTREME highest pixels. What was not seen is 0. stretch: factor on z, see
    stretch_of.
    """
    points = scan.points * np.array([1, 1, stretch], np.float32)
    fine = resize_scan(Scan(points=points, seen=scan.seen), (FINE * grid, FINE * grid))
    share = _cells(fine.seen.astype(np.float32), grid)
    coarse = resize_scan(fine, (2 * grid, 2 * grid))
    bends = fpfh(coarse, surface_of(coarse))
    planes = [_cells(bends[..., place], grid) for place in range(WIDTH)]
    heights = _heights(-fine.points[..., 2], fine.seen)
    there = np.maximum(share, 1e-3)
    planes += [np.asarray(_cells(one, grid) / there, np.float32) for one in heights]
    ends = [_ends(one, grid) for one in heights]
    planes += [low for low, _ in ends] + [high for _, high in ends]
    return np.stack(planes).astype(np.float32), share[None].astype(np.float32)


def stretch_of(scan: Scan) -> float:
    """Factor on z that makes slopes gentle where it has no metres, as disparity without a camera;
    1 where the scan is one of real surfaces, or empty."""
    usual = pitch(scan)
    across = np.abs(np.diff(scan.points[..., :2], axis=1))[scan.seen[:, 1:] & scan.seen[:, :-1]]
    step = float(np.median(np.linalg.norm(across, axis=1))) if len(across) else 0.0
    if step <= 0 or usual <= METRIC * step:
        return 1.0
    return GENTLE * step / usual


def _heights(z: Array, seen: Mask) -> list[Array]:
    """(H, W) heights above the mean of each of AROUND, of what was seen; 0 elsewhere."""
    if not seen.any():
        return [np.zeros_like(z)] * len(AROUND)
    there = seen.astype(np.float64)
    level = (z - z[seen].mean(dtype=np.float64)) * there  # small numbers lose nothing in sums
    return [((level - _mean(level, there, width)) * there).astype(np.float32) for width in AROUND]


def _mean(
    level: npt.NDArray[np.float64], there: npt.NDArray[np.float64], width: float
) -> npt.NDArray[np.float64]:
    """Gaussian mean of what is there. Wide ones are taken on a smaller picture: they are smooth."""
    shrink = max(1, int(width) // 4)
    size = (max(1, level.shape[1] // shrink), max(1, level.shape[0] // shrink))
    small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (level, there)]
    border = cv2.BORDER_REFLECT
    total, weight = (
        cv2.GaussianBlur(one, (0, 0), width / shrink, borderType=border) for one in small
    )
    mean = total / np.maximum(weight, 1e-6)
    back = cv2.resize(mean, level.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(back, np.float64)


def _ends(plane: Array, grid: int) -> tuple[Array, Array]:
    """(H, W) → (grid, grid) means of each cell's EXTREME lowest, and of its highest pixels."""
    cells = plane.reshape(grid, FINE, grid, FINE).swapaxes(1, 2).reshape(grid, grid, FINE * FINE)
    ordered = np.partition(cells, (EXTREME - 1, -EXTREME), axis=2)
    return ordered[..., :EXTREME].mean(2), ordered[..., -EXTREME:].mean(2)


def _cells(plane: npt.NDArray[np.floating], grid: int) -> Array:
    """(H, W) → (grid, grid) means."""
    return np.asarray(
        cv2.resize(plane.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
    )
