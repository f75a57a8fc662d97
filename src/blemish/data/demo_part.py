"""The demo's part: a brushed aluminium cover with a bore, a seal, bushes and an engraving.

Everything is drawn at native size from signed distances d (px, negative inside), so that poses are
exact and edges anti-aliased. Coordinates x, y are the part's own, in px from its centre; arrays are
float32 of shape (H, W); colours are (3, H, W), linear RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]

SIZE = (300, 360)
HOLE_X, HOLE_Y = 116.0, 84.0  # the four holes lie at ±x, ±y
HOLE_RADIUS = 17.0  # outer edge of the countersink
BORE_RADIUS = 28.0
SEAL_RADIUS = 64.0
SEAL_WIDTH = 5.0  # half of it


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What light falls on. height: px above the plate. colour: (3, H, W). gloss: 0 to 1."""

    height: Field
    colour: Field
    gloss: Field


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One photograph before the shutter.

    x, y: the part's coordinates of every pixel. plate: surface without holes, seal and bore.
    face: True where the bare plate is seen, some px away from all edges. light: direction to the
    lamp (x, y, z). shine: how bright the lamp is at every pixel, about 1. tint: (3, 1, 1).
    """

    x: Field
    y: Field
    part: Surface
    plate: Surface
    face: npt.NDArray[np.bool_]
    light: tuple[float, float, float]
    shine: Field
    tint: Field


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a good part as it varies: pose, metal, grain, seal, lamp."""
    x, y = _pose(rng)
    outline = _box(x, y, 152.0, 120.0, 24.0)
    plate = _plate(x, y, outline, rng)
    part = _bushes(x, y, _engraving(x, y, _slot(x, y, _wear(plate, rng))), rng)
    _draw_centre(x, y, part, rng)
    inside = (outline < -12) & (np.hypot(x, y) > SEAL_RADIUS + 12) & (_slot_distance(x, y) > 6)
    inside &= np.hypot(np.abs(x) - HOLE_X, np.abs(y) - HOLE_Y) > HOLE_RADIUS + 6
    angle = np.deg2rad(rng.normal(-125, 5))
    low = rng.uniform(0.55, 0.7)
    return Scene(
        x=x,
        y=y,
        part=part,
        plate=plate,
        face=inside,
        light=(float(np.cos(angle)) * low, float(np.sin(angle)) * low, 0.75),
        shine=_shine(x, y, rng),
        tint=rng.normal(1, 0.012, (3, 1, 1)).astype(np.float32),
    )


def shade(scene: Scene, surface: Surface) -> Field:
    """Photograph without noise: (H, W, 3) RGB in 0 to 255."""
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(surface.height, (0, 0), 0.6))
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    light_x, light_y, light_z = scene.light
    facing = (light_z - slope_x * light_x - slope_y * light_y) / length
    # Halfway between the lamp and a camera straight above.
    norm = float(np.sqrt(light_x**2 + light_y**2 + (light_z + 1) ** 2))
    mirror = (light_z + 1 - slope_x * light_x - slope_y * light_y) / (length * norm)
    diffuse = 0.32 + 0.78 * np.clip(facing, 0, None)
    eighth = np.square(np.square(np.square(np.clip(mirror, 0, 1))))
    glint = surface.gloss * eighth * eighth * eighth
    linear = (surface.colour * (diffuse * scene.shine) + 0.35 * glint) * scene.tint
    lens = cv2.GaussianBlur(linear.transpose(1, 2, 0), (0, 0), 0.55)
    return np.asarray(255 * np.sqrt(np.clip(lens, 0, 1)), dtype=np.float32)


