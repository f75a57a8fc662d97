"""OpenEXR pictures of numbers: scanlines without loss, as cameras and renderers write depth.

From the file layout published by the Academy Software Foundation. OpenCV's wheels cannot read EXR.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.images import MAX_PIXELS, read_bytes

Field = npt.NDArray[np.float32]  # (H, W)

MAGIC = b"\x76\x2f\x31\x01"
_KINDS = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
_LINES = {0: 1, 2: 1, 3: 16}  # compression → scanlines a block: none, zip of one, zip of sixteen
_NOT_PLAIN = 0x200 | 0x800 | 0x1000  # tiled, deep, several parts


@dataclass(frozen=True, kw_only=True)
class _Header:
    channels: dict[str, np.dtype[np.generic]]  # in the order of the file
    compression: int
    window: tuple[int, int, int, int]  # xmin, ymin, xmax, ymax, all inclusive
    end: int  # where the table of offsets begins

    @property
    def size(self) -> tuple[int, int]:
        return self.window[3] - self.window[1] + 1, self.window[2] - self.window[0] + 1


def read_exr(path: str | Path) -> dict[str, Field]:
    """(H, W) float32 numbers of each channel, by name.

    Raises ImageError if the file is missing, damaged, truncated, tiled, deep, of several parts, of
    subsampled channels, or of another compression than none, ZIPS and ZIP.
    """
    data = read_bytes(path)
    try:
        header = _header(data)
        height, width = header.size
        if not (0 < height * width <= MAX_PIXELS and height > 0):
            raise ValueError(f"it is {height} x {width}")
        planes: dict[str, Field] = {
            name: np.empty(header.size, np.float32) for name in header.channels
        }
        for first, lines in _blocks(data, header):
            start = 0
            for name, kind in header.channels.items():
                stop = start + width * kind.itemsize
                plane = np.ascontiguousarray(lines[:, start:stop]).view(kind)
                planes[name][first : first + len(lines)] = plane
                start = stop
    except (
        ValueError,
        KeyError,
        IndexError,
        struct.error,
        zlib.error,
        UnicodeDecodeError,
    ) as error:
        raise ImageError(
            f"'{path}' must be an OpenEXR picture of scanlines, without compression or with ZIP,"
            f" but: {error}. Save it so, or as NPY or 32-bit TIFF."
        ) from error
    return planes


def _header(data: bytes) -> _Header:
    if data[:4] != MAGIC:
        raise ValueError("it does not begin as one")
    version = struct.unpack_from("<I", data, 4)[0]
    if version & _NOT_PLAIN:
        raise ValueError("it is tiled, deep or of several parts")
    found: dict[str, bytes] = {}
    place = 8
    while data[place] != 0:
        name, place = _word(data, place)
        _, place = _word(data, place)
        (size,) = struct.unpack_from("<i", data, place)
        if size < 0:
            raise ValueError("its header is damaged")
        found[name] = data[place + 4 : place + 4 + size]
        place += 4 + size
    compression = found["compression"][0]
    if compression not in _LINES:
        raise ValueError(f"its compression is number {compression}")
    return _Header(
        channels=_channels(found["channels"]),
        compression=compression,
        window=struct.unpack("<4i", found["dataWindow"]),
        end=place + 1,
    )


def _word(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(b"\0", place)
    return data[place:end].decode(), end + 1


def _channels(data: bytes) -> dict[str, np.dtype[np.generic]]:
    channels: dict[str, np.dtype[np.generic]] = {}
    place = 0
    while data[place] != 0:
        name, place = _word(data, place)
        kind, _, *every = struct.unpack_from("<iIii", data, place)
        if every != [1, 1]:
            raise ValueError(f"channel {name} is subsampled")
        channels[name] = _KINDS[kind]
        place += 16
    if not channels:
        raise ValueError("it has no channels")
    return channels


def _blocks(data: bytes, header: _Header) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """First line of each block, and its lines as (lines, bytes). Every line comes once."""
    height, width = header.size
    line = width * sum(kind.itemsize for kind in header.channels.values())
    each = _LINES[header.compression]
    count = -(-height // each)
    places = struct.unpack_from(f"<{count}Q", data, header.end)
    missing = set(range(0, height, each))
    for place in places:
        top, size = struct.unpack_from("<ii", data, place)
        first = top - header.window[1]
        missing.remove(first)
        whole = line * min(each, height - first)
        packed = data[place + 8 : place + 8 + max(size, 0)]
        plain = packed if size == whole else _unpacked(packed, whole)
        if len(plain) != whole:
            raise ValueError(f"the lines from {top} on are cut short")
        yield first, np.frombuffer(plain, np.uint8).reshape(-1, line)


def _unpacked(packed: bytes, whole: int) -> bytes:
    """Undoes ZIP: differences of bytes, even ones first and odd ones after."""
    plain = zlib.decompressobj().decompress(packed, whole)  # no more than belongs there
    steps = np.frombuffer(plain, np.uint8).astype(np.int64)
    steps[1:] -= 128
    halves = np.cumsum(steps).astype(np.uint8)
    mixed = np.empty_like(halves)
    middle = (len(halves) + 1) // 2
    mixed[0::2], mixed[1::2] = halves[:middle], halves[middle:]
    return mixed.tobytes()
