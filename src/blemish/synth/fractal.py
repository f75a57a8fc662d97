"""FractalAD's defects: a patch of the same image, recoloured, cut out by a random fractal
(arXiv 2301.12739)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, merged, require_range, spot, white
from blemish.synth.brush import attempt
from blemish.synth.colours import Light, jitter
from blemish.synth.foreground import foreground, shorter_side
from blemish.synth.ifs import fractal_mask
from blemish.synth.patches import lay, overlap

_SMALLEST = 8  # px a side of a patch; in less a fractal is a speck that may not be seen


@dataclass(frozen=True, kw_only=True)
class Fractal:
    """Defaults are those of the released code.

    patch: side of the square patch, shares of the image's shorter side, above 0 to 0.8.
    border: share of each side that patches keep away from the image's border, 0 to 0.1.
    on_object: take patches from the part and lay them on the part only, as foreground.py finds it.
    object_patch: the same as patch, in shares of the part's shorter side, above 0 to 2; what is
        larger than the image is cut to it.
    rotation: of the patch, degrees, 0 to 360.
    jitter: brightness, contrast, saturation (factor 1 ± this) and hue (turns) of the first of three
        recolourings, 0 to 0.5.
    noise: standard deviation, shares of white, 0 to 1; 10 of 255 levels.
    noise_chance: how often there is noise, 0 to 1.
    rim: by how much the mask is wider than what was pasted, shares of each side of the image, 0 to
        0.1; 3 of 256 pixels.
    """

    patch: tuple[float, float] = (0.1, 0.5)
    border: float = 0.1
    on_object: bool = False
    object_patch: tuple[float, float] = (0.05, 1.5)
    rotation: tuple[float, float] = (15.0, 75.0)
    jitter: float = 0.2
    noise: float = 10 / 255
    noise_chance: float = 0.5
    rim: float = 3 / 256

    def __post_init__(self) -> None:
        require_range("fractal.patch", self.patch, 1e-4, 0.8)
        require(0 <= self.border <= 0.1, "fractal.border", "from 0 to 0.1", self.border)
        require_range("fractal.object_patch", self.object_patch, 1e-4, 2)
        require_range("fractal.rotation", self.rotation, 0, 360)
        require(0 <= self.jitter <= 0.5, "fractal.jitter", "from 0 to 0.5", self.jitter)
        require(0 <= self.noise <= 1, "fractal.noise", "from 0 to 1", self.noise)
        chance = self.noise_chance
        require(0 <= chance <= 1, "fractal.noise_chance", "from 0 to 1", chance)
        require(0 <= self.rim <= 0.1, "fractal.rim", "from 0 to 0.1", self.rim)


def fractal(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Fractal = Fractal(),
) -> Altered:
    """Lays a fractal piece of the image elsewhere onto it, at the image's own resolution; points
    stay as they are.

    where: for the middle of the place it is laid on; then it may be cut by the image's border.
    Otherwise it lies whole in the image. Unlike in the released code, channels are cut at white
    where they wrapped around, the mask is widened at the image's own resolution, patches turn with
    bilinear interpolation, no fractal is empty, no search is endless, and what nobody could see
    (fewer than 4 pixels changed by more than 2 % of white) is drawn again.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen, or none had room on the part (on_object).
    """
    check(image, points, where)
    part = foreground(image) if config.on_object else None
    size, top = (image.shape[0], image.shape[1]), white(image)

    def draw() -> Altered | None:
        places = _places(size, part, where, config, rng)
        return _pasted(image, points, *places, top, config, rng) if places else None

    return attempt("fractal", draw, " and had room on the part" if config.on_object else "")


def _places(
    size: tuple[int, int],
    part: Mask | None,
    where: Mask | None,
    config: Fractal,
    rng: np.random.Generator,
) -> tuple[tuple[int, int], tuple[int, int], int] | None:
    """Corners (y, x) of source and target, and the patch's side, px; None if there is no room."""
    shorter = min(size) if part is None else shorter_side(part)
    side = int(shorter * rng.uniform(*(config.patch if part is None else config.object_patch)))
    side = min(max(_SMALLEST, side), *size)
    source = _corner(size, part, side, config, rng)
    target: tuple[int, int] | None = None
    if where is None:
        target = _corner(size, part, side, config, rng)
    else:
        allowed = where if part is None else where & part
        if allowed.any():
            x, y = spot(size, allowed, rng)
            target = (int(y) - side // 2, int(x) - side // 2)
    return (source, target, side) if source and target else None


def _corner(
    size: tuple[int, int], part: Mask | None, side: int, config: Fractal, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Top left of a patch that lies in the image and, if there is a part, has its middle on it."""
    if part is None:
        y, x = (
            int(rng.uniform(config.border * long, (1 - config.border) * long - side))
            for long in size
        )
        return y, x
    # Even among all middles that fit: what the released code looks for by trial and error.
    half = side // 2
    rows, columns = np.nonzero(
        part[half : half + size[0] - side + 1, half : half + size[1] - side + 1]
    )
    if len(rows) == 0:
        return None
    chosen = int(rng.integers(len(rows)))
    return int(rows[chosen]), int(columns[chosen])


def _pasted(
    image: Pixels,
    points: Cloud | None,
    source: tuple[int, int],
    target: tuple[int, int],
    side: int,
    top: int,
    config: Fractal,
    rng: np.random.Generator,
) -> Altered | None:
    size = (image.shape[0], image.shape[1])
    patch = image[source[0] : source[0] + side, source[1] : source[1] + side]
    light = _recoloured(patch.astype(np.float32) / np.float32(top), config.jitter, rng)
    light, shape = _turned(light, fractal_mask(side, rng), config.rotation, rng)
    inside, seen = overlap(target, (side, side), size)
    rims = tuple(round(config.rim * long) for long in size)
    place, pads = _around(inside, rims, size)
    before = image[place]
    rows, columns = pads[:2], pads[2:]
    pasted = np.pad(shape[seen], (rows, columns))
    levels = np.pad(light[seen] * np.float32(top), (rows, columns, (0, 0)))
    after = merged(pasted, levels, before)
    box = np.ones((2 * rims[0] + 1, 2 * rims[1] + 1), np.uint8)
    mask = np.asarray(cv2.dilate(pasted.astype(np.uint8), box), np.bool_)
    if rng.random() < config.noise_chance:
        noise = rng.standard_normal(mask.shape, np.float32) * np.float32(config.noise * top)
        after += (mask * noise)[..., None]  # the same on all colours
    return lay(image, points, place, after, mask)


def _recoloured(light: Light, most: float, rng: np.random.Generator) -> Light:
    """One of three ways, all as likely."""
    way = rng.integers(3)
    if way == 0:
        return jitter(light, rng, brightness=most, contrast=most, saturation=most, hue=most)
    if way == 1:
        return jitter(light, rng, brightness=1.0, contrast=1.0)
    scaled = light.copy()
    for channel in rng.integers(light.shape[2], size=2).tolist():  # may be the same twice
        scaled[..., channel] *= np.float32(rng.uniform(0, 2))
    return np.minimum(scaled, 1)


def _turned(
    light: Light, shape: Mask, degrees: tuple[float, float], rng: np.random.Generator
) -> tuple[Light, Mask]:
    """The patch flipped and rotated, and what of the shape lies on it: corners get empty."""
    side = len(light)
    light = np.ascontiguousarray(light[:: rng.choice((1, -1)), :: rng.choice((1, -1))])
    middle = ((side - 1) / 2, (side - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, rng.uniform(*degrees), 1)
    rotated = cv2.warpAffine(light, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    whole = np.ones((side, side), np.uint8)
    covered = cv2.warpAffine(whole, turn, (side, side), flags=cv2.INTER_NEAREST)
    return np.asarray(rotated, np.float32).reshape(light.shape), shape & (covered > 0)


def _around(
    inside: tuple[slice, slice], rims: tuple[int, ...], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[int, int, int, int]]:
    """The place with a rim, as far as the image goes; px added at top, bottom, left, right."""
    pads: list[int] = []
    for along, rim, long in zip(inside, rims, size, strict=True):
        pads += [min(rim, along.start), min(rim, long - along.stop)]
    rows, columns = inside
    place = (
        slice(rows.start - pads[0], rows.stop + pads[1]),
        slice(columns.start - pads[2], columns.stop + pads[3]),
    )
    return place, (pads[0], pads[1], pads[2], pads[3])
