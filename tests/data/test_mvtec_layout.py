"""MVTec AD's layout, and the traps of copies of it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import grow, numbered

from blemish.data import Dataset, open_data
from blemish.data.pairing import pair_masks
from blemish.errors import DataError
from conftest import shared_data


def bottle(root: Path, *more: str) -> Path:
    return grow(
        root,
        *numbered("train/good", 3),
        *numbered("test/good", 2),
        *numbered("test/crack", 2),
        *numbered("ground_truth/crack", 2, "_mask.png"),
        *more,
    )


def test_is_read_as_it_is(tmp_path: Path) -> None:
    root = bottle(tmp_path / "Flasche ü 1", "readme.txt", "license.txt", "test/crack/Thumbs.db")
    data = open_data(root)
    assert data.layout == "mvtec"
    assert data.root == root
    assert data.notes == ()
    assert [sample.image.name for sample in data.train] == ["000.png", "001.png", "002.png"]
    assert {(sample.split, sample.defect_type, sample.mask) for sample in data.train} == {
        ("train", "good", None)
    }
    assert [(s.defect_type, s.image.name, s.mask and s.mask.name) for s in data.test] == [
        ("crack", "000.png", "000_mask.png"),
        ("crack", "001.png", "001_mask.png"),
        ("good", "000.png", None),
        ("good", "001.png", None),
    ]
    assert {sample.split for sample in data.test} == {"test"}
    assert not {s.image for s in data.train} & {s.image for s in data.test}


def test_masks_without_ending_and_upper_case_suffixes(tmp_path: Path) -> None:
    grow(tmp_path, "train/good/1.JPG", "test/bad/7.JPG", "test/bad/8.Jpeg")
    grow(tmp_path, "ground_truth/bad/7.PNG", "ground_truth/bad/8_mask.bmp")
    masks = [sample.mask for sample in open_data(tmp_path).test]
    assert [mask and mask.name for mask in masks] == ["7.PNG", "8_mask.bmp"]


def test_without_ground_truth_masks_are_none(tmp_path: Path) -> None:
    grow(tmp_path, *numbered("train/good", 1), *numbered("test/crack", 2))
    assert [sample.mask for sample in open_data(tmp_path).test] == [None, None]


def test_masks_of_one_kind_only(tmp_path: Path) -> None:
    data = open_data(bottle(tmp_path, "test/dirt/000.png", "ground_truth/good/000_mask.png"))
    assert [s.mask for s in data.test if s.defect_type == "dirt"] == [None]
    assert [s.mask for s in data.test if s.defect_type == "good"] == [None, None]


def test_either_part_may_be_absent(tmp_path: Path) -> None:
    fit_only = open_data(grow(tmp_path / "a", *numbered("train/good", 2)))
    assert (len(fit_only.train), len(fit_only.test)) == (2, 0)
    test_only = open_data(grow(tmp_path / "b", *numbered("test/good", 2)))
    assert (len(test_only.train), len(test_only.test)) == (0, 2)


def test_image_without_mask_names_both(tmp_path: Path) -> None:
    bottle(tmp_path, "test/crack/009.png")
    image = tmp_path / "test" / "crack" / "009.png"
    mask = tmp_path / "ground_truth" / "crack" / "009_mask.png"
    with pytest.raises(DataError) as error:
        open_data(tmp_path)
    assert str(image) in str(error.value)
    assert str(mask) in str(error.value)


@pytest.mark.parametrize("kind", ["crack", "hole"])
def test_mask_without_image_names_both(tmp_path: Path, kind: str) -> None:
    bottle(tmp_path, f"ground_truth/{kind}/009_mask.png")
    with pytest.raises(DataError) as error:
        open_data(tmp_path)
    assert str(tmp_path / "ground_truth" / kind / "009_mask.png") in str(error.value)
    assert f"{tmp_path / 'test' / kind / '009'}.*" in str(error.value)


def test_two_masks_for_one_image(tmp_path: Path) -> None:
    bottle(tmp_path, "ground_truth/crack/001.png")
    with pytest.raises(DataError, match=r"it has two: .*001\.png and .*001_mask\.png"):
        open_data(tmp_path)


@pytest.mark.parametrize("folder", ["train/good", "test/good", "test/crack"])
def test_two_images_that_differ_in_suffix_only(tmp_path: Path, folder: str) -> None:
    bottle(tmp_path, f"{folder}/001.jpg")
    with pytest.raises(DataError, match=r"001\.jpg and .*001\.png"):
        open_data(tmp_path)


def test_nothing_but_good_is_fitted(tmp_path: Path) -> None:
    data = open_data(bottle(tmp_path, "train/bad/1.png", "train/loose.png", "extra/1.png"))
    assert {sample.image.parent.name for sample in data.train} == {"good"}
    told = " ".join(data.notes)
    for unused in ("bad", "extra"):
        assert f"{unused}: images not used: 1" in told
    assert f"{tmp_path / 'train'}: images outside of its sub-folders not used: 1" in told


def test_train_without_good(tmp_path: Path) -> None:
    grow(tmp_path, "train/1.png", "test/good/1.png")
    with pytest.raises(DataError, match="Move them there"):
        open_data(tmp_path)


def test_train_good_without_images(tmp_path: Path) -> None:
    grow(tmp_path, "train/good/readme.txt", "test/good/1.png")
    with pytest.raises(DataError, match=r"train.good must hold images"):
        open_data(tmp_path)


def test_no_image_at_all(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="none was found"):
        open_data(tmp_path)


def test_images_one_folder_too_deep(tmp_path: Path) -> None:
    grow(tmp_path, "train/good/rgb/1.png", "train/good/nir/1.png")
    with pytest.raises(DataError, match="must hold its images directly"):
        open_data(tmp_path)


def test_linked_parts_are_not_followed(tmp_path: Path) -> None:
    outside = grow(tmp_path / "outside", "1.png")
    root = grow(tmp_path / "root", "test/good/1.png", "train/readme.txt")
    (root / "train" / "good").symlink_to(outside, target_is_directory=True)
    with pytest.raises(DataError, match=r"there is no .*good"):
        open_data(root)


STEMS = st.sets(st.from_regex(r"[a-zé0-9][a-z.\- 0-9]{0,6}[a-z0-9]", fullmatch=True), max_size=8)


@given(stems=STEMS, data=st.data())
def test_masks_find_their_images(stems: set[str], data: st.DataObject) -> None:
    images, masks, want = [], [], {}
    for stem in sorted(stems):
        image = Path("i", stem + data.draw(st.sampled_from([".png", ".JPG", ".tiff"])))
        # A data set copied between systems can spell "é" in two ways.
        spelled = unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD"])), stem)
        mask = Path("m", spelled + data.draw(st.sampled_from(["_mask.png", ".png", "_mask.BMP"])))
        images.append(image)
        masks.append(mask)
        want[image] = mask
    shuffled = data.draw(st.permutations(masks))
    assert pair_masks(Path("i"), images, Path("m"), shuffled) == want


def counts(data: Dataset) -> tuple[int, int, int]:
    good = sum(not sample.is_defect for sample in data.test)
    return len(data.train), good, len(data.test) - good


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("magnetic_tile", (761, 191, 392)),
        ("cookies", (31, 14, 32)),
        ("hazelnut_toy", (28, 6, 17)),
    ],
)
def test_real_sets(name: str, expected: tuple[int, int, int]) -> None:
    data = open_data(shared_data(name))
    assert data.layout == "mvtec"
    assert data.notes == ()
    assert counts(data) == expected
    assert all((sample.mask is not None) == sample.is_defect for sample in data.test)
    assert all(sample.mask is None or sample.mask.is_file() for sample in data.test)


def test_real_kinds_of_magnetic_tile() -> None:
    kinds = [sample.defect_type for sample in open_data(shared_data("magnetic_tile")).test]
    found = {kind: kinds.count(kind) for kind in set(kinds) - {"good"}}
    assert found == {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}


def test_real_parent_of_sets_lists_them() -> None:
    parent = shared_data("cookies").parent
    with pytest.raises(DataError, match=r"it holds .*cookies.*hazelnut_toy"):
        open_data(parent)
