"""TIFF files of what photographs are not: any number of channels, floats, channels plane by plane.

Pillow decodes them, but knows only photographs: of two channels it would give the first, and of
planes one, without a word. So it is shown rows of bytes: W pixels of n channels of b bytes are as
good as one row of W · n · b grey pixels, whatever they are packed with.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import TiffImageFile

from blemish.errors import ImageError

# TIFF 6.0's tags
WIDTH, HEIGHT, BITS, PACKED, PHOTOMETRIC, STRIPS = 256, 257, 258, 259, 262, 273
ORIENTATION, CHANNELS, STRIP_ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 274, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)  # none, LZW, deflate twice, PackBits, LZMA, Zstd
_KINDS = {(1, 8): "u1", (1, 16): "u2", (3, 16): "f2", (3, 32): "f4", (3, 64): "f8"}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF's types of whole numbers
MOST_CHANNELS = 256

Tags = dict[int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a TIFF's first page is stored. order: "<" or ">". big: BigTIFF. tags: whole numbers only.
    kept: channels that are no alpha. kind: of NumPy, without its byte order."""

    order: str
    big: bool
    tags: Tags
    kept: tuple[int, ...]
    kind: str

    def one(self, tag: int, default: int) -> int:
        return self.tags.get(tag, (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) as stored."""
        return self.one(HEIGHT, 0), self.one(WIDTH, 0)


def layout(data: bytes, name: str) -> Layout | None:
    """How a TIFF is stored, if it is none that Pillow reads rightly; None of photographs: grey or
    RGB of whole numbers pixel by pixel, with or without alpha, palettes, CMYK and the like.

    Raises ImageError if it is neither a photograph nor lossless channels of one kind, anything on
    damage.
    """
    order = "<" if data[:2] == b"II" else ">"
    (magic,) = struct.unpack_from(f"{order}H", data, 2)
    if magic not in (42, 43):
        return None
    tags = _tags(data, order, magic == 43)
    photometric, count = tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0], tags.get(CHANNELS, (1,))[0]
    colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}.get(photometric)
    if colours is None:
        return None
    extra = tags.get(EXTRA, ())
    first = count - len(extra)
    alpha = [first + index for index, what in enumerate(extra) if what in (1, 2)]
    kept = tuple(channel for channel in range(count) if channel not in alpha)
    formats = tags.get(FORMAT, (1,))
    planes = tags.get(PLANAR, (1,))[0] == 2 and count > 1
    if len(kept) == colours and 3 not in formats and not planes:
        return None
    bits = tags.get(BITS, (1,))
    kinds = {*zip(_each(formats, count), _each(bits, count), strict=True)}
    kind = _KINDS.get(min(kinds), "") if len(kinds) == 1 else ""
    packed = tags.get(PACKED, (1,))[0]
    if not kind or packed not in LOSSLESS or photometric == WHITE_IS_ZERO or not kept:
        raise ImageError(
            f"'{name}' must have channels of 8 or 16 bits or of floats, all of one kind, packed"
            f" without loss and with black as 0, but has {count} of (format, bits)"
            f" {sorted(kinds)}, compression {packed} and photometric {photometric}."
            " Save it as such a TIFF."
        )
    return Layout(order=order, big=magic == 43, tags=tags, kept=kept, kind=kind)


def _each(values: tuple[int, ...], count: int) -> tuple[int, ...]:
    return values * count if len(values) == 1 else values


def _tags(data: bytes, order: str, big: bool) -> Tags:
    """The whole numbers of the first page's tags."""
    start, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (at,) = struct.unpack_from(order + start, data, 8 if big else 4)
    (number,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    inline = struct.calcsize(order + start)
    tags: Tags = {}
    for _ in range(min(number, 1000)):
        tag, kind, amount = struct.unpack_from(order + entry, data, at)
        at += struct.calcsize(order + entry)
        letter = _INTEGERS.get(kind)
        if letter is not None and amount * struct.calcsize(order + letter) <= len(data):
            where = at
            if amount * struct.calcsize(order + letter) > inline:
                (where,) = struct.unpack_from(order + start, data, at)
            tags[tag] = struct.unpack_from(f"{order}{amount}{letter}", data, where)
        at += inline
    return tags


def read_channels(data: bytes, stored: Layout) -> npt.NDArray[Any]:
    """(H, W, C) uint8, uint16 or float32 pixels as stored, without alpha. Raises anything on
    damage."""
    count = stored.one(CHANNELS, 1)
    if stored.one(PLANAR, 1) == 2 and count > 1:
        planes = [_plane(data, stored, index, count, 1) for index in stored.kept]
        return np.concatenate(planes, axis=2)
    pixels = _plane(data, stored, 0, 1, count)
    return np.ascontiguousarray(pixels[..., list(stored.kept)])


def _plane(data: bytes, stored: Layout, index: int, planes: int, count: int) -> npt.NDArray[Any]:
    """(H, W, count): one of so many planes."""
    height, width = stored.size
    kind = np.dtype(stored.order + stored.kind)
    tiled = TILES in stored.tags
    step = stored.one(TILE_WIDTH, width) if tiled else width  # what a predictor begins anew after
    wide = -(-width // step) * step
    each = step * count * kind.itemsize
    where, sizes = (TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES)
    share = len(stored.tags[where]) // planes
    own = slice(index * share, (index + 1) * share)
    page: Tags = {
        WIDTH: (wide * count * kind.itemsize,),
        HEIGHT: (height,),
        BITS: (8,),
        PACKED: (stored.one(PACKED, 1),),
        PHOTOMETRIC: (BLACK_IS_ZERO,),
        where: stored.tags[where][own],
        CHANNELS: (1,),
        sizes: stored.tags[sizes][own],
    }
    if tiled:
        page |= {TILE_WIDTH: (each,), TILE_HEIGHT: stored.tags[TILE_HEIGHT]}
    else:
        page[STRIP_ROWS] = (min(stored.one(STRIP_ROWS, height), height),)
    with TiffImageFile(io.BytesIO(_with_page(data, stored, page))) as image:
        rows = np.array(image)  # (H, wide · count · bytes)
    blocks = rows.reshape(height, -1, each)  # a block is what a predictor runs over
    values = _unpredicted(blocks, kind, count, stored.one(PREDICTOR, 1))
    pixels = values.reshape(height, wide, count)[:, :width]
    return pixels.astype(np.float32 if kind.kind == "f" else kind.newbyteorder("="))


def _unpredicted(
    blocks: npt.NDArray[np.uint8], kind: np.dtype[Any], count: int, predictor: int
) -> npt.NDArray[Any]:
    """(H, blocks, step, count) of a kind, from their bytes."""
    shape = (*blocks.shape[:2], -1, count)
    if predictor == 1:
        return blocks.view(kind).reshape(shape)
    if predictor == 2 and kind.kind == "u":  # differences to the left neighbour
        values = blocks.view(kind).reshape(shape)
        return np.cumsum(values, axis=2, dtype=kind.newbyteorder("="))
    if predictor == 3 and kind.kind == "f":  # the same of bytes, those of one weight together
        summed = np.cumsum(blocks.reshape(shape), axis=2, dtype=np.uint8)
        weights = summed.reshape(*blocks.shape[:2], kind.itemsize, -1)
        whole = np.ascontiguousarray(weights.swapaxes(2, 3))
        return whole.view(kind.newbyteorder(">")).reshape(shape)
    raise ValueError(f"predictor {predictor} of {kind} is unknown")


def _with_page(data: bytes, stored: Layout, page: Tags) -> bytes:
    """The file with another first page, which follows all that it had."""
    order, big = stored.order, stored.big
    kind, letter, inline = (16, "Q", 8) if big else (4, "I", 4)
    at = len(data) + len(data) % 8 + 8
    entries, numbers = b"", b""
    begin = at + (8 if big else 2) + len(page) * (20 if big else 12) + inline
    for tag, values in sorted(page.items()):
        body = struct.pack(f"{order}{len(values)}{letter}", *values)
        entries += struct.pack(f"{order}HH{letter}", tag, kind, len(values))
        entries += (
            body if len(body) == inline else struct.pack(order + letter, begin + len(numbers))
        )
        numbers += body if len(body) > inline else b""
    count = struct.pack(order + ("Q" if big else "H"), len(page))
    start = 8 if big else 4
    head = data[:start] + struct.pack(order + letter, at) + data[start + inline :]
    return head.ljust(at, b"\0") + count + entries + bytes(inline) + numbers
