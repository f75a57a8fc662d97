"""What a point transformer is shown of a scan: groups of neighbouring points, and which cell of the
picture is how much of which group.

Sizes as M3DM (arXiv 2303.00601) and LSFA (arXiv 2401.03145) have them. Nothing is random: the first
centre is the first point, and each further one is the farthest from all before it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from blemish.geometry import resize_scan
from blemish.records import Mask
from blemish.sensors import Scan

Array = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

GROUPS, SIZE = 1024, 128  # centres of a scan, points around each
SIDE = 224  # pixels of the scan that groups are taken from
NEAREST = 3  # centres that a pixel's feature is interpolated from
_CHUNK = 2**20  # distances in memory at once: 8 MB


def groups_of(scan: Scan, grid: int) -> dict[str, Array]:
    """Inputs of a graph: centres (1024, 3), groups (1024, 128, 3) relative to them, mix (grid²,
    1024) and seen (1, 1, grid, grid), the share of each cell that was seen.

    mix: what cells are of the centres' features, see mixture. Of a scan without a point all is 0.
    """
    small = resize_scan(scan, (SIDE, SIDE))
    points = small.points[small.seen].astype(np.float64)
    if len(points) == 0:
        points = np.zeros((1, 3))
    centres = points[farthest_points(points, GROUPS)]
    around = points[neighbours(points, centres, SIZE)[1]]
    share = cv2.resize(small.seen.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
    return {
        "centres": centres.astype(np.float32),
        "groups": (around - centres[:, None]).astype(np.float32),
        "mix": mixture(points, centres, small.seen, grid),
        "seen": np.asarray(share, np.float32)[None, None],
    }


def farthest_points(points: Exact, count: int) -> Places:
    """(N, 3), N above 0 → (count,) places: each is farthest from all before it, the first is 0.

    Of fewer points than asked for, places come again from the first.

    >>> farthest_points(np.array([[0.0, 0, 0], [1, 0, 0], [5, 0, 0]]), 4).tolist()
    [0, 2, 1, 0]
    """
    columns = np.ascontiguousarray(points.T)  # three passes in a row are soonest done
    far = np.full(len(points), np.inf)
    square, step = np.empty_like(far), np.empty_like(far)
    chosen = np.zeros(count, np.intp)
    distinct = min(count, len(points))
    for turn in range(1, distinct):
        last = chosen[turn - 1]
        square[:] = 0
        for column in columns:
            np.subtract(column, column[last], out=step)
            np.multiply(step, step, out=step)
            square += step
        np.minimum(far, square, out=far)
        far[last] = -1  # taken, even where all that is left lies upon it
        chosen[turn] = far.argmax()
    chosen[distinct:] = chosen[np.arange(count - distinct) % distinct]
    return chosen


def neighbours(points: Exact, centres: Exact, count: int) -> tuple[Exact, Places]:
    """(N, 3) points, (M, 3) centres → (M, count) squared distances and places, nearest first.

    Of fewer points than asked for, places come again from the nearest.
    """
    have = min(count, len(points))
    middle = points.mean(0)  # so that products of large numbers cancel nothing
    about = points - middle
    lengths, products = np.square(about).sum(1), -2 * np.ascontiguousarray(about.T)
    found = np.empty((len(centres), have), np.intp)
    rows = max(1, _CHUNK // len(points))
    for start in range(0, len(centres), rows):
        part = slice(start, start + rows)
        found[part] = _least((centres[part] - middle) @ products + lengths, have)
    squares = np.square(points[found] - centres[:, None]).sum(2)
    order = squares.argsort(axis=1, kind="stable")[:, np.arange(count) % have]
    return np.take_along_axis(squares, order, 1), np.take_along_axis(found, order, 1)


def _least(apart: Exact, count: int) -> Places:
    """(M, N) → (M, count) places of each row's least, in any order; spoils what it is given."""
    if count > NEAREST:
        return np.argpartition(apart, count - 1, axis=1)[:, :count]
    rows, found = np.arange(len(apart)), np.empty((len(apart), count), np.intp)
    for rank in range(count):  # of few, several times sooner than a partition
        found[:, rank] = apart.argmin(1)
        apart[rows, found[:, rank]] = np.inf
    return found


def mixture(points: Exact, centres: Exact, seen: Mask, grid: int) -> Array:
    """(N, 3) points where (SIDE, SIDE) pixels were seen, (G, 3) centres → (grid², G): how much of
    which centre's feature is in which cell.

    A pixel's feature is that of its three nearest centres, weighted by 1 / (distance² + 1e-8), and
    0 where nothing was seen; a cell's is the mean of 3 x 3 means, see _cells.
    """
    if not seen.any():
        return np.zeros((grid * grid, len(centres)), np.float32)
    distinct = centres[: len(points)]  # of few points they come again
    squares, places = neighbours(distinct, points, min(NEAREST, len(distinct)))
    weights = 1 / (squares + 1e-8)
    weights /= weights.sum(1, keepdims=True)
    inside, share = _cells(grid)
    rows, columns = np.nonzero(seen)
    cells = inside[rows][:, :, None] * grid + inside[columns][:, None]  # (N, K, K)
    shares = share[rows][:, :, None] * share[columns][:, None]
    at = cells[..., None] * len(centres) + places[:, None, None]  # (N, K, K, 3)
    much = shares[..., None] * weights[:, None, None]
    mixed = np.bincount(at.ravel(), much.ravel(), grid * grid * len(centres))
    return mixed.reshape(grid * grid, -1).astype(np.float32)


def _cells(grid: int) -> tuple[Places, Exact]:
    """(SIDE, K) cells that a row or column of pixels is part of, and its share of each.

    As in the released code: of means over 3 pixels, of which there are SIDE - 2, a cell is the mean
    from the one that holds its start to the one that holds its end.
    """
    means = SIDE - 2
    parts = np.zeros((SIDE, grid))
    for cell in range(grid):
        start, end = cell * means // grid, -(-(cell + 1) * means // grid)
        for first in range(start, end):
            parts[first : first + 3, cell] += 1 / (3 * (end - start))
    most = int((parts > 0).sum(1).max())
    inside = np.argsort(-parts, axis=1, kind="stable")[:, :most]
    return inside, np.take_along_axis(parts, inside, 1)
