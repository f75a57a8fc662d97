"""The surface below a picture: its normals, a smooth version of it, and how light falls on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask
from blemish.synth.brush import Window

_AMBIENT = 0.3  # share of the light that comes from everywhere


def normals(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(H, W, 3) unit normals of an organised cloud, towards the viewer; (0, 0, 0) where a point or
    a neighbour that it takes is missing.

    From central differences along rows and columns, one-sided at the image's border. Rows run
    down and columns to the right as the viewer sees them, in right-handed axes.

    >>> flat = np.dstack([*np.meshgrid(np.arange(4.0), np.arange(3.0)), np.ones((3, 4))])
    >>> normals(flat)[1, 1].tolist()
    [0.0, 0.0, -1.0]
    """
    wide = np.asarray(points, np.float64)
    down, right = np.gradient(wide, axis=(0, 1))
    across = np.cross(down, right)
    length = np.linalg.norm(across, axis=2, keepdims=True)
    unit = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    absent = np.asarray(~wide.any(axis=2)).astype(np.uint8)
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    return np.asarray(unit * (cv2.dilate(absent, plus) == 0)[..., None])


def measured(points: Cloud) -> Mask:
    """(H, W) bool, False where the sensor saw nothing."""
    return np.asarray(points.any(axis=2))


def smooth_surface(
    points: Cloud | None, place: Window, grain: float
) -> tuple[npt.NDArray[np.float64], float]:
    """(h, w, 3) smooth points of the window, none missing, and the length of a pixel in them."""
    rows, columns = np.indices(place.size, dtype=np.float64)
    flat = np.stack([columns, rows, np.zeros(place.size)], axis=2)
    if points is None:
        return flat, 1.0
    wide = points.astype(np.float64)
    seen = measured(points)
    steps = [
        np.linalg.norm(np.diff(wide, axis=axis), axis=2)[
            seen[1:] & seen[:-1] if axis == 0 else seen[:, 1:] & seen[:, :-1]
        ]
        for axis in (0, 1)
    ]
    every = np.concatenate(steps)
    every = every[every > 0]
    if len(every) == 0:
        return flat, 1.0
    # A plane through all points stands in for missing ones, so that smoothing has no edge to blur.
    terms = np.stack([columns, rows, np.ones(place.size)], axis=2)
    plane = terms @ np.linalg.lstsq(terms[seen], wide[seen], rcond=None)[0]
    sigma = float(np.clip(grain, 1.0, 8.0))
    rest = np.asarray(wide - plane) * seen[..., None]
    rest = np.asarray(cv2.GaussianBlur(rest, (0, 0), sigma), np.float64)
    weight = cv2.GaussianBlur(seen.astype(np.float64), (0, 0), sigma)[..., None]
    return plane + rest / np.maximum(weight, 1e-3), float(np.median(every))


def shade(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Brightness after over before, (h, w), 0.1 to 2.5, under one light from anywhere above."""
    towards = before.mean(axis=(0, 1))
    towards /= max(float(np.linalg.norm(towards)), 1e-9)
    side = np.cross(towards, [0.0, 1.0, 0.0] if abs(towards[1]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    turn, lift = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.1)
    flat = np.cos(turn) * side + np.sin(turn) * np.cross(towards, side)
    light = np.cos(lift) * flat + np.sin(lift) * towards
    old, new = (_AMBIENT + (1 - _AMBIENT) * np.clip(n @ light, 0, 1) for n in (before, after))
    return np.asarray(np.clip(new / old, 0.1, 2.5))
