"""Photographs as they come from a camera, and the folders that only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import grow, numbered

from blemish.data import open_data
from blemish.errors import DataError


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere must be .* does not exist"):
        open_data(tmp_path / "nowhere")


def test_file_instead_of_folder(tmp_path: Path) -> None:
    grow(tmp_path, "1.png")
    with pytest.raises(DataError, match="Give the folder it lies in") as error:
        open_data(tmp_path / "1.png")
    assert str(error.value).endswith(str(tmp_path))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.png \.jpg"):
        open_data(tmp_path)


def test_nothing_but_good_parts(tmp_path: Path) -> None:
    data = open_data(grow(tmp_path / "gute Teile é", "1.png", "monday/2.jpg", "monday/am/3.BMP"))
    assert data.layout == "images"
    assert [sample.image.name for sample in data.train] == ["1.png", "2.jpg", "3.BMP"]
    assert {sample.split for sample in data.train} == {"train"}
    assert [s.image for s in data.test] == [s.image for s in data.train]
    assert {(s.split, s.defect_type) for s in data.test} == {("test", "good")}


@pytest.mark.parametrize("good", ["good", "ok", "normal", "OK", "Good"])
def test_good_beside_defects(tmp_path: Path, good: str) -> None:
    grow(tmp_path, *numbered(good, 3), f"{good}/monday/1.png", *numbered("scratch", 2))
    grow(tmp_path, "dent/1.png", "docs/readme.txt", "overview.png")
    data = open_data(str(tmp_path))
    assert data.layout == "types"
    assert len(data.train) == 4
    assert {(s.split, s.defect_type) for s in data.train} == {("train", "good")}
    kinds = [sample.defect_type for sample in data.test]
    assert {kind: kinds.count(kind) for kind in kinds} == {"good": 4, "scratch": 2, "dent": 1}
    assert {s.split for s in data.test} == {"test"}
    assert [s.image for s in data.test] == sorted(s.image for s in data.test)
    assert data.notes == (f"{tmp_path}: images outside of its sub-folders not used: 1.",)


@pytest.mark.parametrize("masks", ["ground_truth", "masks"])
def test_masks_beside(tmp_path: Path, masks: str) -> None:
    grow(tmp_path, "good/1.png", "dent/1.jpg", "dent/line 2/1.jpg", "stain/1.jpg")
    grow(tmp_path, f"{masks}/dent/1_mask.png", f"{masks}/dent/line 2/1.png")
    data = open_data(tmp_path)
    found = [s.mask and s.mask.relative_to(tmp_path / masks).as_posix() for s in data.test]
    assert found == ["dent/1_mask.png", "dent/line 2/1.png", None, None]


def test_image_without_mask(tmp_path: Path) -> None:
    grow(tmp_path, "ok/1.png", "dent/1.png", "dent/2.png", "masks/dent/1.png")
    with pytest.raises(DataError, match=r"dent.2\.png must have a mask.*masks.dent.2_mask\.png"):
        open_data(tmp_path)


def test_masks_for_a_kind_without_images(tmp_path: Path) -> None:
    grow(tmp_path, "ok/1.png", "masks/dent/1.png")
    with pytest.raises(DataError, match=r"masks.dent.1\.png must be the mask of an image"):
        open_data(tmp_path)


def test_masks_among_the_images(tmp_path: Path) -> None:
    grow(tmp_path, "good/1.png", "dent/1.png", "dent/1_mask.png")
    with pytest.raises(DataError, match=r"1_mask\.png must be a photograph.*ground_truth"):
        open_data(tmp_path)


def test_two_folders_of_good_parts(tmp_path: Path) -> None:
    grow(tmp_path, "good/1.png", "OK/1.png")
    with pytest.raises(DataError, match="must have one folder of good parts, but it has OK, good"):
        open_data(tmp_path)


def test_good_without_images(tmp_path: Path) -> None:
    grow(tmp_path, "good/readme.txt", "dent/1.png")
    with pytest.raises(DataError, match="good must hold images"):
        open_data(tmp_path)


@pytest.mark.parametrize("folder", ["a", "good", "dent"])
def test_two_images_that_differ_in_suffix_only(tmp_path: Path, folder: str) -> None:
    if folder == "dent":
        grow(tmp_path, "good/1.png")
    grow(tmp_path, f"{folder}/1.png", f"{folder}/1.tif")
    with pytest.raises(DataError, match=r"1\.png and .*1\.tif"):
        open_data(tmp_path)


def test_same_name_in_two_folders_is_fine(tmp_path: Path) -> None:
    assert len(open_data(grow(tmp_path, "monday/1.png", "tuesday/1.jpg")).train) == 2


def test_categories_below_are_listed(tmp_path: Path) -> None:
    for category in ("bottle", "cable", "zipper"):
        grow(tmp_path, f"{category}/train/good/1.png", f"{category}/test/good/1.png")
    with pytest.raises(DataError, match=r"it holds bottle, cable, zipper\. Choose one") as error:
        open_data(tmp_path)
    assert str(error.value).endswith(str(tmp_path / "bottle"))


def test_many_categories_are_not_all_listed(tmp_path: Path) -> None:
    grow(tmp_path, *[f"lot/{number:02}/good/1.png" for number in range(23)])
    with pytest.raises(DataError, match=r"19 and 3 more\. Choose one"):
        open_data(tmp_path)


@pytest.mark.parametrize("name", ["bad", "NG", "ground_truth", "masks", "defects", "anomaly"])
def test_defects_without_a_folder_of_good_parts(tmp_path: Path, name: str) -> None:
    grow(tmp_path, "1.png", f"{name}/2.png")
    with pytest.raises(DataError, match=f"it has a folder {name} and none named good"):
        open_data(tmp_path)


def test_nothing_is_written(tmp_path: Path) -> None:
    grow(tmp_path, "good/1.png", "dent/1.png", "masks/dent/1.png")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    open_data(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
