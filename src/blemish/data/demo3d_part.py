"""The 3D demo's parts: height fields with colour, and what a camera and a 3D sensor see of them.

Lengths are metres, heights above the table. Arrays are float32 of shape (H, W); colours are (H, W,
3), linear RGB in [0, 1]. A pixel is half a millimetre of the table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Mask
from blemish.scans import Camera, Scan, scan_of_depth

Field = npt.NDArray[np.floating[Any]]

SIZE = (224, 224)
PIXEL = 0.0005  # metres
AWAY = 0.5  # from the camera to the table's middle
CAMERA = Camera(focal=(AWAY / PIXEL, AWAY / PIXEL))
NOISE = 5e-5  # metres, of the sensor's depth
GRAIN = 1.5  # of 255, of the camera
_LOST = 0.004  # of the pixels, at random
_STEEP = 2.5  # slope that the sensor sees no more


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part on its table, before light falls on it. height, colour: as above. even: the same
    part's height and colour without its texture. inside: True on the part, some px away from its
    rim: where a defect may lie."""

    height: Field
    colour: Field
    even: tuple[Field, Field]
    inside: Mask


def draw_part(category: str, rng: np.random.Generator) -> Part:
    """Draws a good part as it varies: place, turn, size, colour, texture. category: of PARTS."""
    rows, columns = np.indices(SIZE, dtype=np.float32)
    middle = (np.array(SIZE) - 1) / 2 + rng.normal(0, 1.5, 2).clip(-4, 4)
    turn = rng.normal(0, 0.02)
    x = (columns - middle[1]) * PIXEL
    y = (rows - middle[0]) * PIXEL
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    placed, again = (cos * x + sin * y, cos * y - sin * x), copy.deepcopy(rng)
    height, colour = PARTS[category](*placed, rng, 1.0)
    even = PARTS[category](*placed, again, 0.0)
    on = height > 0.0015
    table = np.array([0.05, 0.055, 0.06]) * (1 + 0.15 * noise(1.5, rng))[..., None]
    inside = cv2.erode(np.pad(on, 1).astype(np.uint8), np.ones((13, 13), np.uint8))[1:-1, 1:-1] > 0
    return Part(
        height=height.astype(np.float32),
        colour=np.where(on[..., None], colour, table).astype(np.float32),
        even=(even[0], np.where(on[..., None], even[1], table)),
        inside=inside,
    )


def noise(grain: float, rng: np.random.Generator) -> Field:
    """Smooth noise of mean 0 and standard deviation 1, with features of `grain` px."""
    rough = rng.standard_normal((SIZE[0] + 32, SIZE[1] + 32), dtype=np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), grain)[16:-16, 16:-16]
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


def _loaf(x: Field, y: Field, rng: np.random.Generator, rough: float) -> tuple[Field, Field]:
    """A dome with a crust: uneven in shape and in colour."""
    across = np.hypot(x / rng.normal(0.044, 0.001), y / rng.normal(0.036, 0.001))
    dome = np.sqrt(np.clip(1 - across**4, 0, 1))
    height = dome * (0.020 + rough * (0.0004 * noise(6, rng) + 0.0002 * noise(2, rng)))
    baked = 0.5 + rough * (0.10 * noise(9, rng) + 0.06 * noise(2, rng)) - 0.25 * (1 - dome)
    tone = np.clip(baked, 0.1, 1)[..., None]
    return height, tone * np.array([0.62, 0.36, 0.14]) * rng.normal(1, 0.03)


def _lid(x: Field, y: Field, rng: np.random.Generator, rough: float) -> tuple[Field, Field]:
    """A moulded disc with rings and a printed bar: smooth, of two colours."""
    r = np.hypot(x, y)
    rings = 0.0006 * np.cos(r * 2 * np.pi / 0.008) * (np.abs(r - 0.024) < 0.012)
    rim = 0.003 * np.exp(-(((r - 0.041) / 0.0015) ** 2))
    height = (0.010 + rings + rim) * _step(0.044 - r)
    printed = _step(0.010 - np.abs(x)) * _step(0.003 - np.abs(y))
    paint = np.array([0.10, 0.24, 0.45]) * rng.normal(1, 0.03)
    ink = np.array([0.75, 0.72, 0.65])
    colour = paint + printed[..., None] * (ink - paint)
    return height, colour * (1 + rough * 0.01 * noise(1.5, rng))[..., None]


