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

from blemish.records import Map, Pixels

SIXTEEN_BIT_WHITES = (1023, 4095, 16383, 65535)  # 10, 12, 14 and 16 bits in a 16-bit file


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How native pixels become model pixels, and how the map comes back.

    size: (h, w) of the model's input, pixels.
    fit: "stretch" resizes both sides freely; "pad" first repeats the edge to a square, keeping
        the aspect ratio.
    interpolation: "area" is OpenCV's (cubic when enlarging); "bicubic" is Pillow's antialiased
        one, which papers use through torchvision.
    boxes: blur at native size after enlarging the map, as (width in px, passes), zeros outside.
    top: the image score is the mean of this share of the native pixels, in [0, 1]; 0 is the
        highest pixel alone.
    white: what 16-bit files count as 1.0; 8-bit files always use 255.
    """

    size: tuple[int, int]
    fit: Literal["stretch", "pad"] = "stretch"
    interpolation: Literal["area", "bicubic"] = "area"
    boxes: tuple[tuple[int, int], ...] = ()
    top: float = 0.0
    white: int = 65535

    def to_model(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(H, W, 1 or 3) uint8 or uint16 → (1, 3, h, w) float32 in [0, 1]; grey fills all three."""
        if self.fit == "pad":
            top, left, side = _square(pixels.shape[:2])
            bottom, right = side - top - pixels.shape[0], side - left - pixels.shape[1]
            edges = (top, bottom, left, right)
            pixels = cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_REPLICATE)
            pixels = pixels.reshape(side, side, -1)
        resize = _resize_area if self.interpolation == "area" else _resize_bicubic
        resized = resize(pixels, self.size)  # (h, w, C)
        white = 255 if pixels.dtype == np.uint8 else self.white
        scaled = resized.astype(np.float32) * np.float32(1 / white)
        planes = np.broadcast_to(scaled.transpose(2, 0, 1)[None], (1, 3, *self.size))
        return np.ascontiguousarray(planes)

    def to_native(self, grid: npt.NDArray[np.float32], size: tuple[int, int]) -> Map:
        """(h', w') scores of the graph → (H, W) float32 at the image's own size, bilinear."""
        top, left, canvas = (0, 0, size) if self.fit == "stretch" else _canvas(size)
        rows = _weights(canvas[0], grid.shape[0])
        columns = _weights(canvas[1], grid.shape[1])
        map: Map = rows @ grid.astype(np.float32, copy=False) @ columns.T
        for width, passes in self.boxes:
            for _ in range(passes):
                blurred = cv2.boxFilter(map, -1, (width, width), borderType=cv2.BORDER_CONSTANT)
                map = np.asarray(blurred, np.float32)
        return np.ascontiguousarray(map[top : top + size[0], left : left + size[1]])

    def score(self, map: Map) -> float:
        """Image score of a native map: its maximum, or the mean of its `top` share."""
        if self.top == 0:
            return float(map.max())
        count = max(1, int(map.size * self.top))
        return float(np.partition(map.ravel(), -count)[-count:].mean(dtype=np.float64))


def _square(size: Sequence[int]) -> tuple[int, int, int]:
    side = max(size)
    return (side - size[0]) // 2, (side - size[1]) // 2, side


def _canvas(size: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    top, left, side = _square(size)
    return top, left, (side, side)


def _resize_area(pixels: Pixels, size: tuple[int, int]) -> npt.NDArray[Any]:
    shrinks = size[0] <= pixels.shape[0] and size[1] <= pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(pixels, size[::-1], interpolation=how).reshape(*size, -1)


def _resize_bicubic(pixels: Pixels, size: tuple[int, int]) -> npt.NDArray[Any]:
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    planes = [  # Pillow has no 16-bit colour: one float plane at a time
        Image.fromarray(plane.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    limit = np.iinfo(pixels.dtype).max
    stacked = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return np.asarray(stacked.clip(0, limit))


def _weights(pixels: int, cells: int) -> npt.NDArray[np.float32]:
    """(pixels, cells) bilinear weights along one side, the border repeated.

    A product of two small matrices is exact where OpenCV's resizing rounds positions and ends at
    32,767 pixels.
    """
    centres = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(0, cells - 1)
    low = np.minimum(centres.astype(np.intp), max(cells - 2, 0))
    weights = np.zeros((pixels, cells), np.float32)
    weights[np.arange(pixels), low] = 1 - (centres - low)
    weights[np.arange(pixels), np.minimum(low + 1, cells - 1)] += centres - low
    return weights
