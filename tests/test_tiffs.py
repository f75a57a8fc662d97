"""TIFF files of any channels, as tifffile writes them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.errors import ImageError
from pictures import read, tiff

COUNTS = (1, 2, 3, 4, 5, 8)
KINDS = (np.uint8, np.uint16, np.float32, np.float64)


def values(kind: Any, *shape: int, seed: int = 0) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    if np.issubdtype(kind, np.floating):
        return (rng.standard_normal(shape) * 100).astype(kind)
    return rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def stored(pixels: npt.NDArray[Any], planes: bool, **options: Any) -> bytes:
    """A TIFF of (H, W, C) channels that are no colours."""
    if planes:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    how = "separate" if planes else "contig"
    if pixels.shape[0 if planes else 2] == 1:
        return tiff(pixels.reshape(pixels.shape[1:] if planes else pixels.shape[:2]), **options)
    return tiff(pixels, photometric="minisblack", planarconfig=how, **options)


@pytest.mark.parametrize("planes", [False, True], ids=["pixels", "planes"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", COUNTS)
def test_every_channel_of_every_kind(count: int, kind: Any, planes: bool) -> None:
    pixels = values(kind, 13, 11, count)
    got = read(stored(pixels, planes))
    assert got.dtype == (np.float32 if np.issubdtype(kind, np.floating) else kind)
    assert np.array_equal(got, pixels.astype(got.dtype))


PACKED: list[dict[str, Any]] = [
    {"compression": "zlib"},
    {"rowsperstrip": 4},
    {"tile": (16, 16)},
    {"tile": (16, 32), "compression": "zlib"},
    {"byteorder": ">"},
    {"byteorder": ">", "compression": "zlib"},
    {"bigtiff": True},
    {"bigtiff": True, "rowsperstrip": 5, "compression": "zlib"},
]


@pytest.mark.parametrize("planes", [False, True], ids=["pixels", "planes"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", PACKED, ids=lambda one: "-".join(map(str, one.values())))
def test_however_they_are_packed(options: dict[str, Any], kind: Any, planes: bool) -> None:
    pixels = values(kind, 37, 45, 5)
    data = stored(pixels, planes, **options)
    assert np.array_equal(read(data), pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"byteorder": ">"}])
def test_differences_are_summed(options: dict[str, Any], kind: Any) -> None:
    pixels = values(kind, 37, 45, 5)
    data = stored(pixels, False, compression="zlib", predictor=2, **options)
    assert np.array_equal(read(data), pixels)


@pytest.mark.parametrize("packed", [5, 8])  # LZW, deflate
@pytest.mark.parametrize("count", [1, 3, 4])
def test_differences_of_floats_as_opencv_writes_them(count: int, packed: int) -> None:
    pixels = values(np.float32, 37, 45, count)
    how = (cv2.IMWRITE_TIFF_COMPRESSION, packed, cv2.IMWRITE_TIFF_PREDICTOR, 3)
    swapped = pixels[..., [2, 1, 0, 3][:count] if count > 1 else [0]]
    done, data = cv2.imencode(".tiff", swapped, how)
    assert done
    got = read(data.tobytes())
    assert np.array_equal(got, pixels[..., : got.shape[2]])
    assert got.shape[2] >= min(count, 3)  # a fourth may be called alpha


def test_big_endian_big_files_are_refused() -> None:
    with pytest.raises(ImageError, match="decoding stopped"):
        read(stored(values(np.uint8, 9, 7, 5), False, bigtiff=True, byteorder=">"))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    count=st.integers(1, 9),
    kind=st.sampled_from(KINDS),
    planes=st.booleans(),
    rows=st.integers(1, 50),
    zipped=st.booleans(),
)
def test_any_size(
    height: int, width: int, count: int, kind: Any, planes: bool, rows: int, zipped: bool
) -> None:
    pixels = values(kind, height, width, count, seed=height)
    data = stored(pixels, planes, rowsperstrip=rows, compression="zlib" if zipped else None)
    assert np.array_equal(read(data), pixels.astype(read(data).dtype))


def test_alpha_is_dropped_and_other_channels_are_not() -> None:
    four = values(np.uint8, 9, 7, 4)
    assert np.array_equal(read(tiff(four, photometric="rgb")), four[..., :3])
    extra = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    assert np.array_equal(read(tiff(four, **extra)), four)  # near infrared, for example
    two = values(np.uint16, 9, 7, 2)
    alpha = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    assert np.array_equal(read(stored(two, False)), two)
    six = values(np.float32, 9, 7, 6)
    alpha["extrasamples"] = ["unspecified"] * 4 + ["unassalpha"]
    assert np.array_equal(read(tiff(six, **alpha)), six[..., :5])


def test_sixteen_bit_colours_in_planes_are_read() -> None:
    pixels = values(np.uint16, 9, 7, 3)
    data = tiff(pixels.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(data), pixels)


def test_they_are_turned_upright() -> None:
    pixels = values(np.float32, 6, 4, 5)
    tag = [(274, "H", 1, 6, True)]
    assert np.array_equal(read(stored(pixels, False, extratags=tag)), np.rot90(pixels, -1))


@pytest.mark.parametrize(
    "data",
    [
        stored(values(np.uint8, 9, 7, 5).astype(np.int16), False),
        stored(values(np.uint8, 9, 7, 5).astype(np.uint32), False),
        tiff(values(np.uint8, 9, 7, 5), photometric="miniswhite", planarconfig="contig"),
    ],
    ids=["int16", "uint32", "miniswhite"],
)
def test_other_kinds_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"must have channels of 8 or 16 bits or of floats"):
        read(data)


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0.0, 0.99), flip=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_damage_ends_in_one_error(cut: float, flip: int, bit: int) -> None:
    whole = bytearray(stored(values(np.uint16, 20, 20, 5), True, compression="zlib"))
    whole[flip % len(whole)] ^= 1 << bit
    for data in (bytes(whole), bytes(whole[: int(cut * len(whole))])):
        try:
            read(data)
        except ImageError as error:
            assert "part.png" in str(error)
