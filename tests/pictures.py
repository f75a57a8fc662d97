"""Image files of every kind, as bytes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from blemish.images import (
    decode_image,
)

RNG = np.random.default_rng(0)
COLOUR8 = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
COLOUR16 = RNG.integers(0, 65536, (7, 5, 3), dtype=np.uint16)
ALPHA16 = RNG.integers(0, 65536, (7, 5, 4), dtype=np.uint16)
GREY8, GREY16 = COLOUR8[..., 0], COLOUR16[..., 0]
NOISE = RNG.integers(0, 256, (90, 80, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(pixels: npt.NDArray[np.uint16], orientation: int = 1, cut: int | None = None) -> bytes:
    """A 16-bit PNG of 1, 2, 3 or 4 channels by hand, with EXIF; Pillow cannot write them."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    exif = (
        b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + struct.pack(">HH", orientation, 0) + b"\0" * 4
    )
    return png_of(width, height, 16, kind, zlib.compress(rows)[:cut], exif)


def png_of(width: int, height: int, bits: int, kind: int, data: bytes, exif: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        *([(b"eXIf", exif)] if exif else []),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def zeros(count: int) -> bytes:
    """That many zeros, compressed without holding them."""
    squeeze = zlib.compressobj(9)
    whole, rest = divmod(count, 1 << 24)
    parts = [squeeze.compress(bytes(1 << 24)) for _ in range(whole)]
    return b"".join([*parts, squeeze.compress(bytes(rest)), squeeze.flush()])


def tiff(pixels: npt.NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def read(data: bytes) -> npt.NDArray[Any]:
    pixels = decode_image(data, "part.png")
    assert pixels.ndim == 3
    return pixels
