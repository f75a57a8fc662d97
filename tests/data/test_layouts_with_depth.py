"""MVTec 3D-AD, RGB with disparity, and Eyecandies on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import grow, kinds, mask

from blemish.data import categories, open_data
from blemish.data.eyecandies import KINDS, read_eyecandies
from blemish.errors import DataError
from blemish.images import read_image
from blemish.scans import Camera, read_scan
from blemish.sensors import Sensor
from conftest import shared_data


def rope(root: Path, third: str = "xyz", ending: str = ".tiff") -> Path:
    for kind, count in (
        ("train/good", 3), ("validation/good", 2), ("test/good", 1), ("test/cut", 2),
    ):  # fmt: skip
        names = [f"{kind}/{part}/{n:03}{end}" for n in range(count)
                 for part, end in (("rgb", ".png"), (third, ending))]  # fmt: skip
        grow(root, *names)
        if kind.startswith("test"):
            grow(root, *(f"{kind}/gt/{n:03}.png" for n in range(count)))
    return grow(root, "calibration/camera_parameters.json")


def test_mvtec3d_is_read_as_it_is(tmp_path: Path) -> None:
    root = rope(tmp_path)
    data = open_data(root)
    assert data.layout == "mvtec3d"
    assert [s.image.name for s in data.train] == ["000.png", "001.png", "002.png"]
    assert kinds(data.test) == {"cut": 2, "good": 1}
    first = data.test[0]
    assert first.points == root / "test/cut/xyz/000.tiff"
    assert first.mask == root / "test/cut/gt/000.png"
    assert (first.disparity, first.depth, data.test[-1].mask) == (None, None, None)
    assert data.notes == (f"{root / 'validation/good/rgb'}: good parts not used: 2.",)


def test_disparity_beside_photographs(tmp_path: Path) -> None:
    data = open_data(rope(tmp_path, "disparity", ".png"))
    assert data.layout == "rgbd"
    assert data.train[1].disparity == tmp_path / "train/good/disparity/001.png"
    assert data.train[1].points is None


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("train/good/xyz/001.tiff", r"001\.png must have a point cloud.* no .*xyz.001\.\*"),
        ("train/good/rgb/001.png", r"001\.tiff must be the point cloud .*rgb.001\.\*"),
        ("test/cut/gt/001.png", r"001\.png must have a mask.* no .*gt.001\.\*"),
        ("test/cut/rgb/001.png", r"001\.tiff must be the point cloud .*rgb.001\.\*"),
    ],
)
def test_a_missing_partner_names_both(tmp_path: Path, lost: str, said: str) -> None:
    root = rope(tmp_path)
    (root / lost).unlink()
    with pytest.raises(DataError, match=said):
        open_data(root)


def test_defects_to_train_on_are_refused(tmp_path: Path) -> None:
    root = grow(rope(tmp_path), "train/hole/rgb/1.png", "train/hole/xyz/1.tiff")
    with pytest.raises(DataError, match="must hold good parts only"):
        open_data(root)


def test_without_masks_of_defects(tmp_path: Path) -> None:
    grow(tmp_path, "train/good/rgb/1.png", "train/good/xyz/1.tiff")
    grow(tmp_path, "test/hole/rgb/1.png", "test/hole/xyz/1.tiff")
    assert [s.mask for s in open_data(tmp_path).test] == [None]


def test_points_in_other_formats_and_what_else_lies_there(tmp_path: Path) -> None:
    root = rope(tmp_path, "xyz", ".NPY")
    grow(root, "train/good/xyz/000.json", "train/good/xyz/preview.jpg")
    assert open_data(root).train[0].points == root / "train/good/xyz/000.NPY"


@pytest.mark.parametrize("ending", [".png", ".exr", ".npy", ".tiff"])
def test_depth_needs_a_camera(tmp_path: Path, ending: str) -> None:
    root = rope(tmp_path, "depth", ending)
    said = r"000.* must come with the camera .*--depth .*--focal FX.*--depth-scale.*good.rgb\.$"
    with pytest.raises(DataError, match=said):
        open_data(root)
    sensor = Sensor(kind="depth", pattern="../depth/{stem}.*", camera=Camera(focal=(9, 9)))
    data = open_data(root, sensor=sensor)
    assert (data.layout, kinds(data.test)) == ("depth", {"cut": 2, "good": 1})
    first = data.test[0]
    assert (first.depth, first.sensor) == (root / f"test/cut/depth/000{ending}", sensor)
    assert first.mask == root / "test/cut/gt/000.png"
    assert (first.points, first.disparity, first.depth_range) == (None, None, None)
    (root / f"train/good/depth/001{ending}").unlink()
    with pytest.raises(DataError, match=r"001\.png must have a depth.* no .*depth.001\.\*"):
        open_data(root, sensor=sensor)


def test_points_are_taken_before_depth(tmp_path: Path) -> None:
    root = rope(rope(tmp_path, "depth", ".png"))
    assert open_data(root).layout == "mvtec3d"


def test_several_classes(tmp_path: Path) -> None:
    rope(tmp_path / "rope")
    sweet(tmp_path / "Lollipop")
    assert [name for name, _ in categories(tmp_path)] == ["Lollipop", "rope"]


def test_real_road() -> None:
    data = open_data(shared_data("road_rgbd"))
    assert (data.layout, data.notes, len(data.train)) == ("rgbd", (), 279)
    assert kinds(data.test) == {"good": 130, "pothole": 79}
    assert all((s.mask is not None) == s.is_defect for s in data.test)
    scan = read_scan(data.test[0], read_image(data.test[0].image).shape[:2])
    rows, columns = np.nonzero(scan.seen)
    np.testing.assert_array_equal(scan.points[scan.seen][:, :2], np.stack([columns, rows], 1))
    assert scan.points[scan.seen][:, 2].min() > 0


# Eyecandies


def sweet(root: Path) -> Path:
    """Two good parts in train, with three digits, and in test_public, with two, one good part, one
    with a dent, and one with bumps and wrong colours."""
    items = (*(f"image_{n}.png" for n in range(6)), "depth.png", "info_depth.yaml", "normals.png")
    for split, numbers in (
        ("train", ("000", "001")), ("val", ("00",)), ("test_public", ("00", "01", "02")),
        ("test_private", ("000",)),
    ):  # fmt: skip
        names = [f"{split}/data/{n}_{item}" for n in numbers for item in (*items, "pose.txt")]
        grow(root, *names)
    data = root / "test_public" / "data"
    for number, wrong in (("00", ()), ("01", ("dents",)), ("02", ("bumps", "colors"))):
        mask(data / f"{number}_mask.png", 4 * bool(wrong))
        for kind in KINDS:
            mask(data / f"{number}_{kind}_mask.png", 4 * (kind in wrong))
    return grow(root, "test_public/data/metadata.yaml", "train/data/000_metadata.yaml")


def test_eyecandies_is_read_as_it_is(tmp_path: Path) -> None:
    root = sweet(tmp_path)
    data = open_data(root)
    assert data.layout == "eyecandies"
    assert [s.image.name for s in data.train] == ["000_image_4.png", "001_image_4.png"]
    assert [(s.image.name, s.defect_type) for s in data.test] == [
        ("00_image_4.png", "good"),
        ("01_image_4.png", "dents"),
        ("02_image_4.png", "combined"),
    ]
    here = root / "test_public" / "data"
    dent = data.test[1]
    assert (dent.mask, dent.depth) == (here / "01_mask.png", here / "01_depth.png")
    assert (dent.depth_range, dent.normals) == (
        here / "01_info_depth.yaml",
        here / "01_normals.png",
    )
    assert (dent.pose, data.test[0].mask) == (here / "01_pose.txt", None)
    assert data.notes == (
        f"{root / 'val'}: good parts not used: 1.",
        f"{root / 'test_private'}: parts without labels not used: 1.",
    )


def test_eyecandies_under_another_light(tmp_path: Path) -> None:
    assert read_eyecandies(sweet(tmp_path), light=5).train[0].image.name == "000_image_5.png"


def test_eyecandies_defect_of_no_kind(tmp_path: Path) -> None:
    root = sweet(tmp_path)
    (root / "test_public/data/01_dents_mask.png").unlink()
    assert kinds(open_data(root).test) == {"good": 1, "defect": 1, "combined": 1}


@pytest.mark.parametrize("item", ["depth.png", "info_depth.yaml", "pose.txt", "mask.png"])
def test_eyecandies_missing_item_names_both(tmp_path: Path, item: str) -> None:
    root = sweet(tmp_path)
    (root / "test_public" / "data" / f"01_{item}").unlink()
    with pytest.raises(DataError, match=rf"01_\w+\.png must have .*01_{item} beside it"):
        open_data(root)


def test_eyecandies_without_labels_cannot_be_evaluated(tmp_path: Path) -> None:
    grow(tmp_path, "test_private/data/000_image_4.png", "test_private/data/000_depth.png")
    with pytest.raises(DataError, match=r"neither has images.*without labels not used: 1"):
        open_data(tmp_path)
