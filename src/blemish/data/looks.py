"""What one picture looks like, in a few numbers: enough to compare thousands of them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.images import (
    EXIF_ORIENTATION,
    READERS,
    decode_image,
    read_bytes,
    read_image,
    require_measured,
)
from blemish.records import Pixels

Small = npt.NDArray[np.float32]

SIDE = 32  # pixels of a thumbnail: a shift by 1 % of the picture hardly changes it
_SHARP = 256  # longest side at which sharpness is judged
_SUFFIXES = {
    b"\x89PNG": (".png",),
    b"\xff\xd8": (".jpg", ".jpeg"),
    b"BM": (".bmp",),
    b"II": (".tif", ".tiff"),
    b"MM": (".tif", ".tiff"),
    b"RIFF": (".webp",),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """One picture.

    size: (H, W). bits: 8, 16, or 32 of floats. peak: its brightest value. grey: all channels are
    equal.
    digest: of size and pixels, so that the same picture saved in two lossless formats is equal.
    thumbnail: (32, 32) grey, in the file's own units. level: mean grey, contrast: its standard
    deviation over a 64 x 64 thumbnail, detail: mean absolute Laplacian at 256 pixels, tint: mean
    red less mean blue; all four in the file's own units.
    turned: EXIF says that it must be turned. honest: its suffix is that of its content.
    """

    path: Path
    size: tuple[int, int]
    channels: int
    bits: int
    peak: float
    grey: bool
    digest: bytes
    thumbnail: Small
    level: float
    contrast: float
    detail: float
    tint: float
    turned: bool
    honest: bool


def look(path: Path) -> Look:
    """Reads one picture. Raises ImageError."""
    data = read_bytes(path)
    pixels = decode_image(data, str(path))
    require_measured(pixels, str(path))
    middle = _shrunk(pixels, (64, 64))
    colours = middle.mean(axis=(0, 1))
    grey = middle.mean(axis=2)
    thumbnail = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return Look(
        path=path,
        size=(pixels.shape[0], pixels.shape[1]),
        channels=pixels.shape[2],
        bits=8 * pixels.dtype.itemsize,
        peak=float(pixels.max()),
        grey=bool((pixels == pixels[..., :1]).all()),
        digest=hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode()).digest(),
        thumbnail=np.asarray(thumbnail, np.float32),
        level=float(grey.mean()),
        contrast=float(grey.std()),
        detail=_detail(pixels),
        tint=float(colours[0] - colours[-1]),
        turned=_is_turned(data),
        honest=any(data.startswith(s) and path.suffix.lower() in e for s, e in _SUFFIXES.items()),
    )


def _shrunk(pixels: Pixels, size: tuple[int, int]) -> Small:
    """(H, W, C) float32, each value the mean of what it covers."""
    if pixels.shape[2] > 4:  # more OpenCV does not shrink at once: their mean tells enough
        pixels = pixels.mean(axis=2, keepdims=True, dtype=np.float32)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], -1).astype(np.float32)


def _detail(pixels: Pixels) -> float:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SHARP / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = _shrunk(pixels, size).mean(axis=2)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def _is_turned(data: bytes) -> bool:
    for signature, reader in READERS.items():
        if data.startswith(signature):
            try:
                return int(reader(io.BytesIO(data)).getexif().get(EXIF_ORIENTATION, 1)) > 1
            except Exception:  # broken EXIF turns nothing
                return False
    return False


@dataclass(frozen=True, kw_only=True)
class MaskLook:
    """A mask. size: (H, W). marked: share of pixels that read_mask takes. pure: only 0 and one
    other value, or class indices below 16."""

    path: Path
    size: tuple[int, int]
    marked: float
    pure: bool


def look_at_mask(path: Path) -> MaskLook:
    """Reads one mask. Raises ImageError."""
    values = read_image(path).max(axis=2)
    require_measured(values, str(path))
    brightest = float(values.max())
    over = values > (brightest // 2 if brightest >= 16 else 0)
    pure = brightest < 16 or bool(((values == 0) | (values == brightest)).all())
    return MaskLook(path=path, size=values.shape, marked=float(over.mean()), pure=pure)