def _bracket(x: Field, y: Field, rng: np.random.Generator, rough: float) -> tuple[Field, Field]:
    """A cast plate with ribs and four bosses: grey, grainy."""
    plate = _step(0.043 - np.abs(x)) * _step(0.034 - np.abs(y))
    ribs = _step(0.0025 - np.abs(np.abs(y) - 0.013)) * _step(0.030 - np.abs(x))
    boss = np.hypot(np.abs(x) - 0.034, np.abs(y) - 0.025)
    height = plate * (0.008 + 0.004 * ribs + 0.005 * _step(0.005 - boss))
    height += plate * rough * 0.00012 * noise(1.5, rng)
    grain = 1 + rough * (0.10 * noise(1.2, rng) + 0.05 * noise(12, rng))
    return height, grain[..., None] * np.array([0.34, 0.35, 0.36]) * rng.normal(1, 0.03)


# Metres to the right and down, generator, and how much of its texture the part has: 0 or 1.
PARTS: dict[str, Callable[[Field, Field, np.random.Generator, float], tuple[Field, Field]]] = {
    "loaf": _loaf,
    "lid": _lid,
    "bracket": _bracket,
}


def _step(distance: Field) -> Field:
    """0 outside and 1 inside, over two pixels."""
    return np.asarray(np.clip(0.5 + distance / (2 * PIXEL), 0, 1), np.float32)


@dataclass(frozen=True, kw_only=True)
class View:
    """How one part is looked at. tilt: slopes of the table. lights: directions and strengths of
    three lamps, (3, 4). gain: (3,), the camera's white balance."""

    tilt: tuple[float, float]
    lights: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]


def draw_view(rng: np.random.Generator) -> View:
    """Draws table and lamps as they vary from picture to picture."""
    turns = np.deg2rad([-120, 20, 110]) + rng.normal(0, 0.05, 3)
    low = np.array([0.9, 0.8, 0.4]) + rng.normal(0, 0.03, 3)
    strength = np.array([0.55, 0.3, 0.25]) * rng.normal(1, 0.03, 3)
    lights = np.stack([np.cos(turns) * low, np.sin(turns) * low, np.ones(3), strength], axis=1)
    lights[:, :3] /= np.linalg.norm(lights[:, :3], axis=1, keepdims=True)
    tilt = rng.normal(0, 0.01, 2).clip(-0.03, 0.03)
    return View(tilt=(tilt[0], tilt[1]), lights=lights, gain=rng.normal(1, 0.01, 3))


def photograph(height: Field, colour: Field, view: View) -> Field:
    """(H, W, 3) RGB in 0 to 255, without noise: Lambert's cosine for each lamp, and some light from
    everywhere."""
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(height, (0, 0), 0.7), PIXEL)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(height)], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    facing = np.clip(normal @ view.lights[:, :3].T, 0, None)
    light = 0.35 + (facing * view.lights[:, 3]).sum(2)
    linear = cv2.GaussianBlur(colour * light[..., None] * view.gain, (0, 0), 0.5)
    return np.asarray(255 * np.sqrt(np.clip(linear, 0, 1)), np.float32)


def expose(picture: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """With the camera's noise, in 8 bits."""
    noisy = picture + GRAIN * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def sense(height: Field, view: View, rng: np.random.Generator) -> Scan:
    """What the 3D sensor sees: points in metres, with noise, and holes where it is too steep and
    here and there."""
    rows, columns = np.indices(SIZE, dtype=np.float64)
    middle = (np.array(SIZE) - 1) / 2
    across, down = (columns - middle[1]) * PIXEL, (rows - middle[0]) * PIXEL
    table = AWAY + view.tilt[0] * across + view.tilt[1] * down
    depth = table - height + rng.normal(0, NOISE, SIZE)
    slope = np.hypot(*np.gradient(height, PIXEL))
    lost = (slope > _STEEP) & (rng.random(SIZE) < 0.7)
    depth[lost | (rng.random(SIZE) < _LOST)] = 0
    return scan_of_depth(depth, CAMERA)
