"""Files in: every kind a camera or a person may hand over, pixel by pixel."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from blemish.errors import ImageError, ShapeError
from blemish.images import (
    has_sixteen_bits,
    read_image,
    read_map,
    read_mask,
    write_map,
    write_png,
)
from pictures import (
    ALPHA16,
    COLOUR8,
    COLOUR16,
    GREY8,
    GREY16,
    RNG,
    png16,
    png_of,
    read,
    saved,
    tiff,
)


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """What the eight EXIF orientations mean, by flips and quarter turns."""
    flipped = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    quarters = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    return np.rot90(flipped, quarters)


# ---------------------------------------------------------------- exact pixels


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_8_bit_colour_is_exact(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read(saved(Image.fromarray(COLOUR8), kind, **options)), COLOUR8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_has_one_channel(kind: str) -> None:
    assert np.array_equal(read(saved(Image.fromarray(GREY8), kind)), GREY8[..., None])


def test_alpha_is_dropped() -> None:
    rgba = np.dstack([COLOUR8, GREY8])
    assert np.array_equal(read(saved(Image.fromarray(rgba), "PNG")), COLOUR8)
    grey = Image.merge("LA", [Image.fromarray(GREY8), Image.fromarray(COLOUR8[..., 1])])
    assert np.array_equal(read(saved(grey, "PNG")), GREY8[..., None])


def test_16_bit_png_is_exact() -> None:
    assert np.array_equal(read(png16(GREY16[..., None])), GREY16[..., None])
    assert np.array_equal(read(png16(COLOUR16)), COLOUR16)
    assert np.array_equal(read(png16(ALPHA16)), ALPHA16[..., :3])
    with_alpha = read(png16(ALPHA16[..., :2]))
    assert np.array_equal(with_alpha, np.repeat(ALPHA16[..., :1], 3, axis=2))
    assert np.array_equal(read(cv2.imencode(".png", GREY16)[1].tobytes()), GREY16[..., None])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_is_exact(compression: str | None, order: str) -> None:
    how: dict[str, Any] = {"compression": compression, "byteorder": order}
    assert np.array_equal(read(tiff(GREY16, photometric="minisblack", **how)), GREY16[..., None])
    assert np.array_equal(read(tiff(COLOUR16, photometric="rgb", **how)), COLOUR16)
    alpha = tiff(ALPHA16, photometric="rgb", extrasamples=["unassalpha"], **how)
    assert np.array_equal(read(alpha), ALPHA16[..., :3])


def test_whole_numbers_of_32_bits_are_read_where_they_fit() -> None:
    fits = tiff(GREY16.astype(np.int32), photometric="minisblack")
    assert np.array_equal(read(fits), GREY16[..., None])
    with pytest.raises(ImageError, match="between 0 and 65535, but they run from"):
        read(tiff(GREY16.astype(np.int32) - 70_000, photometric="minisblack"))


def test_palettes_become_their_colours() -> None:
    indices = RNG.integers(0, 4, (6, 9), dtype=np.uint8)
    colours = np.array([[1, 2, 3], [250, 0, 9], [0, 0, 0], [77, 200, 31]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())  # turns grey into indices
    for options in ({}, {"transparency": 1}, {"transparency": bytes([255, 3, 0, 9])}):
        assert np.array_equal(read(saved(image, "PNG", **options)), colours[indices])


def test_one_bit_becomes_black_and_white() -> None:
    bits = COLOUR8[..., 0] > 100
    expected = np.where(bits, 255, 0)[..., None]
    assert np.array_equal(read(saved(Image.fromarray(bits), "PNG")), expected)
    assert np.array_equal(
        read(saved(Image.fromarray(bits), "TIFF", compression="group4")), expected
    )


def test_cmyk_jpeg_becomes_the_colour_it_shows() -> None:
    red = Image.new("CMYK", (16, 8), (0, 255, 255, 0))
    pixels = read(saved(red, "JPEG", quality=100))
    assert pixels.shape == (8, 16, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = upright(COLOUR8, orientation)
    for kind, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
        data = saved(Image.fromarray(COLOUR8), kind, exif=exif, **options)
        assert np.array_equal(read(data), expected), kind
    corners = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((16, 24), np.uint8))
    jpeg = read(saved(Image.fromarray(corners), "JPEG", exif=exif, quality=95))
    assert jpeg.shape[:2] == upright(corners, orientation).shape
    assert np.abs(jpeg[..., 0].astype(int) - upright(corners, orientation)).max() <= 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_of_16_bits_is_applied_once(orientation: int) -> None:
    tag = [(274, "H", 1, orientation, True)]
    for pixels, photometric in ((COLOUR16, "rgb"), (GREY16, "minisblack")):
        data = tiff(pixels, photometric=photometric, extratags=tag)
        expected = upright(pixels, orientation).reshape(*upright(GREY16, orientation).shape, -1)
        assert np.array_equal(read(data), expected), photometric
    for deep in (COLOUR16, GREY16[..., None]):
        assert np.array_equal(read(png16(deep, orientation)), upright(deep, orientation))


def test_broken_exif_does_not_lose_the_photograph() -> None:
    data = png_of(5, 7, 8, 0, zlib.compress(b"\0\1\2\3\4\5" * 7), b"MM\0*garbage")
    assert read(data).shape == (7, 5, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (20_000, 3)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    for pixels in (np.full(size, 9, np.uint8), np.full((*size, 3), 9, np.uint8)):
        read_back = read(saved(Image.fromarray(pixels), "PNG"))
        assert np.array_equal(read_back, pixels.reshape(*size, -1))


def test_several_pages_give_the_first() -> None:
    pages = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    assert np.array_equal(read(tiff(pages, photometric="minisblack")), pages[0][..., None])


def test_names_with_spaces_and_other_alphabets(tmp_path: Path) -> None:
    path = tmp_path / "prüf teile" / "部品 №1.png"
    write_png(path, GREY8)
    assert np.array_equal(read_image(path), GREY8[..., None])
    assert np.array_equal(read_image(str(path)), GREY8[..., None])
    write_map(path.with_suffix(".tiff"), GREY8.astype(np.float32))
    assert np.array_equal(read_map(path.with_suffix(".tiff")), GREY8)


# ---------------------------------------------------------------- bits


def test_has_sixteen_bits(tmp_path: Path) -> None:
    files = {
        "grey16.png": (png16(GREY16[..., None]), True),
        "colour16.png": (png16(COLOUR16), True),
        "colour16.tif": (tiff(COLOUR16, photometric="rgb"), True),
        "grey16.tif": (tiff(GREY16, photometric="minisblack"), True),
        "colour8.png": (saved(Image.fromarray(COLOUR8), "PNG"), False),
        "stride16.bmp": (saved(Image.fromarray(COLOUR8), "BMP"), False),
        "no.png": (b"nothing", False),
    }
    for name, (data, expected) in files.items():
        (tmp_path / name).write_bytes(data)
        assert has_sixteen_bits(tmp_path / name) is expected, name
    assert not has_sixteen_bits(tmp_path / "missing.png")


# ---------------------------------------------------------------- masks


def mask_file(folder: Path, values: npt.NDArray[Any]) -> Path:
    path = folder / "mask.png"
    path.write_bytes(cv2.imencode(".png", values)[1].tobytes())
    return path


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        (np.array([[0, 255, 254], [1, 0, 128]], np.uint8), [[0, 1, 1], [0, 0, 1]]),
        (np.array([[0, 1, 2], [3, 0, 15]], np.uint8), [[0, 1, 1], [1, 0, 1]]),
        (np.array([[0, 100, 90], [10, 0, 0]], np.uint8), [[0, 1, 1], [0, 0, 0]]),
        (np.array([[0, 65535, 30000], [9, 0, 0]], np.uint16), [[0, 1, 0], [0, 0, 0]]),
        (np.array([[0, 255, 200], [9, 0, 0]], np.uint16), [[0, 1, 1], [0, 0, 0]]),
        (np.zeros((2, 3), np.uint8), [[0, 0, 0], [0, 0, 0]]),
    ],
    ids=["not quite black and white", "classes", "dim", "16 bits", "8 bits in 16", "empty"],
)
def test_masks(tmp_path: Path, values: npt.NDArray[Any], marked: list[list[int]]) -> None:
    mask = read_mask(mask_file(tmp_path, values), (2, 3))
    assert mask.dtype == np.bool_
    assert mask.tolist() == np.array(marked, bool).tolist()


def test_one_bit_and_colour_masks(tmp_path: Path) -> None:
    bits = GREY8 > 100
    for image in (Image.fromarray(bits), Image.fromarray(np.dstack([bits * np.uint8(255)] * 3))):
        image.save(tmp_path / "mask.png")
        assert np.array_equal(read_mask(tmp_path / "mask.png", GREY8.shape), bits)


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path = mask_file(tmp_path, np.zeros((2, 3), np.uint8))
    with pytest.raises(
        ShapeError, match=r"mask\.png' must have its image's size 3 x 2, but is 2 x"
    ):
        read_mask(path, (3, 2))
