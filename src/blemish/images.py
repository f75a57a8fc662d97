"""Files in and out: photographs, masks and maps.

Pillow decodes, because it refuses truncated files, understands CMYK, palettes and EXIF, and says
why when it fails. OpenCV decodes what Pillow would cut to 8 bits (16-bit colour) or refuses
for its size.
"""

from __future__ import annotations

import io
import os
import secrets
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from blemish.errors import DataError, ImageError, ShapeError
from blemish.records import Map, Mask, Pixels

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 500_000_000  # a map of this many pixels is 2 GB of float32
SIXTEEN_BIT_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")
# EXIF orientation → how to turn the stored pixels upright
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
EXIF_ORIENTATION = 0x0112


def read_image(path: str | Path) -> Pixels:
    """Pixels of a photograph, upright.

    Returns (H, W, C) uint8 or uint16: C is 1 for grey files, 3 (RGB) for all others; an alpha
    channel is dropped, palettes and CMYK become RGB, EXIF rotation is applied.
    Raises ImageError if the file is missing, damaged, truncated, not an image, of float pixels,
    or of more than 500 megapixels.
    """
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The file's bytes. Raises ImageError if it cannot be read or is empty."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(
            f"'{path}' must be a readable image file, but the system says: {error.strerror}."
            " Check the name and the permissions."
        ) from error
    if not data:
        raise ImageError(f"'{path}' must be an image, but it is empty (0 bytes). Copy it again.")
    return data


def decode_image(data: bytes, name: str) -> Pixels:
    """Like read_image, from the bytes of a file; name is what errors call it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                _check_size(image.size[::-1], name)
                orientation = image.getexif().get(EXIF_ORIENTATION, 1)
                pixels = _decode_wide(data, name) if _is_wide(image) else _decode(image, name)
    except Image.DecompressionBombError:
        orientation, pixels = 1, _decode_wide(data, name)
        _check_size(pixels.shape[:2], name)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{name}' must be an image ({', '.join(IMAGE_SUFFIXES)}), but its bytes are of no"
            " known image format. Remove it or save it again."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise ImageError(
            f"'{name}' must be a whole image file, but decoding stopped: {error}."
            " It may be truncated; copy it again."
        ) from error
    turn = UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def has_sixteen_bits(path: str | Path) -> bool:
    """Whether a file's header announces 16-bit pixels; False also for what cannot be opened."""
    try:
        with Image.open(path) as image:
            return image.mode in SIXTEEN_BIT_GREY or _is_wide(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(
            f"'{name}' must have at most {MAX_PIXELS // 10**6} megapixels, but is"
            f" {size[0]} x {size[1]}. Cut it into pieces."
        )


def _is_wide(image: Image.Image) -> bool:
    """Whether Pillow would cut this file's 16-bit colours to 8 bits."""
    # PNG and TIFF plugins name the raw mode in the tile's decoder arguments.
    tiles: list[Any] = getattr(image, "tile", [])
    return any("16" in str(tile[3]) for tile in tiles) and image.mode in ("RGB", "RGBA", "LA")


def _decode(image: Image.Image, name: str) -> Pixels:
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))[..., None]
    if image.mode in SIXTEEN_BIT_GREY:
        return _whole_numbers(np.asarray(image), name)[..., None]
    if image.mode == "F":
        raise ImageError(
            f"'{name}' must have 8 or 16 bits a pixel, but holds 32-bit floats."
            " Save it as 16-bit PNG or TIFF."
        )
    if image.mode == "LA":
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _whole_numbers(values: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.uint16]:
    numbers = np.asarray(values).astype(np.int64)
    if numbers.min() < 0 or numbers.max() > np.iinfo(np.uint16).max:
        raise ImageError(
            f"'{name}' must have pixels between 0 and 65535, but they run from {numbers.min()} to"
            f" {numbers.max()}. Save it as 16-bit PNG or TIFF."
        )
    return numbers.astype(np.uint16)


def _decode_wide(data: bytes, name: str) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"'{name}' must be a whole 8- or 16-bit image, but it could not be decoded."
            " It may be truncated; copy it again."
        )
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.ascontiguousarray(pixels[..., 2::-1])  # BGR(A) → RGB


def read_mask(path: str | Path, size: tuple[int, int]) -> Mask:
    """Which pixels a mask file marks: brighter than the middle of its range; class indices
    (a mask whose brightest pixel is below 16) mark wherever they are not 0.

    size: (H, W) of the image it belongs to, which it must have; masks are never resized.
    Returns (H, W) bool. Raises ImageError like read_image, ShapeError on another size.
    """
    values = read_image(path).max(axis=2)
    if values.shape != tuple(size):
        raise ShapeError(
            f"mask '{path}' must have its image's size {size[0]} x {size[1]}, but is"
            f" {values.shape[0]} x {values.shape[1]}. Export it at the image's own size."
        )
    middle = np.iinfo(values.dtype).max // 2
    return np.asarray(values > (middle if values.max() >= 16 else 0))


def write_map(path: Path, map: Map) -> None:
    """Writes a (H, W) float32 map as an uncompressed one-channel TIFF, whole or not at all."""
    # numpy arrays of mode F are what Pillow writes as 32-bit float TIFF
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(map, dtype=np.float32)).save(buffer, format="TIFF")
    write_whole(path, buffer.getvalue())


def read_map(path: str | Path) -> Map:
    """The (H, W) float32 map of a TIFF written by write_map, by another tool, or by hand.

    Raises ImageError if it is no image, has several channels, or holds NaN or infinity.
    """
    try:
        with Image.open(path) as image:
            map = np.asarray(image, dtype=np.float32)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"'{path}' must be a one-channel TIFF map, but: {error}. Write it again."
        ) from error
    if map.ndim != 2 or not np.isfinite(map).all():
        raise ImageError(
            f"'{path}' must be a map of (H, W) finite numbers, but has shape {map.shape} and"
            f" {int((~np.isfinite(map)).sum())} values that are not finite. Write it again."
        )
    return map


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Writes (H, W) or (H, W, 3) RGB uint8 pixels as PNG, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    write_whole(path, buffer.getvalue())


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Writes a file that is either whole or not there: to a neighbour first, then renamed.

    durable: also wait until the disk has it, so that not even a power cut leaves half of it.
    Raises DataError if the folder is read-only, the disk is full or the name is a folder; a file
    that was there before is then left as it was.
    """
    neighbour = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with neighbour.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        neighbour.replace(path)
    except OSError as error:
        raise DataError(
            f"'{path}' must be writable, but the system says: {error.strerror}."
            " Nothing was written there; choose another place or free some space."
        ) from error
    finally:  # Ctrl-C passes here, too
        with suppress(OSError):
            neighbour.unlink(missing_ok=True)
