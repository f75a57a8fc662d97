"""A photograph with what the model sees in it: heat, outlines, and the verdict in words.

Good areas stay as they were photographed: heat is drawn only where a pixel is out of the ordinary,
and outlines run around a blemish, not over it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import ShapeError
from blemish.records import Map, Mask, Pixels, Prediction
from blemish.regions import region_mask

RGB = npt.NDArray[np.uint8]  # (H, W, 3)
Colour = tuple[int, int, int]  # RGB
Number = TypeVar("Number", bound=np.generic)

OUTLINE: Colour = (0, 229, 255)  # cyan: no heat colour is near it
CASING: Colour = (16, 24, 32)  # under the outline, so that it shows on white as well
EDGE: Colour = (148, 156, 166)  # around what is inspected
DIMMED = 0.65  # how far what is not inspected is darkened
BAR: dict[str, Colour] = {"good": (23, 92, 58), "defect": (150, 28, 36)}
HEAT_FROM, HEAT_TO = 90, 245  # part of the colour map, of 0 … 255: from purple to light yellow
FAINT, STRONG = 0.25, 0.60  # opacity of the heat at both ends
NARROWEST = 136  # pixels that a line of the caption needs to be readable
SMALLEST_TEXT = 0.4  # of OpenCV's font size, 9 pixels high
LARGEST = 2**24  # pixels of a picture; larger images are drawn smaller


def draw_overlay(image: Pixels, prediction: Prediction, levels: tuple[float, float]) -> RGB:
    """The painted image with a bar below that says verdict, score, threshold and p-value.

    Arguments and errors as paint. Returns (H + bar, max(W, 136), 3) uint8 RGB: images narrower than
    136 pixels get a margin on the right, so that the words fit; those of more than 16 megapixels
    are drawn at a half, a third … of their size, and the bar says so.
    """
    share = shrinkage(image)
    painted = paint(*smaller(image, prediction, share), levels)
    return captioned(painted, prediction, f"1/{share} size" if share > 1 else "")


def shrinkage(image: Pixels) -> int:
    """By which whole number the sides of a (H, W, C) image are divided to be drawn, 1 or more."""
    return math.ceil(math.sqrt(image.shape[0] * image.shape[1] / LARGEST))


def smaller(image: Pixels, prediction: Prediction, share: int) -> tuple[Pixels, Prediction]:
    """Both with sides divided by `share` and rounded up, for pictures: pixels are averaged, of the
    map the highest value stays, so that no blemish is lost. Regions stay as they are."""
    if share == 1 or prediction.map.shape != image.shape[:2]:
        return image, prediction
    map = highest(prediction.map, share)
    if image.shape[2] > 4:  # more OpenCV does not shrink at once
        image = as_rgb(image)
    size = map.shape[::-1]
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(*map.shape, -1)
    seen = None if prediction.seen is None else highest(prediction.seen, share)
    return shrunk, replace(prediction, map=map, seen=seen)


def highest(map: npt.NDArray[Number], share: int) -> npt.NDArray[Number]:
    """(H, W) → the highest value in each square of `share` pixels a side, less at the far ends."""
    rows = np.maximum.reduceat(map, range(0, map.shape[0], share), axis=0)
    squares: npt.NDArray[Number] = np.maximum.reduceat(rows, range(0, map.shape[1], share), axis=1)
    return squares


def captioned(picture: RGB, prediction: Prediction, note: str = "") -> RGB:
    """A painted (H, W, 3) picture with the bar of draw_overlay below. note: said at its end."""
    height, width = picture.shape[:2]
    canvas_width = max(width, NARROWEST)
    words = [*_words(prediction), *filter(None, [note])]
    bar = _caption(words, BAR[prediction.verdict], canvas_width, height)
    margin = np.zeros((height, canvas_width - width, 3), np.uint8)
    return np.concatenate([np.concatenate([picture, margin], axis=1), bar])


def paint(image: Pixels, prediction: Prediction, levels: tuple[float, float]) -> RGB:
    """The image with translucent heat where its map is out of the ordinary, and outlined regions.

    image: (H, W, 1 or 3) uint8 or uint16. prediction: with a map of the same (H, W).
    levels: the calibration's (extent, seed). Heat is transparent up to the extent and turns from
        purple to light yellow, which it reaches as far above the seed as the seed is above it.
    What was not inspected is dimmed.
    Returns (H, W, 3) uint8 RGB. Raises ShapeError if map and image differ in size.
    """
    if prediction.map.shape != image.shape[:2]:
        raise ShapeError(
            f"a map must have its image's size {image.shape[:2]}, but has {prediction.map.shape}."
            " Pass the prediction of this image."
        )
    extent, seed = levels
    seen, found = prediction.seen, prediction.regions
    painted = heat(as_rgb(image), prediction.map, levels, seen)
    if seen is not None:
        dim(painted, seen)
    if not found:
        return painted
    return outline(painted, region_mask(prediction.map, seed, extent, seen))


def dim(image: RGB, seen: Mask) -> None:
    """Darkens the (H, W, 3) image where it is not inspected, and draws a line around what is."""
    away = ~seen
    shade = DIMMED * np.array(CASING, np.float32)
    image[away] = np.rint(image[away] * np.float32(1 - DIMMED) + shade).astype(np.uint8)
    lines, _ = cv2.findContours(seen.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, lines, -1, EDGE, max(1, round(min(image.shape[:2]) / 400)))


def outline(image: RGB, mask: Mask, colour: Colour = OUTLINE) -> RGB:
    """A copy of the (H, W, 3) image with a line around the (H, W) mask's regions, just outside."""
    thickness = max(1, round(min(image.shape[:2]) / 400))
    reach = 3 * thickness + 1  # leaves the blemish itself in sight
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    around = cv2.dilate(mask.astype(np.uint8), kernel)
    lines, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn: RGB = image.copy()
    cv2.drawContours(drawn, lines, -1, CASING, 3 * thickness, cv2.LINE_AA)
    cv2.drawContours(drawn, lines, -1, colour, thickness, cv2.LINE_AA)
    return drawn


