"""Fractals from pairs of random affine maps: the shapes of FractalAD's defects.

Systems are drawn by their sigma-factor (Anderson and Farrell, "Improving Fractal Pre-training",
WACV 2022); their attractors are found by the chaos game and stamped into a square.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Mask

System = npt.NDArray[np.float64]  # (2, 2, 3): two maps x → A x + b, each [A | b]
Points = npt.NDArray[np.float32]  # (2, N): x and y

SIGMA_FACTOR = (3.5, 4.0)  # of two maps: (5 + n) / 2 to (6 + n) / 2
CHAINS, WORD, WORDS, WARM_UP = 500, 8, 25, 25
POINTS = CHAINS * WORD * WORDS  # 100,000


def sample_system(rng: np.random.Generator) -> System:
    """Two contracting maps (2, 2, 3) whose singular values s1 ≥ s2 sum up, as s1 + 2 s2, to the
    sigma-factor, which is drawn evenly from 3.5 to 4.

    >>> s = np.linalg.svd(sample_system(np.random.default_rng(0))[..., :2], compute_uv=False)
    >>> bool(3.5 <= (s @ (1, 2)).sum() <= 4)
    True
    """
    stretch = _singular_values(rng)[:, None, :]  # (2, 1, 2): scales the columns
    linear = (_turns(rng) * stretch) @ _turns(rng)
    return np.concatenate([linear, rng.uniform(-1, 1, (2, 2, 1))], axis=2)


def _singular_values(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(2, 2), one row s1 ≥ s2 a map, drawn one after the other from what the others leave."""
    left = rng.uniform(*SIGMA_FACTOR)  # what all values that are still to be drawn sum up to
    least = left - 3  # what of it the second map, at most 1 + 2, cannot take
    s1 = rng.uniform(max(0, least / 3), 1)
    s2 = rng.uniform(max(0, (least - s1) / 2), min(s1, (left - s1) / 2))
    left -= s1 + 2 * s2
    last = rng.uniform(max(0, (left - 1) / 2), left / 3)
    return np.array([[s1, s2], [left - 2 * last, last]])


def _turns(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(2, 2, 2): two random rotations whose columns have random signs."""
    angle = rng.uniform(-np.pi, np.pi, 2)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
    return np.asarray(turned * rng.choice([-1.0, 1.0], (2, 1, 2)))


def chaos_game(system: System, rng: np.random.Generator) -> Points:
    """(2, 100000) points of a system's attractor.

    From the fixed point of map 1, map i follows with probability |det A_i| / Σ |det A|. 500 chains
    run side by side. Eight steps at once are one of 2^8 composed maps, so the places after every
    eighth step come first, then, all side by side, the seven between them. 200 steps of each chain
    are not kept: 500 beginnings would weigh more than the one of a single chain.
    """
    areas = np.abs(np.linalg.det(system[..., :2]))
    steps = rng.random((WARM_UP + WORDS, CHAINS, WORD), np.float32) >= areas[0] / areas.sum()
    words = np.packbits(steps).reshape(steps.shape[:2])
    leaps = np.take(_composed(system).astype(np.float32), words, axis=1)  # (6, words, chains)
    x, y = np.broadcast_to(_fixed_point(system)[:, None].astype(np.float32), (2, CHAINS))
    places = np.empty((2, WARM_UP + WORDS, CHAINS), np.float32)
    for k in range(WARM_UP + WORDS):
        places[0, k], places[1, k] = x, y
        a, b, c, d, e, f = leaps[:, k]
        x, y = a * x + b * y + c, d * x + e * y + f
    x, y = places[:, WARM_UP:].reshape(2, -1)
    follow = steps[WARM_UP:].reshape(-1, WORD).T.astype(np.float32, order="C")
    base, change = (
        half.reshape(6).astype(np.float32) for half in (system[0], np.diff(system, 1, 0))
    )
    points = np.empty((2, WORD, WORDS * CHAINS), np.float32)
    for k in range(WORD):
        a, b, c, d, e, f = (u + v * follow[k] for u, v in zip(base, change, strict=True))
        x, y = a * x + b * y + c, d * x + e * y + f
        points[0, k], points[1, k] = x, y
    return points.reshape(2, POINTS)


def _composed(system: System) -> npt.NDArray[np.float64]:
    """(6, 2^8): rows a b c d e f of all words of eight maps; the first bit is the first map."""
    maps = np.concatenate([system, np.broadcast_to([[[0.0, 0.0, 1.0]]], (2, 1, 3))], axis=1)
    words = maps
    for _ in range(WORD - 1):
        words = (maps[None] @ words[:, None]).reshape(-1, 3, 3)
    return np.ascontiguousarray(words[:, :2].reshape(-1, 6).T)


def _fixed_point(system: System) -> npt.NDArray[Any]:
    # lstsq: a map may, by rounding, keep a direction as it is, and then has no single fixed point
    return np.linalg.lstsq(np.eye(2) - system[0, :, :2], system[0, :, 2], rcond=None)[0]


def stamp(points: Points, side: int, rng: np.random.Generator) -> Mask:
    """(side, side) bool: the points, stretched over the whole square, each a random 3 x 3 dab.

    The dab's nine cells are on or off with equal chances, but at least one is on.
    """
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    scale = (side - 1e-3) / np.maximum(high - low, np.float32(1e-12))
    x, y = ((points - low) * scale).astype(np.int32)
    sheet = np.zeros((side + 1) * side, np.uint8)  # a row to spare: float32 rounds up
    sheet[y * side + np.minimum(x, side - 1)] = 1
    cells = int(rng.integers(1, 512)) >> np.arange(9) & 1
    dab = cells.astype(np.uint8).reshape(3, 3)
    return np.asarray(cv2.dilate(sheet[: side * side].reshape(side, side), dab), np.bool_)


def fractal_mask(side: int, rng: np.random.Generator) -> Mask:
    """(side, side) bool: a random fractal of 100,000 points; never empty."""
    return stamp(chaos_game(sample_system(rng), rng), side, rng)
