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

from blemish.area import Area
from blemish.bands import Bands, counted
from blemish.errors import ImageError
from blemish.images import MAX_PIXELS
from blemish.records import Map, Mask, Pixels
from blemish.tiles import Tiles

AT_ONCE = 2**23  # pixels
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
    bands: how floats, or channels other than grey and RGB, become pictures; None: there are none.
    area: which pixels are inspected; None: all. What lies elsewhere never reaches the graph.
    tiles: windows of the native pixels, each of which becomes model pixels; None takes the whole.
    """

    size: tuple[int, int]
    fit: Literal["stretch", "pad"] = "stretch"
    interpolation: Literal["area", "bicubic", "bilinear"] = "area"
    boxes: tuple[tuple[int, int], ...] = ()
    top: float = 0.0
    white: int = 65535
    tiles: Tiles | None = None
    area: Area | None = None
    bands: Bands | None = None

    @property
    def planes(self) -> int:
        """How many planes to_model gives: three a picture."""
        return 3 if self.bands is None else len(self.bands.rows)

    def seen(self, size: Sequence[int]) -> Mask | None:
        """(H, W) bool, read-only: which pixels of an image of this size are inspected; None: all.

        The one place that tells. Raises ImageError if the area does not fit an image of this size.
        """
        return None if self.area is None else self.area.seen((size[0], size[1]))

    def blanked(self, pixels: Pixels) -> Pixels:
        """(H, W, C) pixels, mid-grey where they are not inspected, so that nothing there matters.

        Raises ImageError as seen, and on other channels or numbers than were learnt from.
        """
        self._require_channels(pixels)
        seen = self.seen(pixels.shape)
        if seen is None:
            return pixels
        blank = np.empty_like(pixels)
        blank[:] = self.blank(pixels.dtype)
        np.copyto(blank, pixels, where=seen[..., None])
        return blank

    def blank(self, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """(1,) or (n,): the pixel that stands where nothing is inspected."""
        if self.bands is not None:
            return self.bands.blank(kind)
        return np.array([((255 if kind == np.uint8 else self.white) + 1) // 2], kind)

    def confined(self, map: Map) -> Map:
        """(H, W) map of an image, given its lowest inspected value wherever it is not inspected."""
        seen = self.seen(map.shape)
        return map if seen is None else np.where(seen, map, map[seen].min())

    def to_model(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(H, W, 1 or 3) uint8 or uint16 → (1, 3, h, w) float32 in [0, 1]; grey fills all three.
        Of bands: (H, W, n) of their kind → (1, planes, h, w), beyond [0, 1] where a value is odd.

        Raises ImageError as resized.
        """
        resized = self.resized(pixels)
        if self.bands is not None:
            return self.bands.planes(resized)
        white = 255 if pixels.dtype == np.uint8 else self.white
        planes = np.empty((1, 3, *self.size), np.float32)
        np.multiply(resized.transpose(2, 0, 1), np.float32(1 / white), out=planes[0])
        return planes if pixels.dtype == np.uint8 else np.minimum(planes, np.float32(1), out=planes)

    def resized(self, pixels: Pixels) -> Pixels:
        """(H, W, C) → (h, w, C), blanked; the image's own numbers.

        Raises ImageError if "pad" would need a square of more than 500 megapixels, on other
        channels or numbers than were learnt from, or as seen.
        """
        self._require_channels(pixels)
        if self.area is not None and self.tiles is None:  # windows are cut from blanked pixels
            pixels = self.blanked(pixels)
        if self.bands is not None:
            self.bands.require_measured(pixels)
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
            return resize_area(pixels, self.size)
        return _resize_pillow(pixels, self.size, _PILLOWS[self.interpolation])

    def _require_channels(self, pixels: Pixels) -> None:
        if self.bands is not None:
            self.bands.require(pixels)
        elif pixels.shape[2] not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
            raise ImageError(
                "an image must be grey or RGB of 8 or 16 bits, as the good ones were, but has"
                f" {counted(pixels.shape[2], pixels.dtype.name)}. Save it like these, or fit again."
            )

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
        """(h', w') scores of the graph → (H, W) float32 at the image's own size, bilinear; confined
        to what is inspected."""
        top, left, canvas = 0, 0, size
        if self.fit == "pad":
            top, left, side = _square(size)
            canvas = (side, side)
        # Of the padding only what the blur carries in is needed, so the padded side goes first.
        reach = 0
        for width, passes in self.boxes:
            reach += width // 2 * passes
        above, before = min(top, reach), min(left, reach)
        if left == 0:
            part = _enlarge(grid, (canvas[0], grid.shape[1]))[top - above : top + size[0] + reach]
            map = _enlarge(part, (part.shape[0], canvas[1]))
        else:
            part = _enlarge(grid, (grid.shape[0], canvas[1]))
            part = part[:, left - before : left + size[1] + reach]
            map = _enlarge(part, (canvas[0], part.shape[1]))
        map = self.blurred(map)
        map = map[above : above + size[0], before : before + size[1]]
        map = np.ascontiguousarray(map)
        return map if self.area is None else self.confined(map)

    def blurred(self, map: Map) -> Map:
        """The (H, W) map after its boxes."""
        for width, passes in self.boxes:
            for _ in range(passes):
                blurred = cv2.boxFilter(map, -1, (width, width), borderType=cv2.BORDER_CONSTANT)
                map = np.asarray(blurred, np.float32)
        return map

    def score(self, map: Map) -> float:
        """Image score of a confined native map: its maximum, or the mean of the `top` share of what
        is inspected."""
        if self.top == 0:
            return float(map.max())
        seen = self.seen(map.shape)
        values = map.ravel() if seen is None else map[seen]
        count = max(1, int(values.size * self.top))
        return float(_highest(values, count).mean(dtype=np.float64))


def _highest(values: Map, count: int) -> Map:
    """(N,) → the `count` highest, in any order; of many some at a time, not a copy of all."""
    kept = values[:AT_ONCE] if count < values.size else values
    for start in range(AT_ONCE, values.size if count < values.size else 0, AT_ONCE):
        kept = kept if len(kept) <= count else np.partition(kept, -count)[-count:]
        kept = np.concatenate([kept, values[start : start + AT_ONCE]])
    return kept if len(kept) <= count else np.partition(kept, -count)[-count:]


def _square(size: Sequence[int]) -> tuple[int, int, int]:
    side = max(size)
    return (side - size[0]) // 2, (side - size[1]) // 2, side


def _enlarge(grid: Map, size: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def resize_area(pixels: Pixels, size: tuple[int, int]) -> npt.NDArray[Any]:
    """(H, W, C) → (h, w, C) of the same numbers, any C: the mean of what a pixel covers where it
    shrinks, cubic where it grows."""
    if pixels.shape[2] > 4:  # more OpenCV does not shrink at once
        fours = (pixels[..., first : first + 4] for first in range(0, pixels.shape[2], 4))
        parts = [resize_area(np.ascontiguousarray(four), size) for four in fours]
        return np.concatenate(parts, axis=2)
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
    resized = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return resized if pixels.dtype.kind == "f" else resized.clip(0, np.iinfo(pixels.dtype).max)
