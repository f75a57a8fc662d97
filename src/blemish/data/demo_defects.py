"""The demo's defects: each alters the surface of a good part, before light falls on it.

A mask is what the defect visibly changed: pixels whose noise-free photographs with and without it
differ by more than `VISIBLE` of 255 levels in some colour, about twice the sensor's noise.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from blemish.data.demo_part import (
    BORE_RADIUS,
    HOLE_RADIUS,
    HOLE_X,
    HOLE_Y,
    SEAL_RADIUS,
    SEAL_WIDTH,
    SIZE,
    Field,
    Scene,
    Surface,
    blend,
    cover,
    plain,
    shade,
)
from blemish.records import Mask

VISIBLE = 5.0
_FINE = 4  # strokes are drawn this many times larger and averaged down
_SMALLEST = 20  # px that a defect must visibly change; a speck's size has its own rule


def draw_defect(kind: str, scene: Scene, rng: np.random.Generator) -> tuple[Field, Mask]:
    """Photograph (H, W, 3) of the part with one defect, without noise, and the defect's mask.

    kind: a key of DEFECTS. Draws again until enough of the defect can be seen.
    """
    good = shade(scene, scene.part)
    while True:
        picture = shade(scene, DEFECTS[kind](scene, rng))
        mask = np.abs(picture - good).max(axis=2) > VISIBLE
        if _is_a_speck(mask) if kind == "speck" else mask.sum() >= _SMALLEST:
            return picture, mask


def _is_a_speck(mask: Mask) -> bool:
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return 2 <= max(width, height) <= 4


def _scratch(scene: Scene, rng: np.random.Generator) -> Surface:
    start = _spot(scene, rng)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.012)
    steps = np.arange(0, rng.uniform(25, 85), 2.0)
    heading = angle + bend * steps
    path = start + 2 * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    line = _stroke([path], rng.uniform(0.8, 1.6)) * _on_part(scene)
    ridge = cv2.GaussianBlur(line, (0, 0), 0.7)
    fresh = rng.uniform(0.25, 0.9)
    bare = Surface(
        height=scene.part.height - 1.8 * fresh * ridge,
        colour=np.clip(scene.part.colour * (1 + 0.3 * fresh) + 0.05 * fresh, 0, 1),
        gloss=np.clip(scene.part.gloss + 0.3 * fresh, 0, 1),
    )
    return blend(scene.part, bare, line)


def _dent(scene: Scene, rng: np.random.Generator) -> Surface:
    x, y = _around(_spot(scene, rng), rng.uniform(0.7, 1.3), rng.uniform(0, np.pi))
    radius = rng.uniform(4, 11)
    r = np.hypot(x, y) / radius
    rim = np.exp(-(((r - 1.2) / 0.25) ** 2))
    deep = radius * rng.uniform(0.08, 0.4)
    height = scene.part.height - deep * np.exp(-(r**2) * 1.5) + 0.08 * deep * rim
    return Surface(height=height, colour=scene.part.colour, gloss=scene.part.gloss)


def _stain(scene: Scene, rng: np.random.Generator) -> Surface:
    x, y = _around(_spot(scene, rng), rng.uniform(0.7, 1.4), rng.uniform(0, np.pi))
    radius = rng.uniform(7, 22)
    edge = np.hypot(x, y) - radius * (1 + 0.35 * _clouds(rng, 14) + 0.08 * _clouds(rng, 4))
    # A dried drop: a veil of one colour with a darker rim.
    veil = cover(edge, 4.0) * (0.75 + 0.12 * _clouds(rng, 7)) + 0.5 * np.exp(-((edge / 1.8) ** 2))
    colours = ((0.72, 0.60, 0.42), (0.62, 0.66, 0.78), (0.66, 0.62, 0.60))
    dye = plain(scene.part.height, colours[rng.integers(3)], 0.0).colour
    wet = Surface(
        height=scene.part.height,
        colour=scene.part.colour * dye,
        gloss=scene.part.gloss * 0.3,
    )
    strength = rng.uniform(0.25, 0.9)
    return blend(scene.part, wet, strength * np.clip(veil, 0, 1) * _on_part(scene))


def _missing(scene: Scene, rng: np.random.Generator) -> Surface:
    """A hole that was not drilled, a bush that was not pressed in, or a piece of the seal lost."""
    what = rng.integers(3)
    side_x, side_y = rng.choice([-1, 1], 2).tolist()
    hole = np.hypot(scene.x - side_x * HOLE_X, scene.y - side_y * HOLE_Y)
    if what == 0:
        return blend(scene.part, scene.plate, cover(hole - HOLE_RADIUS - 2))
    if what == 1:
        dark = plain(np.full_like(hole, -5.0), (0.02, 0.02, 0.022), 0.0)
        return blend(scene.part, dark, cover(hole - 12.8))
    middle, half = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.35)
    turn = np.arctan2(scene.y, scene.x) - middle
    away = np.abs((turn + np.pi) % (2 * np.pi) - np.pi) - half
    r = np.hypot(scene.x, scene.y) - SEAL_RADIUS
    groove = plain(np.full_like(r, -1.5), (0.16, 0.16, 0.165), 0.15)
    gap = np.maximum(SEAL_RADIUS * away, np.abs(r) - SEAL_WIDTH - 2)
    return blend(scene.part, groove, cover(gap))


def _contamination(scene: Scene, rng: np.random.Generator) -> Surface:
    """A fibre or a flake that fell onto the part."""
    colours = ((0.03, 0.07, 0.30), (0.02, 0.02, 0.02), (0.75, 0.73, 0.70), (0.35, 0.03, 0.03))
    colour = colours[rng.integers(4)]
    start = _spot(scene, rng)
    if rng.random() < 0.6:
        turns = np.cumsum(rng.normal(0, 0.22, int(rng.integers(12, 30)))) + rng.uniform(0, 7)
        path = start + 2 * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
        shape = _stroke([path], rng.uniform(0.9, 1.8))
    else:
        corners = np.sort(rng.uniform(0, 2 * np.pi, 6))
        radii = rng.uniform(2.0, 5.5, 6)
        ring = start + np.stack([radii * np.cos(corners), radii * np.sin(corners)], axis=1)
        shape = _filled(ring)
    shadow = cv2.GaussianBlur(np.roll(shape, (1, 2), (0, 1)), (0, 0), 1.0)
    under = Surface(
        height=scene.part.height,
        colour=scene.part.colour * (1 - 0.35 * shadow),
        gloss=scene.part.gloss * (1 - 0.35 * shadow),
    )
    risen = np.asarray(cv2.GaussianBlur(shape, (0, 0), 0.8), under.height.dtype)
    thing = plain(under.height + risen, colour, 0.1)
    return blend(under, thing, shape)


def _crack(scene: Scene, rng: np.random.Generator) -> Surface:
    """A jagged dark line with one branch, thinner towards its ends."""
    start, angle = _spot(scene, rng), rng.uniform(0, 2 * np.pi)
    trunk = _jagged(start, angle, int(rng.integers(9, 20)), rng)
    fork = trunk[len(trunk) // 2]
    branch = _jagged(fork, angle + rng.choice([-0.8, 0.8]), len(trunk) // 3, rng)
    half = len(trunk) // 2
    line = np.maximum(_stroke([trunk[: half + 3]], 1.1), _stroke([trunk[half:], branch], 0.7))
    line *= _on_part(scene)
    gap = plain(scene.part.height - line, (0.03, 0.03, 0.03), 0.0)
    return blend(scene.part, gap, line)


def _speck(scene: Scene, rng: np.random.Generator) -> Surface:
    """A pore, a grain of dust or a burnt spot of a few pixels."""
    x, y = _around(_spot(scene, rng) + rng.uniform(-0.5, 0.5, 2), 1.0, 0.0)
    colours = ((0.02, 0.02, 0.02), (0.98, 0.98, 0.98), (0.16, 0.07, 0.02))
    grain = plain(scene.part.height, colours[rng.integers(3)], 0.0)
    strength = rng.uniform(0.4, 1.0)
    return blend(scene.part, grain, strength * cover(np.hypot(x, y) - rng.uniform(0.7, 1.4)))


DEFECTS: dict[str, Callable[[Scene, np.random.Generator], Surface]] = {
    "contamination": _contamination,
    "crack": _crack,
    "dent": _dent,
    "missing": _missing,
    "scratch": _scratch,
    "speck": _speck,
    "stain": _stain,
}


def _on_part(scene: Scene) -> npt.NDArray[np.bool_]:
    return (scene.plate.gloss > 0.05) & (np.hypot(scene.x, scene.y) > BORE_RADIUS)


def _spot(scene: Scene, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One pixel (x, y) of the bare plate."""
    rows, columns = np.nonzero(scene.face)
    chosen = rng.integers(len(rows))
    return np.array([columns[chosen], rows[chosen]], dtype=np.float64)


