"""Files in and out: photographs, masks and maps.

Pillow decodes, because it refuses truncated files, understands CMYK, palettes and EXIF, and says
why when it fails. OpenCV decodes what Pillow would cut to 8 bits: 16-bit colour.
"""

from __future__ import annotations

import io
import os
import secrets
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from blemish.errors import DataError, ImageError, ShapeError
from blemish.records import Map, Mask, Pixels
from blemish.tiffs import ORIENTATION, Layout, layout, read_channels

# Parts are what runs side by side here. OpenCV's threads, which it wakes to label even a small map,
# wait for a core on which the graph's still spin: one verdict in a hundred took twice as long.
cv2.setNumThreads(1)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 500_000_000  # a map of this many pixels is 2 GB of float32
# First bytes → reader. Not Image.open: it would also start Ghostscript for an EPS file, and its
# size limit of 179 megapixels is one for the whole process.
READERS: dict[bytes, type[ImageFile]] = {
    b"\x89PNG": PngImageFile,
    b"\xff\xd8": JpegImageFile,
    b"BM": BmpImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
    b"RIFF": WebPImageFile,
}
SIXTEEN_BIT_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")
SHORT_TAGS = (258, 259, 262, 277, 339)  # of 16 bits
STRIP = 2**23  # bytes or pixels that are handled at once
BITS_PER_SAMPLE = 258  # TIFF tag
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

    Returns (H, W, C) uint8, uint16, or of TIFF float32, which may hold NaN: C is 1 for grey files,
    what TIFFs of other channels have, 3 (RGB) for all others (and for 16-bit grey with alpha,
    which OpenCV reads as colour). Alpha is dropped, palettes and CMYK become RGB, EXIF rotation is
    applied; of several pages the first is read.
    Raises ImageError if the file is missing, damaged, truncated, not an image, or of more than
    500 megapixels (of channels beyond three: of as many numbers).
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
        stored = layout(data, name) if data[:2] in (b"II", b"MM") else None
        if stored is not None:
            return _decode_channels(data, stored, name)
        with _open(io.BytesIO(data), name) as image:
            _check_size(image.size[::-1], name)
            deep = _is_deep_colour(image)
            image.load()  # for deep colour, too: OpenCV might fill up a truncated file in silence
            orientation = _orientation(image)
            pixels = _decode_deep_colour(image, data, name) if deep else _decode(image, name)
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over in a damaged file
        raise ImageError(
            f"'{name}' must be a whole image of 8 or 16 bits a channel, but decoding stopped:"
            f" {error}. Copy it again, or save it as PNG."
        ) from error
    turn = UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def _decode_channels(data: bytes, stored: Layout, name: str) -> Pixels:
    height, width = stored.size
    _check_size((height, width * max(1, len(stored.kept) // 3)), name)
    pixels = read_channels(data, stored)
    turn = UPRIGHT.get(stored.one(ORIENTATION, 1))
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def has_sixteen_bits(path: str | Path) -> bool:
    """Whether a file's header announces 16-bit pixels; False also for what cannot be opened."""
    try:
        with Path(path).open("rb") as file, _open(file, str(path)) as image:
            return image.mode in SIXTEEN_BIT_GREY or _is_deep_colour(image)
    except Exception:  # whatever it is, read_image will say it
        return False


def pixel_count(path: str | Path) -> int:
    """Height times width, as a file's header announces them; 0 for what cannot be opened."""
    try:
        with Path(path).open("rb") as file, _open(file, str(path)) as image:
            return image.width * image.height
    except Exception:  # whatever it is, read_image will say it
        return 0


def _open(file: IO[bytes], name: str) -> ImageFile:
    """Reads the header alone. Raises ImageError on an unknown format, anything on damage."""
    start = file.read(4)
    file.seek(0)
    for signature, reader in READERS.items():
        if start.startswith(signature):
            return reader(file)
    raise ImageError(
        f"'{name}' must be an image ({', '.join(IMAGE_SUFFIXES)}), but its bytes are of no"
        " such format. Remove it or save it again."
    )


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(
            f"'{name}' must have at most {MAX_PIXELS // 10**6} megapixels, but is"
            f" {size[0]} x {size[1]}. Cut it into pieces."
        )


def _is_deep_colour(image: ImageFile) -> bool:
    """Whether Pillow would cut this file's colours to 8 bits. Ask before image.load()."""
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        return False
    if isinstance(image, TiffImageFile):
        return bool(max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8)
    return image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile)


def _orientation(image: ImageFile) -> int:
    """EXIF orientation of a loaded image; 1 for TIFF, which Pillow and OpenCV turn themselves."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # a photograph is not lost because its camera wrote broken EXIF
        return 1


def _decode(image: ImageFile, name: str) -> Pixels:
    if image.mode in ("L", "RGB"):
        pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
        step = max(1, STRIP // image.width)
        for top in range(0, image.height, step):  # whole, Pillow would hold it twice more
            band = image.crop((0, top, image.width, min(top + step, image.height)))
            pixels[top : top + step] = np.asarray(band).reshape(-1, *pixels.shape[1:])
        return pixels
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))[..., None]
    if image.mode in SIXTEEN_BIT_GREY:
        return _whole_numbers(np.asarray(image), name)[..., None]
    image.info.pop("transparency", None)  # of a palette: Pillow would warn of losing it
    return np.asarray(image.convert("RGB"))


def _whole_numbers(numbers: npt.NDArray[np.integer], name: str) -> npt.NDArray[np.uint16]:
    if numbers.min() < 0 or numbers.max() > np.iinfo(np.uint16).max:
        raise ImageError(
            f"'{name}' must have pixels between 0 and 65535, but they run from {numbers.min()} to"
            f" {numbers.max()}. Save it as 16-bit PNG or TIFF."
        )
    return numbers.astype(np.uint16)


def _decode_deep_colour(image: ImageFile, data: bytes, name: str) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ImageError(
            f"'{name}' must have 16-bit colours that OpenCV reads, but it does not."
            " Save it as 16-bit PNG."
        )
    return np.ascontiguousarray(pixels[..., 2::-1])  # BGR(A) → RGB


def require_measured(pixels: npt.NDArray[Any], name: str) -> None:
    """Raises ImageError if pixels hold NaN or infinity, as floats may. name: of their file."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        odd = int(np.count_nonzero(~np.isfinite(pixels)))
        raise ImageError(
            f"'{name}' must hold finite numbers, but {odd} are NaN or infinite. Fill them."
        )


def read_mask(path: str | Path, size: tuple[int, int]) -> Mask:
    """Which pixels a mask file marks: brighter than half of its brightest; in a mask of class
    indices (its brightest pixel is below 16) wherever they are not 0.

    size: (H, W) of the image it belongs to, which it must have; masks are never resized.
    Returns (H, W) bool. Raises ImageError like read_image, ShapeError on another size.
    """
    values = read_image(path).max(axis=2)
    if values.shape != tuple(size):
        raise ShapeError(
            f"mask '{path}' must have its image's size {size[0]} x {size[1]}, but is"
            f" {values.shape[0]} x {values.shape[1]}. Export it at the image's own size."
        )
    require_measured(values, str(path))
    brightest = float(values.max())
    return np.asarray(values > (brightest // 2 if brightest >= 16 else 0))


def write_map(path: Path, map: Map, *, durable: bool = False) -> None:
    """Writes a (H, W) float32 map as an uncompressed one-channel TIFF, as write_whole does."""
    pixels = np.ascontiguousarray(map, dtype="<f4")
    height, width = pixels.shape
    rows = max(1, STRIP // (4 * width))  # in a strip
    starts = range(0, height, rows)
    ends = [min(start + rows, height) for start in starts]
    start = len(_tiff(width, height, rows, [0] * len(ends), [0] * len(ends)))
    sizes = [4 * width * (end - start) for start, end in zip(starts, ends, strict=True)]
    offsets = [start + 4 * width * row for row in starts]
    head = _tiff(width, height, rows, offsets, sizes)
    # Pillow would hold the map three times: of 100 megapixels that is more than a gigabyte.
    write_whole(path, [head, pixels.data.cast("B")], durable=durable)


def _tiff(width: int, height: int, rows: int, offsets: list[int], sizes: list[int]) -> bytes:
    """What comes before the strips of a TIFF of 32-bit floats: its header and its tags."""
    tags = {256: [width], 257: [height], 258: [32], 259: [1], 262: [1], 273: offsets, 277: [1]}
    tags |= {278: [rows], 279: sizes, 339: [3]}  # 339: numbers are IEEE floats
    after = 8 + 2 + 12 * len(tags) + 4
    entries, far = b"", b""
    for tag, numbers in tags.items():
        short = tag in SHORT_TAGS
        told = struct.pack(f"<{len(numbers)}{'H' if short else 'I'}", *numbers).ljust(4, b"\0")
        if len(numbers) > 1:
            told, far = struct.pack("<I", after + len(far)), far + told
        entries += struct.pack("<HHI", tag, 3 if short else 4, len(numbers)) + told
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + far


def read_map(path: str | Path) -> Map:
    """The (H, W) float32 map of a TIFF written by write_map, by another tool, or by hand.

    Raises ImageError if it is no image, has several channels, or holds NaN or infinity.
    """
    try:
        with _open(io.BytesIO(read_bytes(path)), str(path)) as image:
            _check_size(image.size[::-1], str(path))
            map = np.asarray(image, dtype=np.float32)
    except ImageError:
        raise
    except Exception as error:  # as in decode_image
        raise ImageError(
            f"'{path}' must be a one-channel TIFF map, but decoding stopped: {error}."
            " Write it again."
        ) from error
    if map.ndim != 2 or not np.isfinite(map).all():
        raise ImageError(
            f"'{path}' must be a map of (H, W) finite numbers, but has shape {map.shape} and"
            f" {int((~np.isfinite(map)).sum())} values that are not finite. Write it again."
        )
    return map


def write_png(path: Path, pixels: npt.NDArray[np.uint8], *, durable: bool = False) -> None:
    """Writes (H, W) or (H, W, 3) RGB uint8 pixels as PNG, as write_whole does."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    write_whole(path, buffer.getvalue(), durable=durable)


def write_whole(
    path: Path, data: bytes | Sequence[bytes | memoryview], *, durable: bool = False
) -> None:
    """Writes a file that is either whole or not there: to a neighbour first, then renamed.

    data: its bytes, or these in pieces.
    durable: also wait until the disk has it, so that not even a power cut leaves half of it.
    Raises DataError if the folder is read-only, the disk is full or the name is a folder; a file
    that was there before is then left as it was.
    """
    neighbour = path.parent / f".{secrets.token_hex(8)}.part"  # short: long names have a limit
    try:
        new = [folder for folder in path.parents if not folder.exists()] if durable else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with neighbour.open("xb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        neighbour.replace(path)
        if durable:
            for folder in {path.parent, *(one.parent for one in new)}:
                keep_names(folder)
    except OSError as error:
        raise DataError(
            f"'{path}' must be writable, but the system says: {error.strerror}."
            " Nothing was written there; choose another place or free some space."
        ) from error
    finally:  # Ctrl-C passes here, too
        with suppress(OSError):
            neighbour.unlink(missing_ok=True)


def keep_names(folder: Path) -> None:
    """Waits until the disk has the names of a folder's files: without it a power cut may leave the
    bytes of a new file, but no name for them. Raises OSError."""
    if os.name == "nt":  # NTFS keeps a journal of names, and opens no folder
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
