"""Files out: whole or not at all, and the same when they come back."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from blemish import images
from blemish.errors import DataError, ImageError
from blemish.images import (
    read_image,
    read_map,
    write_map,
    write_whole,
)
from pictures import COLOUR8, GREY8, RNG, tiff

# ---------------------------------------------------------------- maps


def test_maps_come_back_to_the_bit(tmp_path: Path) -> None:
    map = RNG.standard_normal((37, 53)).astype(np.float32)
    map[0, :4] = [0.0, -0.0, 1e-42, 3.4e38]
    path = tmp_path / "deep" / "x.map.tiff"
    write_map(path, map)
    assert read_map(path).tobytes() == map.tobytes()
    assert tifffile.imread(path).tobytes() == map.tobytes()
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).tobytes() == map.tobytes()
    write_map(path, map[::2, ::-1])  # not contiguous
    assert np.array_equal(read_map(path), map[::2, ::-1])
    assert [entry.name for entry in path.parent.iterdir()] == ["x.map.tiff"]


@pytest.mark.parametrize("strip", [1, 100, 4000, 2**23])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 401), (1000, 3)])
def test_maps_in_strips_are_read_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(images, "STRIP", strip)
    map, path = RNG.standard_normal(size).astype(np.float32), tmp_path / "x.tiff"
    write_map(path, map)
    assert np.array_equal(read_map(path), map)
    assert np.array_equal(tifffile.imread(path), map)
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), map)
    with tifffile.TiffFile(path) as opened:
        assert len(opened.pages[0].dataoffsets) == -(-size[0] // max(1, strip // (4 * size[1])))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tiff"]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_are_taken_over_band_by_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    picture = Image.fromarray(RNG.integers(0, 256, (37, 53, 3), np.uint8)).convert(mode)
    picture.save(tmp_path / "x.png")
    for strip in (1, 53, 200, 2**23):
        monkeypatch.setattr(images, "STRIP", strip)
        pixels = read_image(tmp_path / "x.png")
        assert np.array_equal(pixels.squeeze(), np.asarray(picture))


def test_maps_of_other_tools(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", GREY8.astype(np.float32), compression="zlib")
    assert np.array_equal(read_map(tmp_path / "a.tiff"), GREY8)


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tiff"
    for bad in (np.array([[1, np.nan]]), np.array([[np.inf, 1]])):
        write_map(path, bad.astype(np.float32))
        with pytest.raises(ImageError, match=r"x\.tiff' must be a map .* and 1 values"):
            read_map(path)
    path.write_bytes(tiff(COLOUR8, photometric="rgb"))
    with pytest.raises(ImageError, match=r"shape \(7, 5, 3\)"):
        read_map(path)
    path.write_bytes(tiff(GREY8 / 255.0, photometric="minisblack"))
    with pytest.raises(ImageError, match="one-channel TIFF map, but decoding stopped"):
        read_map(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="no such format"):
        read_map(path)
    with pytest.raises(ImageError, match="No such file"):
        read_map(tmp_path / "missing.tiff")


# ---------------------------------------------------------------- whole or not at all


def test_write_whole_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    write_whole(path, b"one")
    write_whole(path, b"two", durable=True)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_write_whole_takes_the_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"one")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("durable", [False, True])
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if durable else Path, "fsync" if durable else "replace", full)
    with pytest.raises(
        DataError, match=r"a\.bin' must be writable.*No space left.*free some space"
    ):
        write_whole(path, b"new", durable=durable)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    script = f"""
import resource, signal
from pathlib import Path
from blemish.errors import DataError
from blemish.images import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path({str(tmp_path / "a.bin")!r}), bytes(100_000))
except DataError as error:
    print(error)
"""
    (tmp_path / "a.bin").write_bytes(b"old")
    source = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | source,
    )
    assert "a.bin' must be writable" in done.stdout, done.stderr
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    for path in (tmp_path / "file" / "below.bin", tmp_path, Path("/proc/none/a.bin")):
        with pytest.raises(DataError, match="must be writable"):
            write_whole(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_ctrl_c_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
