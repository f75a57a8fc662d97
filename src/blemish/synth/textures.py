"""What defects may be made of: pictures from a folder of the user's, or drawn by rule.

No pictures are shipped. The Describable Textures Dataset (DTD, Cimpoi et al. 2014), which the
papers use, is for research only: whoever has it names its folder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.data.listing import images_below, require_folder
from blemish.errors import DataError
from blemish.images import IMAGE_SUFFIXES, read_image
from blemish.synth.base import white
from blemish.synth.colours import Light

Field = npt.NDArray[np.float32]  # (h, w)
_FINEST = 1024  # px a side that are drawn; what is larger is enlarged


def texture(
    size: tuple[int, int], channels: int, rng: np.random.Generator, folder: str | None = None
) -> Light:
    """(h, w, channels) float32, 0 to 1: a picture from the folder, or one drawn by rule.

    size: (h, w), pixels. channels: 1 or 3. folder: of pictures, at any depth; each fills the whole
    size, whatever its shape, as STLM does it.

    Raises:
        DataError: the folder is missing, cannot be read or has no pictures.
        ImageError: the picture that was drawn cannot be read.
    """
    if folder is None:
        small = (min(size[0], _FINEST), min(size[1], _FINEST))
        return _fitted(_drawn(small, rng), size, channels)
    names = pictures(folder)
    pixels = read_image(names[rng.integers(len(names))])
    return _fitted(pixels.astype(np.float32) / np.float32(white(pixels)), size, channels)


@lru_cache(maxsize=4)
def pictures(folder: str) -> tuple[str, ...]:
    """All picture files below a folder, in order of name, as listing.py finds them; looked up once
    in a process.

    Raises DataError if there are none.
    """
    require_folder(Path(folder))
    files = images_below(Path(folder))
    if not files:
        raise DataError(
            f"'{folder}' must be a folder with pictures of textures, such as DTD's images, but"
            f" there is no file of {', '.join(IMAGE_SUFFIXES)} below it. Give the right folder, or"
            " none: then textures are drawn."
        )
    return tuple(str(path) for path in files)


def _fitted(light: Light, size: tuple[int, int], channels: int) -> Light:
    if channels == 1 and light.shape[2] == 3:
        light = np.asarray(cv2.cvtColor(light, cv2.COLOR_RGB2GRAY), np.float32)[..., None]
    if light.shape[:2] != size:
        shrinks = light.shape[0] * light.shape[1] > size[0] * size[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        light = np.asarray(cv2.resize(light, size[::-1], interpolation=way), np.float32)
        light = np.minimum(light.reshape(*size, -1), 1)  # means of whites can be a bit above
    return np.ascontiguousarray(np.broadcast_to(light, (*size, channels)))


def _drawn(size: tuple[int, int], rng: np.random.Generator) -> Light:
    """A pattern between two colours, with a little of a third at every scale."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))](size, rng)
    colours = rng.random((3, 3), np.float32)
    grey = colours.mean(axis=1, keepdims=True)
    first, second, third = grey + np.float32(rng.random()) * (colours - grey)  # vivid to dull
    veil = 0.35 * cloud(size, rng)[..., None]
    light = first + pattern[..., None] * (second - first)
    return np.asarray(np.clip(light + veil * (third - light), 0, 1), np.float32)


def cloud(size: tuple[int, int], rng: np.random.Generator) -> Field:
    """(h, w) smooth noise of many scales, 0 to 1."""
    total = np.zeros(size, np.float32)
    cells, weight = 2, 1.0
    while cells <= max(8, min(size) // 2) and weight > 0.02:
        knots = rng.random((cells + 3, cells + 3), np.float32)
        total += weight * np.asarray(cv2.resize(knots, size[::-1], interpolation=cv2.INTER_CUBIC))
        cells, weight = 2 * cells, 0.55 * weight
    return _spread(total)


def _marble(size: tuple[int, int], rng: np.random.Generator) -> Field:
    return _spread(np.sin(cloud(size, rng) * rng.uniform(8, 40)))


def _stripes(size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Lines, straight or wavy, sharp or soft."""
    v, u = np.indices(size, dtype=np.float32) / max(size)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(6, 60)
    along = np.cos(angle) * u + np.sin(angle) * v + rng.uniform(0, 0.15) * cloud(size, rng)
    sharp = rng.uniform(1, 6)
    return _spread(np.tanh(sharp * np.sin(2 * np.pi * waves * along)))


def _weave(size: tuple[int, int], rng: np.random.Generator) -> Field:
    return _spread(_stripes(size, rng) * _stripes(size, rng))


def _grain(size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Sand: noise of one scale."""
    noise = rng.random(size, np.float32)
    return _spread(cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.6, 3)))


def _cells(size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Scales, stones or bubbles: how far the nearest of random seeds is."""
    empty = np.full(size, 255, np.uint8)
    count = int(rng.integers(20, 400))
    empty[rng.integers(0, size[0], count), rng.integers(0, size[1], count)] = 0
    return _spread(np.asarray(cv2.distanceTransform(empty, cv2.DIST_L2, 3)))


PATTERNS: tuple[Callable[[tuple[int, int], np.random.Generator], Field], ...] = (
    cloud,
    _marble,
    _stripes,
    _weave,
    _grain,
    _cells,
)


def _spread(values: npt.NDArray[np.generic]) -> Field:
    field = np.asarray(values, np.float32)
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)
