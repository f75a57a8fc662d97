"""Scans of every sensor, written by hand or other tools and read back; holes stay holes."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blemish.background import without_background
from blemish.clouds import points_from_depth, read_depth
from blemish.errors import BlemishError, ConfigError, DataError, ImageError, ShapeError
from blemish.exr import read_exr
from blemish.pointfiles import read_pcd, read_ply
from blemish.records import Sample
from blemish.scans import (
    Camera,
    Scan,
    read_depth_file,
    read_scan,
    read_scan_file,
    read_scene,
    scan_files,
    scan_of,
    scan_of_depth,
    scan_of_disparity,
)
from blemish.sensors import Sensor
from pictures import png16, tiff
from scan_files import exr, pcd, ply
from scenes import on_a_table

RNG = np.random.default_rng(5)
SIZE = (19, 7)  # more than a block of sixteen lines, and not square
POINTS = RNG.normal(size=(*SIZE, 3)).astype(np.float32)
POINTS[2, 3], POINTS[18, 6], POINTS[0, 0] = np.nan, 0, (0, 0, np.inf)
SEEN = np.ones(SIZE, np.bool_)
SEEN[2, 3] = SEEN[18, 6] = SEEN[0, 0] = False
DEPTH = RNG.uniform(0.4, 2, SIZE).astype(np.float32)
DEPTH[1, 1], DEPTH[5, 2], DEPTH[6, 6] = 0, np.nan, -1
CAMERA = Camera(focal=(80.0, 90.0), centre=(2.5, 8.0))


def kept(folder: Path, data: bytes, name: str) -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def npy(array: npt.NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def same(scan: Scan, points: npt.NDArray[Any], seen: npt.NDArray[np.bool_]) -> None:
    assert scan.points.dtype == np.float32
    np.testing.assert_array_equal(scan.seen, seen)
    np.testing.assert_array_equal(scan.points[seen], points[seen])
    assert not scan.points[~seen].any()


FILES = {
    "tiff": tiff(POINTS, photometric="rgb"),
    "npy": npy(POINTS.astype(np.float64)),
    "ply": ply(POINTS),
    "ply ascii": ply(POINTS, "ascii"),
    "ply big": ply(POINTS.astype(np.float64), "binary_big_endian", told="comment"),
    "pcd": pcd(POINTS),
    "pcd ascii": pcd(POINTS, "ascii"),
    "exr": exr(dict(zip("XYZ", np.moveaxis(POINTS, 2, 0), strict=True)), 3),
    "exr rgb": exr(dict(zip("RGB", np.moveaxis(POINTS, 2, 0), strict=True)), 2, corner=(-3, 40)),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_file_of_points_gives_the_same_scan(tmp_path: Path, kind: str) -> None:
    scan = read_scan_file(kept(tmp_path, FILES[kind], f"scan.{kind.split(maxsplit=1)[0]}"))
    same(scan, POINTS, SEEN)


@pytest.mark.parametrize("name", ["a.ply", "a.pcd"])
def test_files_without_rows_and_columns_need_a_size(tmp_path: Path, name: str) -> None:
    data = ply(POINTS, told="") if name == "a.ply" else pcd(POINTS, flat=True)
    file = kept(tmp_path, data, name)
    same(read_scan_file(file, SIZE), POINTS, SEEN)
    with pytest.raises(ImageError, match="does not say how many rows and columns"):
        read_scan_file(file)
    with pytest.raises(ImageError, match="for 5 x 7"):
        read_scan_file(file, (5, 7))


def test_holes_may_be_marked_otherwise_than_by_zeros() -> None:
    points = np.zeros((2, 2, 3))
    points[1, 1] = np.nan
    seen = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(scan_of(points, seen).seen, [[True, False], [True, False]])


@pytest.mark.parametrize(
    ("name", "data", "scale"),
    [
        ("d.tif", tiff(DEPTH), 1.0),
        ("d.tiff", tiff(np.nan_to_num(DEPTH * 1000).clip(0).astype(np.uint16)), 0.001),
        ("d.npy", npy(DEPTH), 1.0),
        ("d.exr", exr({"Z": DEPTH, "A": DEPTH * 0}, 3), 1.0),
        ("d.exr", exr({"anything": DEPTH}), 1.0),
        ("d.png", png16(np.nan_to_num(DEPTH * 1000).clip(0).astype(np.uint16)[..., None]), 0.001),
    ],
)
def test_depth_is_placed_by_the_camera(
    tmp_path: Path, name: str, data: bytes, scale: float
) -> None:
    scan = read_depth_file(kept(tmp_path, data, name), CAMERA, scale=scale)
    seen = DEPTH > 0
    np.testing.assert_array_equal(scan.seen, seen)
    x, y, z = np.moveaxis(scan.points[seen].astype(float), 1, 0)
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(z, DEPTH[seen], atol=0.001)
    np.testing.assert_allclose(80 * x / z + 2.5, columns, atol=1e-3)
    np.testing.assert_allclose(90 * y / z + 8, rows, atol=1e-3)


def test_disparity_is_depth_by_the_baseline(tmp_path: Path) -> None:
    near = np.divide(80 * 0.12, DEPTH, out=np.zeros(SIZE), where=DEPTH > 0)
    same_depth = scan_of_disparity(near, CAMERA, 0.12)
    expected = scan_of_depth(DEPTH, CAMERA)
    np.testing.assert_array_equal(same_depth.seen, expected.seen)
    np.testing.assert_allclose(same_depth.points, expected.points, rtol=1e-5, atol=1e-6)
    stored = np.rint(near * 256).astype(np.uint16)[..., None]
    file = kept(tmp_path, png16(stored), "kitti.png")
    read = read_depth_file(file, CAMERA, scale=1 / 256, baseline=0.12)
    np.testing.assert_array_equal(read.seen, expected.seen)
    np.testing.assert_allclose(read.points, expected.points, rtol=1e-2, atol=1e-3)


def test_tiny_disparities_are_holes_not_infinities() -> None:
    scan = scan_of_disparity(np.array([[1e-300, 1.0]]), CAMERA, 1e30)
    assert scan.seen.tolist() == [[False, True]]
    assert np.isfinite(scan.points).all()


def test_the_axis_meets_the_middle_unless_told() -> None:
    points = scan_of_depth(np.ones((3, 5)), Camera(focal=(1, 1))).points
    assert points[1, 2].tolist() == [0, 0, 1]
    assert points[0, 0].tolist() == [-2, -1, 1]


# what a sample has


def sample(folder: Path, **scan: Any) -> Sample:
    return Sample(image=folder / "i.png", split="train", defect_type="good", **scan)


def test_layouts_without_a_sensor(tmp_path: Path) -> None:
    holes = np.array([[0, 7]], np.uint16)
    near = kept(tmp_path, png16(holes[..., None]), "n.png")
    scan = read_scan(sample(tmp_path, disparity=near))
    assert scan.seen.tolist() == [[False, True]]
    assert scan.points[0, 1].tolist() == [1, 0, 7]
    points = kept(tmp_path, FILES["npy"], "p.npy")
    same(read_scan(sample(tmp_path, points=points), SIZE), POINTS, SEEN)
    told = kept(tmp_path, b"min: 1\nmax: 2", "d.yaml")
    deep = sample(tmp_path, depth=near, depth_range=told)
    assert scan_files(deep) == (near, told)
    z = points_from_depth(read_depth(near, told))
    np.testing.assert_array_equal(read_scan(deep).points, z)


@pytest.mark.parametrize("kind", FILES)
def test_points_of_any_unit(tmp_path: Path, kind: str) -> None:
    file = kept(tmp_path, FILES[kind], f"scan.{kind.split(maxsplit=1)[0]}")
    sensor = Sensor(kind="points", pattern="{stem}.x", scale=0.001)
    scan = read_scan(sample(tmp_path, points=file, sensor=sensor), SIZE)
    np.testing.assert_array_equal(scan.seen, SEEN)
    np.testing.assert_allclose(scan.points[SEEN], POINTS[SEEN] * 0.001, rtol=1e-6)


def test_depth_and_disparity_with_a_camera(tmp_path: Path) -> None:
    file = kept(tmp_path, npy(DEPTH * 1000), "d.npy")
    sensor = Sensor(kind="depth", pattern="{stem}.npy", camera=CAMERA, scale=0.001)
    one = sample(tmp_path, depth=file, depth_range=tmp_path / "none.yaml", sensor=sensor)
    expected = scan_of_depth(DEPTH, CAMERA)
    scan = read_scan(one, SIZE)
    assert scan_files(one) == (file,)
    np.testing.assert_array_equal(scan.seen, expected.seen)
    np.testing.assert_allclose(scan.points, expected.points, rtol=1e-5, atol=1e-7)
    near = np.divide(80 * 0.12, DEPTH, out=np.zeros(SIZE), where=DEPTH > 0)
    file = kept(tmp_path, exr({"Y": (near * 2).astype(np.float32)}), "n.exr")
    sensor = Sensor(kind="disparity", pattern="{stem}.exr", camera=CAMERA, baseline=0.12, scale=0.5)
    scan = read_scan(sample(tmp_path, disparity=file, sensor=sensor), SIZE)
    np.testing.assert_array_equal(scan.seen, expected.seen)
    np.testing.assert_allclose(scan.points, expected.points, rtol=1e-5, atol=1e-6)


def test_disparity_without_a_camera_keeps_its_pixels(tmp_path: Path) -> None:
    file = kept(tmp_path, npy(DEPTH), "n.npy")  # with a zero, a negative and NaN
    sensor = Sensor(kind="disparity", pattern="{stem}.npy", scale=2)
    scan = read_scan(sample(tmp_path, disparity=file, sensor=sensor), SIZE)
    np.testing.assert_array_equal(scan.seen, DEPTH > 0)
    rows, columns = np.nonzero(scan.seen)
    expected = np.stack([columns, rows, 2 * DEPTH[scan.seen]], axis=1)
    np.testing.assert_array_equal(scan.points[scan.seen], expected)
    assert not scan.points[~scan.seen].any()


def test_a_file_that_tells_its_size_is_believed(tmp_path: Path) -> None:
    turned = (SIZE[1], SIZE[0])  # as many points: arranged so, they would be in a muddle
    for name in ("ply", "pcd"):
        file = kept(tmp_path, FILES[name], f"a.{name}")
        said = rf"a\.{name}' must lie pixel on pixel with .*i\.png' of 7 x 19, but is 19 x 7"
        with pytest.raises(ImageError, match=said):
            read_scan(sample(tmp_path, points=file), turned)


def test_files_of_points_that_do_not_fit_name_both(tmp_path: Path) -> None:
    flat = kept(tmp_path, ply(POINTS, told=""), "flat.ply")
    same(read_scan(sample(tmp_path, points=flat), SIZE), POINTS, SEEN)
    for one, size, said in (
        (sample(tmp_path, points=flat), (5, 7), r"flat\.ply.*133 vertices for 5 x 7 .*i\.png"),
        (sample(tmp_path, points=flat), None, r"flat\.ply.*how many rows .*i\.png"),
        (sample(tmp_path, points=tmp_path / "no.npy"), SIZE, r"no\.npy.*belongs to .*i\.png"),
        (sample(tmp_path, depth=flat, depth_range=flat), SIZE, r"reading it stopped.*i\.png"),
    ):
        with pytest.raises(ImageError, match=said):
            read_scan(one, size)


def test_what_nobody_told_is_an_error(tmp_path: Path) -> None:
    assert scan_files(sample(tmp_path)) == ()
    with pytest.raises(DataError, match=r"i\.png must come with points, depth or disparity.*--poi"):
        read_scan(sample(tmp_path))
    with pytest.raises(ConfigError, match=r"d\.npy' must come with the camera.*--focal FX\[,FY\]"):
        read_scan(sample(tmp_path, depth=kept(tmp_path, npy(DEPTH), "d.npy")))


def test_the_part_alone_if_the_sensor_says_so(tmp_path: Path) -> None:
    scene, *_ = on_a_table()
    file, masks = kept(tmp_path, npy(scene.points), "s.npy"), tmp_path / "masks"
    before = file.read_bytes(), file.stat().st_mtime_ns
    told = Sensor(kind="points", pattern="{stem}.npy", background=True)
    one = sample(tmp_path, points=file, sensor=told)
    expected = without_background(scene)
    for masks_or_none in (None, masks, masks):
        part = read_scan(one, None, masks_or_none)
        np.testing.assert_array_equal(part.seen, expected.seen)
        np.testing.assert_array_equal(part.points, expected.points)
        assert masks.is_dir() == (masks_or_none is not None)
    assert len(list(masks.iterdir())) == 1
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    for left in (replace(one, sensor=None), replace(one, sensor=replace(told, background=False))):
        np.testing.assert_array_equal(read_scan(left, None, masks).seen, scene.seen)
    np.testing.assert_array_equal(read_scene(one).seen, scene.seen)


def test_the_part_of_a_scan_in_millimetres(tmp_path: Path) -> None:
    scene, *_ = on_a_table()
    one = sample(
        tmp_path,
        points=kept(tmp_path, npy(scene.points.astype(np.float64) * 1000), "s.npy"),
        sensor=Sensor(kind="points", pattern="{stem}.npy", background=True),
    )
    with pytest.raises(
        ImageError, match=r"s\.npy' must be in metres .* apart\. Tell --depth-scale"
    ):
        read_scan(one)
    assert one.sensor is not None
    part = read_scan(replace(one, sensor=replace(one.sensor, scale=0.001)))
    assert (part.seen != without_background(scene).seen).mean() < 1e-3


HALF = exr({"Y": DEPTH.astype(np.float16)}, 2)


def test_half_floats_and_whole_numbers_are_read(tmp_path: Path) -> None:
    half = read_exr(kept(tmp_path, HALF, "h.exr"))["Y"]
    np.testing.assert_array_equal(half, DEPTH.astype(np.float16).astype(np.float32))
    counts = np.arange(6, dtype=np.uint32).reshape(2, 3)
    whole = read_exr(kept(tmp_path, exr({"id": counts}), "i.exr"))["id"]
    np.testing.assert_array_equal(whole, counts)


# Written by the reference implementation (OpenEXR 3.5, ZIP): a picture of 2 x 12, channel Z.
REFERENCE = (
    "b}umj0ssI2V`yP+Ze?t90ApxuX>)V{6951JS^xq70000000031000310001EZ*6dLWpi_BZ*Bl%Z*6dLWpi_BZ*B"
    "kq00003WMOn+S7~l!Z+8G<Z+J3k01yBG000000000001E&B009610Ay)%aBN|DS7~l!Z+8G<Z+J3k01yBG000000"
    "000001E&B009610BmV)WlwTsWpV&)X>Mgta%5$400961003}lcx7xsb8uy2bW&k-X>R~#Y;R$700aO40001hKXYS"
    "pWo2$xX>Me1cSB`vbY*e?b~0uF2mk;80000000000b7OL4Wo}n#Ze(wFS7~H)XaHtxZ((!*1ONa4004kLba`-P0C"
    "RM5X>Ml#4FCWDb7Ns{Y-w&~X>DO=WdJ$>0000000000001cf004MiV`yk_IN)#qlble%pm9tHlicsP-|;^qCV9ZY"
    "UMJZIg9HH9H7Cy"
)


def test_a_file_of_the_reference_implementation_is_read(tmp_path: Path) -> None:
    found = read_exr(kept(tmp_path, base64.b85decode(REFERENCE), "r.exr"))
    expected = np.tile(np.array([[0.5, 1.5, np.nan], [2.25, -1, 1e9]], np.float32), (1, 4))
    assert list(found) == ["Z"]
    np.testing.assert_array_equal(found["Z"], expected)


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


EXR = exr({"Z": DEPTH}, 3)
NAMED = EXR.index(b"compression\0compression\0") + len(b"compression\0compression\0") + 4


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" + EXR, "does not begin as one"),
        (EXR[:4] + b"\2\2\0\0" + EXR[8:], "tiled, deep or of several parts"),
        (EXR[:NAMED] + b"\4" + EXR[NAMED + 1 :], "compression is number 4"),
        (EXR[:-30], "."),
        (edited(EXR, b"dataWindow", b"dataWIndow"), "dataWindow"),
        (exr({"Z": DEPTH})[:-9], "cut short"),
        (edited(EXR, b"\0\0\0\0\1\0\0\0\1\0\0\0", b"\0\0\0\0\2\0\0\0\1\0\0\0"), "subsampled"),
        (EXR[:60], "."),
        (b"", "empty"),
    ],
)
def test_exr_files_that_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_exr(kept(tmp_path, data, "a.exr"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (edited(ply(POINTS), b"ply", b"plx"), "does not begin"),
        (edited(ply(POINTS), b"format binary", b"farmat binary"), "does not say its format"),
        (edited(ply(POINTS), b"binary_little_endian", b"sideways"), "sideways"),
        (edited(ply(POINTS), b"element vertex", b"element mesh"), "'mesh', not vertex"),
        (edited(ply(POINTS), b"property uchar red", b"property list int int r"), "have lists"),
        (edited(ply(POINTS), b"vertex 133", b"vertex 132"), "132 vertices for 19 x 7"),
        (edited(ply(POINTS), b"float z", b"float w"), "z"),
        (edited(ply(POINTS), b"end_header", b"the end"), "no line 'end_header'"),
        (ply(POINTS)[:-1], "cut short"),
        (ply(POINTS, "ascii")[:-40], "cut short"),
        (edited(ply(POINTS, "ascii"), b"nan", b"nun"), "nun"),
    ],
)
def test_ply_files_that_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_ply(kept(tmp_path, data, "a.ply"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (edited(pcd(POINTS), b"DATA binary", b"DATA binary_compressed"), "binary_compressed"),
        (edited(pcd(POINTS), b"FIELDS x", b"FIELDS w"), "x"),
        (edited(pcd(POINTS), b"TYPE F F U F", b"TYPE F F U"), "zip"),
        (edited(pcd(POINTS), b"WIDTH 7", b"WIDTH 0"), "0"),
        (edited(pcd(POINTS), b"SIZE 4 4", b"SIZE 4 9"), "'<f9' not understood"),
        (pcd(POINTS)[:-1], "cut short"),
        (b"WIDTH 2\n", "no line 'DATA'"),
    ],
)
def test_pcd_files_that_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_pcd(kept(tmp_path, data, "a.pcd"))


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "eight.png")
    for name, data, said in (
        ("a.obj", b"v 0 0 0", "ends in '.obj'"),
        ("a.npy", npy(DEPTH), r"\(H, W, 3\) points, but holds numbers of shape"),
        ("b.npy", npy(np.array(["x"])), "holds no numbers"),
        ("c.npy", npy(np.array([{}]), allow_pickle=True), "NPY file of numbers"),
        ("d.npy", npy(POINTS)[:-5], "NPY file of numbers"),
        ("a.tif", tiff(DEPTH), "points, but holds"),
        ("b.tif", tiff(DEPTH.astype(np.float64)), "32-bit floats"),
        ("a.exr", EXR, "X, Y and Z, or R, G and B"),
        ("none.ply", None, "readable"),
    ):
        if data is not None:
            kept(tmp_path, data, name)
        with pytest.raises(ImageError, match=said):
            read_scan_file(tmp_path / name)
    for name, said in (
        ("eight.png", "grey of 16 bits"),
        ("a.obj", "ends in '.obj'"),
        ("two.exr", "one channel, or one of"),
        ("three.npy", r"\(H, W\) depth or disparity"),
    ):
        kept(tmp_path, exr({"p": DEPTH, "q": DEPTH}), "two.exr")
        kept(tmp_path, npy(POINTS), "three.npy")
        with pytest.raises(ImageError, match=said):
            read_depth_file(tmp_path / name, CAMERA)


def test_numbers_that_no_camera_has(tmp_path: Path) -> None:
    for focal, centre in (((0.0, 1.0), None), ((1.0, np.inf), None), ((1, 1), (np.nan, 0.0))):
        with pytest.raises(ConfigError, match="two focal lengths above 0"):
            Camera(focal=focal, centre=centre)
    with pytest.raises(ConfigError, match=r"baseline .* above 0, but is -1"):
        scan_of_disparity(DEPTH, CAMERA, -1.0)
    with pytest.raises(ConfigError, match=r"scale .* above 0, but is nan"):
        read_depth_file(tmp_path / "x.npy", CAMERA, scale=np.nan)
    with pytest.raises(ShapeError, match=r"depth must be \(H, W\)"):
        scan_of_depth(POINTS, CAMERA)
    with pytest.raises(ShapeError, match=r"points of a scan must be \(H, W, 3\)"):
        scan_of(DEPTH)
    with pytest.raises(ShapeError, match="mask of a scan must have"):
        scan_of(POINTS, SEEN[:-1])


@given(
    kind=st.sampled_from(["ply", "ply ascii", "pcd", "pcd ascii", "exr", "npy", "tiff"]),
    where=st.floats(0, 1, exclude_max=True),
    cut=st.floats(0.2, 1),
    byte=st.integers(0, 255),
)
def test_damage_is_an_error_or_numbers_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, where: float, cut: float, byte: int
) -> None:
    hurt = bytearray(FILES[kind])
    limit = min(len(hurt), 400)  # mostly headers
    hurt[int(where * limit)] = byte
    name = f"hurt.{kind.split(maxsplit=1)[0]}"
    file = kept(tmp_path_factory.getbasetemp(), bytes(hurt[: max(1, int(cut * len(hurt)))]), name)
    try:
        scan = read_scan_file(file)
    except BlemishError:
        return
    assert np.isfinite(scan.points).all()
    assert scan.seen.shape == scan.points.shape[:2]
