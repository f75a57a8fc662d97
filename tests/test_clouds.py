"""Depth, disparity, clouds, normals and poses, written with other tools and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blemish.clouds import (
    EYECANDIES_FOCAL,
    points_from_depth,
    read_depth,
    read_disparity,
    read_normals,
    read_pose,
    to_world,
)
from blemish.errors import DataError, ImageError
from blemish.scans import read_scan_file
from pictures import png16, tiff

RNG = np.random.default_rng(3)
CLOUD = RNG.normal(size=(9, 5, 3)).astype(np.float32)  # non-square, as rope and tire are
CLOUD[2, 1] = 0
DEPTH = RNG.integers(0, 65536, (6, 4), dtype=np.uint16)


def kept(folder: Path, data: bytes | str, name: str = "x") -> Path:
    file = folder / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_points_come_back_bit_by_bit(
    tmp_path: Path, compression: str | None, photometric: str
) -> None:
    options = {"planarconfig": "contig", "compression": compression, "photometric": photometric}
    points = read_scan_file(kept(tmp_path, tiff(CLOUD, **options), "1.tiff")).points
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, CLOUD)


@pytest.mark.parametrize(
    "data",
    [
        tiff(CLOUD.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        tiff(CLOUD.astype(np.float64), photometric="rgb"),
        tiff(CLOUD[..., 0]),
        tiff(CLOUD, photometric="rgb")[:60],
        b"II*\0 no tiff at all",
        b"II*\0\x08\0\0\0",
        b"x",
        png16(DEPTH[..., None]),
    ],
    ids=["planes", "double", "grey", "cut", "no tags", "no end", "a byte", "png"],
)
def test_what_is_no_cloud_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ImageError, match=r"32-bit floats a pixel|must hold \(H, W, 3\) points"):
        read_scan_file(kept(tmp_path, data, "x.tiff"))


def test_depth_is_decoded_to_metres(tmp_path: Path) -> None:
    file = kept(tmp_path, png16(DEPTH[..., None]), "0_depth.png")
    text = "normalization:\n  max: 2.5e+0\n  min: 0.25\n"
    depth = read_depth(file, kept(tmp_path, text, "0_info_depth.yaml"))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, DEPTH / 65535 * 2.25 + 0.25, rtol=1e-6)


@given(low=st.floats(-5, 5), wide=st.floats(1e-3, 10), flow=st.booleans())
def test_any_range_is_understood(
    tmp_path_factory: pytest.TempPathFactory, low: float, wide: float, flow: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    high = low + wide
    text = f"normalization: {{min: {low!r}, max: {high!r}}}" if flow else f"min: {low}\nmax: {high}"
    picture = kept(folder, png16(np.array([[[0], [65535]]], np.uint16)), "d.png")
    ends = read_depth(picture, kept(folder, text, "d.yaml"))
    np.testing.assert_allclose(ends, [[low, high]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "text", ["", "min: 1\nmax: 1", "min: 2\nmax: 1", "min: .\nmax: 3", "min: x"]
)
def test_range_without_two_numbers(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="min below max"):
        read_depth(tmp_path / "x.png", kept(tmp_path, text))


def test_range_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reading it stopped"):
        read_depth(tmp_path / "x.png", tmp_path / "none.yaml")


def test_disparity_keeps_its_units(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        read_disparity(kept(tmp_path, png16(DEPTH[..., None]))), DEPTH.astype(np.float32)
    )


def test_eight_bits_are_no_depth(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(ImageError, match="must be grey of 16 bits, but is uint8 of 1"):
        read_disparity(tmp_path / "1.png")


def test_points_of_depth_project_back_to_their_pixels() -> None:
    depth = RNG.uniform(0.5, 2, (6, 10)).astype(np.float32)
    x, y, z = np.moveaxis(points_from_depth(depth), 2, 0).astype(float)
    v, u = np.indices(depth.shape)
    np.testing.assert_allclose(EYECANDIES_FOCAL * x / z + 5, u, atol=1e-3)
    np.testing.assert_allclose(EYECANDIES_FOCAL * y / z + 3, v, atol=1e-3)
    np.testing.assert_array_equal(z, depth)


def test_world_and_back() -> None:
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, (1, 2, 3)
    there = to_world(CLOUD, pose)
    point = pose @ [*CLOUD[4, 2], 1]
    np.testing.assert_allclose(there[4, 2], point[:3], atol=1e-5)
    np.testing.assert_array_equal(there[2, 1], 0)
    np.testing.assert_allclose(to_world(there, np.linalg.inv(pose)), CLOUD, atol=1e-5)


def test_pose_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_pose(kept(tmp_path, "1 0 0 .5\n" * 4))[0], [1, 0, 0, 0.5])


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 2 3", "holds 1 x 3"), ("1 2 3 nan\n" * 4, "12 are finite"), ("one two", "stopped")],
)
def test_pose_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_pose(kept(tmp_path, text))


def test_normals_have_length_one_and_y_and_z_flipped(tmp_path: Path) -> None:
    pixels = np.full((2, 3, 3), 127, np.uint8)
    pixels[0, 0], pixels[1, 2] = (255, 128, 128), (127, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "n.png")
    normals = read_normals(tmp_path / "n.png")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=2), 1, atol=1e-6)
    np.testing.assert_allclose(normals[0, 0], [1, 0, 0], atol=0.01)
    np.testing.assert_allclose(normals[1, 2], np.array([0, -1, 1]) / np.sqrt(2), atol=0.01)
    quarter = np.eye(4)[[1, 0, 2, 3]]
    np.testing.assert_allclose(
        read_normals(tmp_path / "n.png", quarter), normals[..., [1, 0, 2]], atol=1e-6
    )


def test_grey_normals_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(ImageError, match="must be colour of 8 bits, but is uint8 of 1"):
        read_normals(tmp_path / "1.png")
