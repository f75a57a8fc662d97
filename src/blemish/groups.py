"""What a point transformer is shown of a scan: groups of neighbouring points, and which cell of the
picture is how much of which group.

Sizes as M3DM (arXiv 2303.00601) and LSFA have them. Nothing is random: the first centre is the
first point, and each further one is the farthest from all before it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from blemish.geometry import resize_scan
from blemish.sensors import Scan

Array = npt.NDArray[np.float32]

GROUPS, SIZE = 1024, 128  # centres of a scan, points around each
SIDE = 224  # pixels of the scan that groups are taken from
_CHUNK = 2048  # points whose distances to all centres are in memory at once


def groups_of(scan: Scan, grid: int) -> dict[str, Array]:
    """Inputs of a graph: centres (1024, 3), groups (1024, 128, 3) relative to them, mix (grid²,
    1024) and seen (1, 1, grid, grid).

    mix: a cell's feature is the mean over its pixels (after a 3 x 3 mean) of the three nearest
    centres' features, weighted by 1 / (distance² + 1e-8); pixels that were not seen count as 0.
    """
    small = resize_scan(scan, (SIDE, SIDE))
    points = small.points[small.seen].astype(np.float64)
    if len(points) == 0:
        points = np.zeros((1, 3))
    centres = points[_farthest(points, GROUPS)]
    around = points[_nearest(centres, points, SIZE)[0]]
    mixed = _mix(points, centres, small, grid)
    share = cv2.resize(small.seen.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
    return {
        "centres": centres.astype(np.float32),
        "groups": (around - centres[:, None]).astype(np.float32),
        "mix": mixed,
        "seen": np.asarray(share, np.float32)[None, None],
    }


def _farthest(points: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Places of `count` points, each farthest from those before; of fewer they come again."""
    chosen = np.zeros(count, np.intp)
    far = np.full(len(points), np.inf)
    distinct = min(count, len(points))
    for turn in range(1, distinct):
        step = points - points[chosen[turn - 1]]
        np.minimum(far, np.einsum("nd,nd->n", step, step), out=far)
        far[chosen[turn - 1]] = -1  # taken, even where all that is left lies upon it
        chosen[turn] = far.argmax()
    chosen[distinct:] = chosen[np.arange(count - distinct) % distinct]
    return chosen


def _nearest(
    asked: npt.NDArray[np.float64], points: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Places and squared distances of the `count` nearest points to each of those asked for,
    nearest first; of fewer they come again."""
    have = min(count, len(points))
    again = np.arange(count) % have
    places, squares = [], []
    for start in range(0, len(asked), _CHUNK // 16):
        step = asked[start : start + _CHUNK // 16, None] - points
        square = np.einsum("nmd,nmd->nm", step, step)
        near = np.argpartition(square, have - 1, axis=1)[:, :have]
        order = np.take_along_axis(square, near, 1).argsort(axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)[:, again]
        places.append(near)
        squares.append(np.take_along_axis(square, near, 1))
    return np.concatenate(places), np.concatenate(squares)


def _mix(
    points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64], scan: Scan, grid: int
) -> Array:
    mixed = np.zeros((grid * grid, len(centres)), np.float32)
    if not scan.seen.any():
        return mixed
    places, squares = _nearest(points, centres, min(3, len(centres)))
    weights = 1 / (squares + 1e-8)
    weights /= weights.sum(1, keepdims=True)
    rows, columns = np.nonzero(scan.seen)
    # A pixel is in the 3 x 3 means of its neighbours, each of which is in a cell.
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
            cells = (row * grid // SIDE) * grid + column * grid // SIDE
            for rank in range(places.shape[1]):
                np.add.at(mixed, (cells[inside], places[inside, rank]), weights[inside, rank])
    return mixed / np.float32(9 * (SIDE / grid) ** 2)
