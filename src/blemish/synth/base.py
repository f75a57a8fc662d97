"""What every maker of defects is given and gives back.

A maker is a function of one good image, optionally its organised point cloud, and a
numpy.random.Generator; it never changes what it is given:

    altered = scratch(image, points, rng, where=None, config=Scratch())

Lengths in a config are shares of the image's shorter side unless they say otherwise, so that a
setting means the same for every camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.bands import Bands
from blemish.clouds import Cloud
from blemish.errors import ShapeError
from blemish.frame import SIXTEEN_BIT_WHITES
from blemish.records import Mask, Pixels
from blemish.settings import require

SMALLEST = 16  # px a side; in less there is no room for a defect and something around it
TRIES = 20  # draws of one defect before a maker says that the image allows none
LEAST = 4  # px that a defect must visibly change
VISIBLE = 0.02  # of the image's own range: what changes less does not count as changed

Maker = Callable[..., "Altered"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Altered:
    """A good part with one defect.

    image: (H, W, C) of the given type. points: (H, W, 3) float32, or None where none were given.
    mask: (H, W) bool, True on the defect, never empty. Outside of it image and points are bit for
    bit what was given.
    """

    image: Pixels
    points: Cloud | None
    mask: Mask


def check(image: Pixels, points: Cloud | None, where: Mask | None) -> None:
    """Raises ShapeError unless a maker can work on these.

    image: (H, W, 1 or 3) uint8 or uint16, at least 16 px a side. points: (H, W, 3) float32.
    where: (H, W) bool with at least one True: where a defect's middle may lie.
    """
    sound = image.ndim == 3 and image.shape[2] in (1, 3) and image.dtype in (np.uint8, np.uint16)
    if not sound or min(image.shape[:2]) < SMALLEST:
        raise ShapeError(
            f"an image must be (H, W, 1 or 3) uint8 or uint16 of at least {SMALLEST} px a side to"
            f" get a defect, but is {image.dtype} of shape {image.shape}. Read it with read_image."
        )
    _fits("points", points, (*image.shape[:2], 3), np.float32)
    _fits("where", where, image.shape[:2], np.bool_)
    if where is not None and not where.any():
        raise ShapeError(
            "where must be True for at least one pixel, but is False everywhere."
            " Give None to allow defects in the whole image."
        )


def require_range(name: str, got: tuple[float, float], least: float, most: float) -> None:
    """Raises ConfigError unless a setting is two numbers (from, to) with least ≤ from ≤ to ≤ most.

    >>> require_range("scratch.width", (0.01, 0.02), 0, 1)
    """
    sound = len(got) == 2 and least <= got[0] <= got[1] <= most
    require(sound, name, f"two numbers from {least:g} to {most:g}, the smaller first", got)


def own_range(image: Pixels) -> float:
    """What strengths are shares of: how far the image's values spread, in its own levels.

    From the 0.5th to the 99.5th percentile, but at least 1/16 of the brightest value and 8 levels,
    so that an even surface gets defects, too. A camera that writes 12 bits into 16 has the range
    of 12 bits.

    >>> own_range(np.full((20, 20, 1), 160, np.uint8))
    10.0
    """
    step = max(1, min(image.shape[:2]) // 256)  # 65,000 pixels tell the percentiles of millions
    low, high = np.percentile(image[::step, ::step], (0.5, 99.5))
    return float(max(high - low, float(image.max()) / 16, 8.0))


def white(image: Pixels) -> int:
    """The largest value that the camera could have written: 255, or for 16 bits the smallest of
    1023, 4095, 16383 and 65535 that the image stays below.

    >>> white(np.full((20, 20, 1), 3000, np.uint16))
    4095
    """
    if image.dtype == np.uint8:
        return 255
    brightest = int(image.max())
    return next(white for white in SIXTEEN_BIT_WHITES if brightest <= white)


def greatest(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(h, w, C) → (h, w), over the colours of each pixel. NumPy's own max over so short an axis
    takes ten times as long.

    >>> greatest(np.array([[[3, 1, 2], [0, 0, 7]]])).tolist()
    [[3, 7]]
    """
    return reduce(np.maximum, np.moveaxis(values, 2, 0))


def merged(mask: Mask, there: npt.NDArray[Any], elsewhere: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(h, w, C) of `there`'s type: its pixels where the mask is, the other's elsewhere. np.where
    takes ten times as long over so short an axis.

    >>> merged(np.array([[True, False]]), np.ones((1, 2, 1)), np.zeros((1, 2, 1))).tolist()
    [[[1.0], [0.0]]]
    """
    both = elsewhere.astype(there.dtype, order="C")
    cv2.copyTo(np.ascontiguousarray(there), np.ascontiguousarray(mask).view(np.uint8), both)
    return both


def _fits(name: str, array: Any, shape: tuple[int, ...], kind: type[np.generic]) -> None:
    if array is not None and (array.shape != shape or array.dtype != kind):
        raise ShapeError(
            f"{name} must be {np.dtype(kind)} of shape {shape}, like the image, but is"
            f" {array.dtype} of shape {array.shape}. Give the ones that belong to this image."
        )


def spot(
    size: tuple[int, ...], where: Mask | None, rng: np.random.Generator, margin: float = 0.0
) -> tuple[float, float]:
    """One pixel (x, y), evenly from `where`, or from all that is at least `margin` (a share of
    each side, 0 to 0.5) away from the border. size: (H, W)."""
    if where is not None:
        rows, columns = np.nonzero(where)
        chosen = int(rng.integers(len(rows)))
        return float(columns[chosen]), float(rows[chosen])
    x, y = (float(rng.uniform(margin, 1 - margin)) * (side - 1) for side in reversed(size))
    return x, y


def on_a_picture(
    draw: Callable[[Pixels], Altered], pixels: Pixels, bands: Bands | None, rng: np.random.Generator
) -> Altered:
    """draw of a photograph; of (H, W, n) bands on one of the pictures that the network is shown,
    carried back to the channels."""
    if bands is None:
        return draw(pixels)
    number = int(rng.integers(len(bands.rows) // 3))
    shown = bands.picture(pixels, number)
    made = draw(shown)
    by = made.image[made.mask] - shown[made.mask].astype(np.float64)
    image = pixels.copy()
    image[made.mask] = bands.changed(pixels[made.mask], by, number)
    return replace(made, image=image)