def _around(spot: npt.NDArray[np.float64], stretch: float, angle: float) -> tuple[Field, Field]:
    """Coordinates of every pixel from a spot, turned and stretched, of shape (H, W) each."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    columns, rows = columns - float(spot[0]), rows - float(spot[1])
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return (cos * columns + sin * rows) * stretch, (cos * rows - sin * columns) / stretch


def _jagged(
    start: npt.NDArray[np.float64], angle: float, steps: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    turns = angle + rng.normal(0, 0.55, steps)
    stride = rng.uniform(2, 5, steps)[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(stride, axis=0)])


def _clouds(rng: np.random.Generator, size: float) -> Field:
    """Smooth noise of about unit spread, with blobs of the given size in px."""
    coarse = rng.standard_normal((int(SIZE[0] / size) + 3, int(SIZE[1] / size) + 3))
    smooth = cv2.resize(coarse.astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.float32)


def _stroke(paths: list[npt.NDArray[np.float64]], width: float) -> Field:
    """Lines through points (N, 2) of x, y in px, as coverage in [0, 1]."""
    sheet = np.zeros((SIZE[0] * _FINE, SIZE[1] * _FINE), np.uint8)
    points = [np.rint((path + 0.5) * _FINE).astype(np.int32) for path in paths]
    cv2.polylines(sheet, points, False, 255, max(1, round(width * _FINE)))
    return _averaged(sheet)


def _filled(ring: npt.NDArray[np.float64]) -> Field:
    """The polygon with corners (N, 2) of x, y in px, as coverage in [0, 1]."""
    sheet = np.zeros((SIZE[0] * _FINE, SIZE[1] * _FINE), np.uint8)
    cv2.fillPoly(sheet, [np.rint((ring + 0.5) * _FINE).astype(np.int32)], 255)
    return _averaged(sheet)


def _averaged(sheet: npt.NDArray[np.uint8]) -> Field:
    small = cv2.resize(sheet, SIZE[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32) / 255
