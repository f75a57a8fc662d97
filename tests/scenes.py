"""Scans of shapes that are known exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.scans import Camera, Scan, scan_of, scan_of_depth

STEP = 0.001  # metres between neighbouring points


def tilted(size: tuple[int, int], slope: tuple[float, float]) -> Scan:
    """A plane that rises by these slopes along columns and rows."""
    rows, columns = np.indices(size) * STEP
    height = 0.5 + slope[0] * columns + slope[1] * rows
    return scan_of(np.stack([columns, rows, height], axis=2))


def ball(size: int, radius: float) -> Scan:
    """The cap of a ball seen from above along z, as a camera far away sees it."""
    at = (np.arange(size) - (size - 1) / 2) * STEP
    x, y = np.meshgrid(at, at)
    z = 1 - np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    return scan_of(np.stack([x, y, z], axis=2), np.hypot(x, y) < 0.9 * radius)


def on_a_table(
    seed: int = 0, *, tilt: float = 0.2, holes: float = 0.02
) -> tuple[Scan, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """A block on a tilted table under a camera, with crumbs, noise and holes.

    Returns the scan, where the block is, and where the crumbs are (both also where holes are).
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((90, 120))
    table = 0.6 + tilt * (columns - 60) * 0.001 + 0.05 * (rows - 45) * 0.001
    block = (np.abs(rows - 45) < 20) & (np.abs(columns - 62) < 28)
    crumbs = (np.hypot(rows - 15, columns - 20) < 4) | (np.hypot(rows - 75, columns - 100) < 3)
    depth = table - 0.03 * block - 0.02 * crumbs + rng.normal(0, 0.0004, table.shape)
    depth[rng.random(table.shape) < holes] = 0
    return scan_of_depth(depth, Camera(focal=(600.0, 600.0))), block, crumbs
