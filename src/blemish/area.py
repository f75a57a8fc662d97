"""Which pixels of a picture are inspected: a region of interest, and what is ignored in it.

Either is a file: polygons in JSON, or a mask as large as the picture. Positions are (x, y) in
native pixels from the picture's top left corner: pixel (column, row) reaches from (column, row) to
(column + 1, row + 1), and is in a polygon if its middle is.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import DataError, ImageError
from blemish.images import MAX_PIXELS, read_bytes, read_image, read_mask
from blemish.records import Mask

Polygon = tuple[tuple[float, float], ...]  # (x, y) corners
MOST_CORNERS = 10_000  # of all polygons of a file together
MOST_BITS = 8 * 2**20  # bytes of a packed mask in a model: sound ones take some thousands
_READ_FILE = 2 * 2**20  # bytes of a file of polygons


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Some pixels of a picture: those in any of some polygons, or those of a mask.

    polygons: at least one, or none of a mask. size: (H, W) of the mask; None of polygons.
    bits: the mask row by row, a bit a pixel, packed by zlib, in base64.
    """

    polygons: tuple[Polygon, ...] = ()
    size: tuple[int, int] | None = None
    bits: str = ""

    def mask(self, size: tuple[int, int], what: str) -> Mask:
        """(H, W) bool. what: as errors call the file. Raises ImageError if a picture of this size
        does not fit it."""
        if self.size is not None:
            return self._unpacked(size, what)
        inside = np.zeros(size, np.bool_)
        for polygon in self.polygons:
            _require_within(polygon, size, what)
            corners = np.array(polygon)
            x, y = np.floor(corners.min(axis=0)).astype(int)
            right, bottom = np.ceil(corners.max(axis=0)).astype(int)
            moved = tuple((one_x - x, one_y - y) for one_x, one_y in polygon)
            inside[y:bottom, x:right] |= filled(moved, (bottom - y, right - x))
        return inside

    def told(self) -> str:
        """In a few words."""
        if self.size is not None:
            return f"a mask of {self.size[0]} x {self.size[1]} px"
        return f"{len(self.polygons)} polygon{'s' * (len(self.polygons) > 1)}"

    def _unpacked(self, size: tuple[int, int], what: str) -> Mask:
        if self.size != tuple(size):
            height, width = self.size or (0, 0)
            raise ImageError(
                f"an image must have the size of the mask of {what}, {height} x {width}, but is"
                f" {size[0]} x {size[1]}. Photograph at that size, or fit again with another mask."
            )
        packed = np.frombuffer(_unzipped(self.bits, size), np.uint8)
        return np.unpackbits(packed, count=size[0] * size[1]).view(np.bool_).reshape(size)