def expose(picture: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Add the sensor's noise, which grows with brightness, and round to 8 bit."""
    sigma = 1.0 + 1.2 * np.sqrt(picture / 255)
    noisy = picture + sigma * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def cover(distance: Field, width: float = 1.0) -> Field:
    """How much of a pixel lies inside a shape, from its distance; width of the edge in px."""
    return np.asarray(np.clip(0.5 - distance / width, 0, 1))


def blend(below: Surface, above: Surface, amount: Field) -> Surface:
    """Surface that is `above` where amount is 1 and `below` where it is 0."""
    return Surface(
        height=below.height + amount * (above.height - below.height),
        colour=below.colour + amount * (above.colour - below.colour),
        gloss=below.gloss + amount * (above.gloss - below.gloss),
    )


def plain(height: Field, colour: tuple[float, float, float], gloss: float) -> Surface:
    """Surface of one colour and gloss, to be blended; these two are single pixels."""
    return Surface(
        height=height,
        colour=_rgb(*colour),
        gloss=np.array(gloss, np.float32).reshape(1, 1),
    )


def _rgb(red: float, green: float, blue: float) -> Field:
    return np.array([[[red]], [[green]], [[blue]]], dtype=np.float32)


def _pose(rng: np.random.Generator) -> tuple[Field, Field]:
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    columns -= width / 2 + np.clip(rng.normal(0, 2.0), -5, 5)
    rows -= height / 2 + np.clip(rng.normal(0, 2.0), -5, 5)
    turn = np.deg2rad(np.clip(rng.normal(0, 0.7), -2, 2))
    scale = 1 + np.clip(rng.normal(0, 0.003), -0.01, 0.01)
    cos, sin = np.float32(np.cos(turn) / scale), np.float32(np.sin(turn) / scale)
    return cos * columns + sin * rows, cos * rows - sin * columns


def _plate(x: Field, y: Field, outline: Field, rng: np.random.Generator) -> Surface:
    grain = _brushed(x, y, rng)
    tone = rng.normal(0.40, 0.02)
    metal = _rgb(tone, tone, 1.03 * tone) * (1 + grain)
    # A chamfer of 5 px falls to the belt below, which lies in the plate's soft shadow.
    height = -0.8 * np.clip(outline + 5, 0, 5)
    belt = cv2.GaussianBlur(rng.standard_normal(SIZE, dtype=np.float32), (0, 0), 0.8)
    shadow = 1 - 0.6 * np.exp(-np.clip(outline - 0.2 * (x + y) / 10, 0, None) / 9)
    cloth = _rgb(0.052, 0.060, 0.068) * ((1 + 0.25 * belt) * shadow)
    solid = cover(outline)
    return Surface(
        height=height,
        colour=cloth + solid * (metal - cloth),
        gloss=solid * (0.55 + 1.2 * grain),
    )


def _brushed(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Grain along x, relative brightness about 0, fixed to the part."""
    noise = rng.standard_normal((340, 400), dtype=np.float32)
    fine = cv2.blur(cv2.blur(noise, (41, 1)), (25, 1))
    coarse = cv2.blur(cv2.blur(noise[::-1], (121, 7)), (61, 3))
    rough = rng.uniform(0.7, 1.4)
    sheet = rough * (0.035 * fine / fine.std() + 0.02 * coarse / coarse.std())
    seen = cv2.remap(sheet, x + 200, y + 170, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, dtype=np.float32)


def _bushes(x: Field, y: Field, below: Surface, rng: np.random.Generator) -> Surface:
    """Four countersunk holes, each with a brass bush; all at once, from each pixel's own corner."""
    corner = 2 * (y > 0).astype(np.intp) + (x > 0)
    shift = rng.normal(0, 0.3, (2, 4)).astype(np.float32)
    dx, dy = np.abs(x) - HOLE_X, np.abs(y) - HOLE_Y
    r = np.hypot(dx + shift[0][corner], dy + shift[1][corner])
    sink = plain(0.7 * np.clip(r - HOLE_RADIUS, -5, 0), (0.36, 0.36, 0.37), 0.5)
    below = blend(below, sink, cover(r - HOLE_RADIUS))
    warm = rng.normal(1, 0.03)
    rim = -3.0 - 0.12 * (r - 9.5) ** 2
    brass = plain(rim, (0.50 * warm, 0.35 * warm, 0.13), 0.8)
    below = blend(below, brass, cover(np.abs(r - 9.5) - 3.0))
    dark = plain(np.full_like(r, -5.0), (0.015, 0.015, 0.017), 0.0)
    return blend(below, dark, cover(r - 6.5))


def _draw_centre(x: Field, y: Field, part: Surface, rng: np.random.Generator) -> None:
    """Draw seal and bore into the part, only where they can reach: it saves time."""
    window = np.s_[..., 64:236, 94:266]
    before = Surface(
        height=part.height[window], colour=part.colour[window], gloss=part.gloss[window]
    )
    near_x, near_y = x[window], y[window]
    after = _bore(near_x, near_y, _seal(near_x, near_y, before, rng))
    part.height[window] = after.height
    part.colour[window] = after.colour
    part.gloss[window] = after.gloss


def _seal(x: Field, y: Field, below: Surface, rng: np.random.Generator) -> Surface:
    """An orange ring of silicone in a groove."""
    shift_x, shift_y, *hue = (rng.normal(0, (0.4, 0.4, 0.02, 0.02, 0.02))).tolist()
    r = np.hypot(x - shift_x, y - shift_y)
    groove_radius = np.hypot(x, y) - SEAL_RADIUS
    groove = plain(np.full_like(r, -1.5), (0.16, 0.16, 0.165), 0.15)
    below = blend(below, groove, cover(np.abs(groove_radius) - SEAL_WIDTH - 2))
    profile = np.sqrt(np.clip(1 - ((r - SEAL_RADIUS) / SEAL_WIDTH) ** 2, 0, 1))
    orange = (0.62 * (1 + hue[0]), 0.17 * (1 + hue[1]), 0.035 * (1 + hue[2]))
    silicone = plain(3.0 * profile, orange, 0.35)
    return blend(below, silicone, cover(np.abs(r - SEAL_RADIUS) - SEAL_WIDTH))


def _bore(x: Field, y: Field, below: Surface) -> Surface:
    """A turned ring around a through hole; turned metal shines in a bow tie."""
    r = np.hypot(x, y)
    around = np.arctan2(y, x)
    bow = 1 + 0.22 * np.cos(2 * around + 1.2)
    tools = 1 + 0.05 * np.sin(2.1 * r) + 0.03 * np.sin(0.83 * r + 1)
    turned = plain(-0.6 * np.clip(r - 49, 0, 4) - 0.5 * np.clip(31 - r, 0, 4), (0, 0, 0), 0.7)
    turned = Surface(
        height=turned.height,
        colour=_rgb(0.43, 0.43, 0.44) * (bow * tools),
        gloss=turned.gloss,
    )
    below = blend(below, turned, cover(r - 53))
    depth = 0.012 + 0.05 * np.clip((x + y) / 40, 0, 1)
    hole = Surface(
        height=np.full_like(r, -2.0),
        colour=np.stack([depth] * 3),
        gloss=np.zeros_like(r),
    )
    return blend(below, hole, cover(r - BORE_RADIUS))


def _slot_distance(x: Field, y: Field) -> Field:
    return np.asarray(np.hypot(x - 104, y - np.clip(y, -30, 30)) - 8, dtype=np.float32)


def _slot(x: Field, y: Field, below: Surface) -> Surface:
    distance = _slot_distance(x, y)
    floor = plain(-0.9 * np.clip(-distance, 0, 4), (0.20, 0.20, 0.21), 0.3)
    return blend(below, floor, cover(distance))


def _engraving(x: Field, y: Field, below: Surface) -> Surface:
    """Laser marking, drawn four times as large as it is seen."""
    sheet = np.zeros((160, 400), np.uint8)
    cv2.putText(sheet, "BL-20", (8, 80), cv2.FONT_HERSHEY_DUPLEX, 2.4, 255, 8, cv2.LINE_AA)
    cv2.putText(sheet, "AlMg3 H22", (8, 136), cv2.FONT_HERSHEY_DUPLEX, 1.4, 255, 5, cv2.LINE_AA)
    soft = cv2.GaussianBlur(sheet, (0, 0), 2)
    seen = cv2.remap(soft, 4 * x + 180, 4 * y - 290, cv2.INTER_LINEAR, borderValue=0)
    ink = plain(below.height, (0.09, 0.09, 0.095), 0.05)
    return blend(below, ink, 0.85 * seen.astype(np.float32) / 255)


def _wear(below: Surface, rng: np.random.Generator) -> Surface:
    """Faint handling marks and lint that no inspector would complain about."""
    height, width = SIZE
    marks = np.zeros(SIZE, np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        start = rng.uniform((0, 0), (width, height))
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(8, 45)
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        ends = np.rint(16 * np.stack([start, end])).astype(int).tolist()
        light = int(rng.integers(60, 256))
        cv2.line(marks, ends[0], ends[1], light, 1, cv2.LINE_AA, 4)
    faint = cv2.resize(
        rng.standard_normal((9, 11), dtype=np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    change = 1 + 0.045 * marks.astype(np.float32) / 255 - 0.012 * faint
    return Surface(height=below.height, colour=below.colour * change, gloss=below.gloss * change)


def _box(x: Field, y: Field, half_x: float, half_y: float, radius: float) -> Field:
    dx, dy = np.abs(x) - half_x + radius, np.abs(y) - half_y + radius
    outside = np.hypot(np.clip(dx, 0, None), np.clip(dy, 0, None))
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - radius, dtype=np.float32)


def _shine(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """A lamp that is a little stronger on one side, and a lens that darkens its corners."""
    slope_x, slope_y = rng.normal((-0.0004, -0.0005), 0.00012).tolist()
    falloff = 1 + slope_x * x + slope_y * y - 2.2e-6 * (x**2 + y**2)
    return np.asarray(rng.normal(1.0, 0.02) * falloff, dtype=np.float32)
