"""The hall: native pixels → model pixels, and a map's exact way back.

The graph behind it sees (1, 3, h, w) float32 in [0, 1] at the model's size and answers with a
grid of scores; only here is anything resized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish.errors import ImageError
from blemish.images import MAX_PIXELS
from blemish.records import Map, Mask, Pixels
from blemish.tiles import Tiles

SIXTEEN_BIT_WHITES = (1023, 4095, 16383, 65535)  # 10, 12, 14 and 16 bits in a 16-bit file
_PILLOWS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How native pixels become model pixels, and how the map comes back.

    size: (h, w) of the model's input, pixels.
    fit: "stretch" resizes both sides freely; "pad" first repeats the edge to a square, keeping
        the aspect ratio.
    interpolation: "area" is OpenCV's (cubic when enlarging); "bicubic" and "bilinear" are Pillow's
        antialiased ones, which papers use through torchvision.
    boxes: blur at native size after enlarging the map, as (width in px, passes), zeros outside.
    top: the image score is the mean of this share of the native pixels, in [0, 1]; 0 is the
        highest pixel alone.
    white: what 16-bit files count as 1.0; 8-bit files always use 255.
    tiles: windows of the native pixels, each of which becomes model pixels; None takes the whole.
    """

    size: tuple[int, int]
    fit: Literal["stretch", "pad"] = "stretch"
    interpolation: Literal["area", "bicubic", "bilinear"] = "area"
    boxes: tuple[tuple[int, int], ...] = ()
    top: float = 0.0
    white: int = 65535
    tiles: Tiles | None = None

    def to_model(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(H, W, 1 or 3) uint8 or uint16 → (1, 3, h, w) float32 in [0, 1]; grey fills all three.

        Raises ImageError if "pad" would need a square of more than 500 megapixels.
        """
        if self.fit == "pad":
            top, left, side = _square(pixels.shape[:2])
            if side * side > MAX_PIXELS:
                raise ImageError(
                    f"an image must fit a square of {MAX_PIXELS // 10**6} megapixels to be padded,"
                    f" but is {pixels.shape[0]} x {pixels.shape[1]}. Cut it into pieces, or fit"
                    " with --set pad=false."
                )
            bottom, right = side - top - pixels.shape[0], side - left - pixels.shape[1]
            edges = (top, bottom, left, right)
            pixels = cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_REPLICATE)
            pixels = pixels.reshape(side, side, -1)
        if self.interpolation == "area":
            resized = _resize_area(pixels, self.size)  # (h, w, C)
        else:
            resized = _resize_pillow(pixels, self.size, _PILLOWS[self.interpolation])
        white = 255 if pixels.dtype == np.uint8 else self.white
        scaled = np.minimum(resized.astype(np.float32) * np.float32(1 / white), np.float32(1))
        planes = np.broadcast_to(scaled.transpose(2, 0, 1)[None], (1, 3, *self.size))
        return np.ascontiguousarray(planes)

    def mask_to_model(self, mask: Mask) -> Mask:
        """(H, W) → (h, w), the nearest pixel's truth; what "pad" adds is False."""
        if self.fit == "pad":
            top, left, side = _square(mask.shape)
            square = np.zeros((side, side), np.bool_)
            square[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
            mask = square
        small = cv2.resize(mask.astype(np.uint8), self.size[::-1], interpolation=cv2.INTER_NEAREST)
        return np.asarray(small, np.bool_)

    def to_native(self, grid: npt.NDArray[np.float32], size: tuple[int, int]) -> Map:
        """(h', w') scores of the graph → (H, W) float32 at the image's own size, bilinear."""
        top, left, canvas = 0, 0, size
        if self.fit == "pad":
            top, left, side = _square(size)
            canvas = (side, side)
        # Of the padding only what the blur carries in is needed, so the padded side goes first.
        reach = sum(width // 2 * passes for width, passes in self.boxes)
        above, before = min(top, reach), min(left, reach)
        if left == 0:
            part = _enlarge(grid, (canvas[0], grid.shape[1]))[top - above : top + size[0] + reach]
            map = _enlarge(part, (part.shape[0], canvas[1]))
        else:
            part = _enlarge(grid, (grid.shape[0], canvas[1]))
            part = part[:, left - before : left + size[1] + reach]
            map = _enlarge(part, (canvas[0], part.shape[1]))
        map = self.blurred(map)
        return np.ascontiguousarray(map[above : above + size[0], before : before + size[1]])

    def blurred(self, map: Map) -> Map:
        """The (H, W) map after its boxes."""
        for width, passes in self.boxes:
            for _ in range(passes):
                blurred = cv2.boxFilter(map, -1, (width, width), borderType=cv2.BORDER_CONSTANT)
                map = np.asarray(blurred, np.float32)
        return map

    def score(self, map: Map) -> float:
        """Image score of a native map: its maximum, or the mean of its `top` share."""
        if self.top == 0:
            return float(map.max())
        count = max(1, int(map.size * self.top))
        return float(np.partition(map.ravel(), -count)[-count:].mean(dtype=np.float64))


def _square(size: Sequence[int]) -> tuple[int, int, int]:
    side = max(size)
    return (side - size[0]) // 2, (side - size[1]) // 2, side


def _enlarge(grid: Map, size: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _resize_area(pixels: Pixels, size: tuple[int, int]) -> npt.NDArray[Any]:
    # Side by side: of a long, low picture one shrinks while the other grows.
    small = (min(size[0], pixels.shape[0]), min(size[1], pixels.shape[1]))
    shrunk = cv2.resize(pixels, small[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, -1)


def _resize_pillow(
    pixels: Pixels, size: tuple[int, int], way: Image.Resampling
) -> npt.NDArray[Any]:
    # Pillow rounds 8 bits between its two passes, as papers have it, and has no 16-bit colour.
    depth = np.uint8 if pixels.dtype == np.uint8 else np.float32
    planes = [
        Image.fromarray(plane.astype(depth)).resize(size[::-1], way)
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    limit = np.iinfo(pixels.dtype).max
    return np.stack([np.asarray(plane) for plane in planes], axis=2).clip(0, limit)