@dataclass(frozen=True, kw_only=True)
class Area:
    """What is inspected: the pixels of `roi` (None: all) that are not of `ignore` (None: none)."""

    roi: Outline | None = None
    ignore: Outline | None = None

    def seen(self, size: tuple[int, int]) -> Mask:
        """(H, W) bool, read-only; True where a picture of this size is inspected.

        Raises ImageError if the outlines do not fit it, or if nothing is left.
        """
        return _seen(self, (int(size[0]), int(size[1])))

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of a mask, the only size that fits it; None of polygons alone."""
        return next((one.size for one in (self.roi, self.ignore) if one and one.size), None)

    @property
    def least(self) -> tuple[int, int]:
        """(H, W) of the smallest picture that holds all polygons."""
        drawn = [one.polygons for one in (self.roi, self.ignore) if one is not None]
        corners = [corner for polygons in drawn for polygon in polygons for corner in polygon]
        return math.ceil(max(y for _, y in corners)), math.ceil(max(x for x, _ in corners))

    def told(self) -> str:
        """In a few words."""
        named = (("inside", self.roi), ("outside", self.ignore))
        return ", ".join(f"{where} {one.told()}" for where, one in named if one is not None)


@lru_cache(maxsize=4)  # pictures of one camera have one size
def _seen(area: Area, size: tuple[int, int]) -> Mask:
    seen = np.ones(size, np.bool_) if area.roi is None else area.roi.mask(size, "--roi")
    if area.ignore is not None:
        seen &= ~area.ignore.mask(size, "--ignore")
    if not seen.any():
        raise ImageError(
            "an image must have pixels to inspect, but --roi and --ignore leave none of"
            f" {size[0]} x {size[1]}. Fit again with other outlines."
        )
    seen.flags.writeable = False
    return seen


def read_area(roi: str | Path | None, ignore: str | Path | None) -> Area | None:
    """What two files tell; None without any. Raises DataError, ImageError of a mask."""
    if roi is None and ignore is None:
        return None
    return Area(
        roi=None if roi is None else read_outline(Path(roi), "--roi"),
        ignore=None if ignore is None else read_outline(Path(ignore), "--ignore"),
    )


def read_outline(path: Path, what: str) -> Outline:
    """Polygons of a .json file, or a mask of any image file, see images.read_mask.

    JSON: a list of polygons, each a list of [x, y]; or what labelme writes, of which its polygons
    are taken. what: as errors call the file. Raises DataError, ImageError of a mask.
    """
    if path.suffix.lower() == ".json":
        return _read_polygons(path, what)
    size = read_image(path).shape[:2]
    mask = read_mask(path, (size[0], size[1]))
    if not mask.any():
        raise DataError(
            f"the mask of {what}, '{path}', must mark some pixels, but marks none."
            " Paint what it is about white."
        )
    bits = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")
    if len(bits) > MOST_BITS:
        raise DataError(
            f"the mask of {what}, '{path}', must be areas, which take at most"
            f" {MOST_BITS // 2**20} MB packed, but takes {len(bits) // 2**20} MB."
            " Draw it without noise."
        )
    return Outline(size=(size[0], size[1]), bits=bits)


def _read_polygons(path: Path, what: str) -> Outline:
    data = read_bytes(path)
    try:
        if len(data) > _READ_FILE:
            raise ValueError(f"it has {len(data):,} bytes, not at most {_READ_FILE:,}")
        stored = json.loads(data)
        if isinstance(stored, dict):
            stored = [one["points"] for one in stored["shapes"] if one["shape_type"] == "polygon"]
        return Outline(polygons=_polygons(stored))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"the file of {what}, '{path}', must be JSON with a list of polygons such as"
            f" [[[0, 0], [640, 0], [640, 200]]], in pixels, but {error}. Correct it."
        ) from error


def area_from_json(stored: Any) -> Area | None:
    """The area that dataclasses.asdict told. Raises ValueError or TypeError on anything else."""
    if stored is None:
        return None
    roi, ignore = (_outline(stored[name]) for name in ("roi", "ignore"))
    if len(stored) != 2 or (roi is None and ignore is None):
        raise ValueError("the area")
    return Area(roi=roi, ignore=ignore)


def _outline(stored: Any) -> Outline | None:
    if stored is None:
        return None
    if stored["size"] is None:
        return Outline(polygons=_polygons(stored["polygons"]))
    height, width = stored["size"]
    bits = stored["bits"]
    sizes = type(height) is type(width) is int and min(height, width) > 0
    if not sizes or height * width > MAX_PIXELS or not isinstance(bits, str):
        raise ValueError("the mask's size")
    if len(bits) > MOST_BITS:
        raise ValueError("the mask's bits")
    _unzipped(bits, (height, width))
    return Outline(size=(height, width), bits=bits)


def _unzipped(bits: str, size: tuple[int, int]) -> bytes:
    """Exactly the bytes that a mask of this size has, and never more. Raises ValueError."""
    wanted = -(-size[0] * size[1] // 8)
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(bits, validate=True), wanted + 1)
    except zlib.error as error:
        raise ValueError(f"the mask's bits ({error})") from error
    if len(data) != wanted:
        raise ValueError("the mask's bits")
    return data


def _polygons(stored: Any) -> tuple[Polygon, ...]:
    polygons = tuple(tuple((_place(x), _place(y)) for x, y in corners) for corners in stored)
    if not polygons or min(map(len, polygons)) < 3:
        raise ValueError("there must be a polygon, and at least 3 corners in each")
    if sum(map(len, polygons)) > MOST_CORNERS:
        raise ValueError(f"there must be at most {MOST_CORNERS:,} corners in all")
    return polygons


def _place(number: Any) -> float:
    if type(number) not in (int, float) or not math.isfinite(number) or abs(number) > MAX_PIXELS:
        raise ValueError(f"{str(number)[:40]} is no position in a picture")
    return float(number)


def _require_within(polygon: Polygon, size: tuple[int, int], what: str) -> None:
    for x, y in polygon:
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise ImageError(
                f"an image must hold all polygons of {what}, but is {size[1]} px wide and"
                f" {size[0]} px high, and one has a corner at ({x:g}, {y:g})."
                " Photograph at the size that they were drawn on, or fit again with others."
            )


def filled(polygon: Polygon, size: tuple[int, int]) -> Mask:
    """(H, W) bool: pixels whose middle is in a polygon, by the rule of even and odd crossings.

    >>> filled(((0, 0), (2, 0), (2, 1), (0, 1)), (2, 3)).astype(int).tolist()
    [[1, 1, 0], [0, 0, 0]]
    """
    # Each edge turns over all pixels to the right of where it crosses the middle of their row.
    turns = np.zeros((size[0], size[1] + 1), np.bool_)
    for edge in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        (x0, y0), (x1, y1) = sorted(edge, key=lambda corner: corner[1])
        rows: npt.NDArray[np.int64] = np.arange(math.ceil(y0 - 0.5), math.ceil(y1 - 0.5))
        if rows.size:
            crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(crossing - 0.5), 0, size[1]).astype(np.int64)
            turns[rows, columns] ^= True
    return np.asarray(np.logical_xor.accumulate(turns[:, :-1], axis=1))