def as_rgb(image: Pixels) -> RGB:
    """(H, W, C) pixels for a screen, (H, W, 3) uint8; grey becomes RGB, other channels their mean.

    What is not 8-bit grey or RGB is stretched from its own darkest to its own brightest value; NaN
    is black.
    """
    if image.shape[2] not in (1, 3):
        image = image.mean(axis=2, keepdims=True, dtype=np.float32)
    if image.dtype != np.uint8:
        told = np.isfinite(image)
        low, high = (float(image[told].min()), float(image[told].max())) if told.any() else (0, 1)
        steps = (np.where(told, image, low) - np.float32(low)) / ((high - low) or 1) * 255
        image = steps.round().astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.uint8, copy=True)


def heat(image: RGB, map: Map, levels: tuple[float, float], seen: Mask | None = None) -> RGB:
    """Draws heat into the (H, W, 3) image where its (H, W) map is above levels[0], as in paint.

    seen: (H, W), where heat may be; None: anywhere.
    """
    low, high = levels[0], 2 * levels[1] - levels[0]
    hot = map > low if seen is None else seen & (map > low)
    rise = np.clip((map[hot] - low) / max(high - low, 1e-30), 0, 1)
    steps = np.rint(HEAT_FROM + rise * (HEAT_TO - HEAT_FROM)).astype(np.uint8)
    colours = _heat_colours()[steps]
    alpha = (FAINT + rise * (STRONG - FAINT))[:, None]
    image[hot] = np.rint((1 - alpha) * image[hot] + alpha * colours).astype(np.uint8)
    return image


def _heat_colours() -> RGB:
    """(256, 3): inferno, whose brightness rises evenly, in colour and in grey print."""
    ramp: npt.NDArray[Any] = np.arange(256, dtype=np.uint8)[:, None]
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), np.uint8)[:, 0, ::-1]


def _caption(words: list[str], colour: Colour, width: int, image_height: int) -> RGB:
    """(bar, width, 3): words in as many lines as they need at a size that can be read."""
    font, gap = cv2.FONT_HERSHEY_SIMPLEX, "   "
    (full, tall), _ = cv2.getTextSize(gap.join(words), font, 1.0, 2)
    # One line across the image, but in letters no higher than 3 % of it.
    size = max(SMALLEST_TEXT, min(0.94 * width / full, 0.03 * image_height / tall))
    thickness = max(1, round(1.6 * size))
    lines = [words[0]]
    for word in words[1:]:
        longer = lines[-1] + gap + word
        fits = cv2.getTextSize(longer, font, size, thickness)[0][0] <= 0.97 * width
        lines[-1:] = [longer] if fits else [lines[-1], word]
    step = round(1.8 * tall * size)
    bar = np.full((step * len(lines) + step // 2, width, 3), colour, np.uint8)
    for row, line in enumerate(lines, start=1):
        place = (max(2, round(0.015 * width)), step * row)
        cv2.putText(bar, line, place, font, size, (255, 255, 255), thickness, cv2.LINE_AA)
    return bar


def _words(prediction: Prediction) -> list[str]:
    regions = len(prediction.regions)
    counted = [f"{regions} region{'s' * (regions > 1)}"] if regions else []
    return [
        prediction.verdict.upper(),
        f"score {prediction.score:.4g}",
        f"limit {prediction.threshold:.4g}",
        f"p {prediction.p_value:.2g}",
        *counted,
    ]
