"""Files in that are damaged, hostile or of another kind: a sentence each, never a traceback."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish.errors import ImageError
from blemish.images import (
    MAX_PIXELS,
    read_image,
    read_mask,
)
from pictures import COLOUR16, GREY8, NOISE, RNG, png16, png_of, read, saved, tiff, zeros


def test_missing_folder_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png.*No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png.*0 bytes"):
        read_image(tmp_path / "empty.png")


@pytest.mark.parametrize(
    "data",
    [b"hello", b"%PDF-1.4\n", b"<svg/>", b"\0" * 100, b"GIF89a", b"\x80\x04K\x01."],
    ids=["text", "pdf", "svg", "zeros", "gif", "pickle"],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"'part\.png' must be an image .* no such format"):
        read(data)


def test_postscript_never_starts_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("started"))
    with pytest.raises(ImageError):
        read(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of the damage before it fails
@pytest.mark.parametrize("part", [0.03, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_truncated_files_are_refused(kind: str, part: float) -> None:
    data = saved(Image.fromarray(NOISE), kind)
    with pytest.raises(ImageError, match=r"'part\.png' must be a whole image"):
        read(data[: int(len(data) * part)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", [0.1, 0.6, 0.95])
def test_truncated_16_bit_files_are_refused(part: float) -> None:
    deep = RNG.integers(0, 65536, (90, 80, 3), dtype=np.uint16)
    files = [
        png16(deep),
        png16(deep[..., :1]),
        tiff(deep, photometric="rgb"),
        tiff(deep, photometric="rgb", compression="zlib"),
    ]
    for data in files:
        with pytest.raises(ImageError, match="must be a whole image"):
            read(data[: int(len(data) * part)])


def test_pixels_that_end_early_are_refused() -> None:
    with pytest.raises(ImageError, match="must be a whole image"):
        read(png16(RNG.integers(0, 65536, (90, 80, 3), dtype=np.uint16), cut=20_000))


def test_masks_of_no_numbers_are_refused(tmp_path: Path) -> None:
    holes = np.where(GREY8 > 100, np.nan, 1.0).astype(np.float32)
    (tmp_path / "mask.tiff").write_bytes(tiff(holes, photometric="minisblack"))
    with pytest.raises(ImageError, match=r"mask.tiff' must hold finite numbers, but .* are NaN"):
        read_mask(tmp_path / "mask.tiff", (7, 5))


def test_bombs_are_refused_by_their_header() -> None:
    for width, height in ((30_000, 30_000), (4_000_000, 4_000_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(ImageError, match=f"at most {MAX_PIXELS // 10**6} megapixels, but is"):
            read(png_of(width, height, 16, 2, zlib.compress(b"")))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in KiB on Linux")
def test_a_header_that_promises_more_than_the_file_holds_costs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="must be a whole image"):
        read(png_of(20_000, 20_000, 8, 0, zlib.compress(b"")))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.slow
def test_20000_by_20000_is_read_beyond_pillows_limit() -> None:
    pixels = read(png_of(20_000, 20_000, 1, 0, zeros(20_000 * 2501)))
    assert pixels.shape == (20_000, 20_000, 1)
    assert not pixels.any()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PNG16", "TIFF16"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_damaged_bytes_give_pixels_or_a_sentence(kind: str, flips: list[tuple[int, int]]) -> None:
    small = NOISE[:12, :10]
    made = {
        "PNG16": lambda: png16(COLOUR16),
        "TIFF16": lambda: tiff(COLOUR16, photometric="rgb"),
    }.get(kind, lambda: saved(Image.fromarray(small), kind))
    data = bytearray(made())
    for position, change in flips:
        data[position % len(data)] ^= change
    try:
        pixels = read(bytes(data))
    except ImageError as error:
        assert str(error).endswith(".")
    else:
        assert pixels.dtype in (np.uint8, np.uint16)
