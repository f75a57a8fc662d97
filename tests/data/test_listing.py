"""What lies on disk is found, in order, and nothing outside of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import grow

from blemish.data import list_images, open_data
from blemish.data.listing import images_in
from blemish.errors import DataError
from blemish.images import IMAGE_SUFFIXES


def names(root: Path) -> list[str]:
    return [image.relative_to(root).as_posix() for image in list_images(root)]


def test_every_suffix_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        grow(tmp_path, f"low{suffix}", f"UP{suffix.upper()}")
    grow(tmp_path, "readme.txt", "license", "Thumbs.db", "a.png.txt", "png", "x.npy")
    assert len(names(tmp_path)) == 2 * len(IMAGE_SUFFIXES)


def test_order_is_plain_and_folder_by_folder(tmp_path: Path) -> None:
    grow(tmp_path, "b.png", "a/2.png", "a/10.png", "a-b/1.png", "B.png", "é.png")
    assert names(tmp_path) == ["B.png", "a/10.png", "a/2.png", "a-b/1.png", "b.png", "é.png"]


def test_hidden_files_and_thumbnails_are_left_out(tmp_path: Path) -> None:
    grow(
        tmp_path,
        "a.png",
        "._a.png",
        ".hidden.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
        "__MACOSX/._a.png",
    )
    assert names(tmp_path) == ["a.png"]


def test_pictures_of_our_own_are_not_photographs(tmp_path: Path) -> None:
    grow(tmp_path, "a.png", "a.overlay.png", "a.map.tiff", "b/C.OVERLAY.PNG", "b/overlay.png")
    assert names(tmp_path) == ["a.png", "b/overlay.png"]


def test_masks_are_not_photographs(tmp_path: Path) -> None:
    grow(tmp_path / "set", "test/dent/0.png", "ground_truth/dent/0_mask.png")
    assert names(tmp_path) == ["set/test/dent/0.png"]
    masks = tmp_path / "set" / "ground_truth"
    assert names(masks) == ["dent/0_mask.png"]  # asked for by name


def test_what_lies_beside_rgb_is_no_photograph(tmp_path: Path) -> None:
    parts = ("rgb/0.png", "xyz/0.tiff", "disparity/0.png", "depth/0.png", "gt/0.png", "ir/a/0.png")
    grow(tmp_path, *(f"set/test/cut/{part}" for part in parts), "set/test/cut/all.png")
    grow(tmp_path, "set/test/good/rgb/1.png", "set/test/good/gt/1.png", "other/2.png")
    assert names(tmp_path) == ["other/2.png", "set/test/cut/rgb/0.png", "set/test/good/rgb/1.png"]
    cut = tmp_path / "set/test/cut"
    assert names(cut) == ["rgb/0.png"]
    for folder in ("rgb", "xyz", "disparity", "depth", "gt"):  # asked for by name
        assert [name[0] for name in names(cut / folder)] == ["0"]


def test_plain_folders_are_left_alone(tmp_path: Path) -> None:
    files = ["depth/0.png", "gt/1.png", "rgb/2.png", "x/rgb/3.png", "x/scratch/4.png"]
    grow(tmp_path, *files[:2], *files[3:])
    assert names(tmp_path) == [files[0], files[1], files[3], files[4]]
    grow(tmp_path / "rgb", *files[3:])  # a folder of this name, and no photographs right in it
    assert names(tmp_path / "rgb") == files[3:]


def test_one_photograph_of_an_eyecandies_part(tmp_path: Path) -> None:
    items = (*(f"image_{n}.png" for n in range(6)), "depth.png", "normals.png", "mask.png")
    grow(tmp_path, *(f"data/{n}_{item}" for n in ("00", "01") for item in items))
    assert names(tmp_path) == ["data/00_image_4.png", "data/01_image_4.png"]
    grow(tmp_path, "own/7_image_4.png", "own/7_image_5.png")  # without depth: not of that set
    assert names(tmp_path / "own") == ["7_image_4.png", "7_image_5.png"]


def test_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    grow(tmp_path, "x.png/1.png")
    assert names(tmp_path) == ["x.png/1.png"]


def test_link_loops_end(tmp_path: Path) -> None:
    grow(tmp_path, "deep/1.png")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    assert names(tmp_path) == ["deep/1.png"]


def test_links_inside_are_read_and_links_out_are_told(tmp_path: Path) -> None:
    outside = grow(tmp_path / "outside", "o.png", "more/p.png")
    root = grow(tmp_path / "root", "1.png")
    (root / "2.png").symlink_to(root / "1.png")
    (root / "3.png").symlink_to(outside / "o.png")
    (root / "more").symlink_to(outside / "more", target_is_directory=True)
    assert names(root) == ["1.png", "2.png"]
    data = open_data(root)
    assert len(data.train) == 2
    assert len(data.notes) == 1
    assert "not followed: 2" in data.notes[0]


def test_only_links_out_is_an_error_that_says_so(tmp_path: Path) -> None:
    outside = grow(tmp_path / "outside", "o.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "3.png").symlink_to(outside / "o.png")
    with pytest.raises(DataError, match=r"none was found \(links out of the folder.*: 1\)"):
        list_images(root)


def test_root_may_itself_be_a_link(tmp_path: Path) -> None:
    grow(tmp_path / "real", "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert names(tmp_path / "link") == ["1.png"]


def test_named_file_comes_back_whatever_it_is(tmp_path: Path) -> None:
    grow(tmp_path, "a.dat", ".b.png")
    assert list_images(tmp_path / "a.dat") == [tmp_path / "a.dat"]
    assert list_images(str(tmp_path / ".b.png")) == [tmp_path / ".b.png"]


@pytest.mark.parametrize("name", ["none.png", "no/folder", "x" * 5000, "dangling"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="does not exist"):
        list_images(tmp_path / name)


def test_empty_folder_says_what_is_looked_for(tmp_path: Path) -> None:
    grow(tmp_path, "notes.txt")
    with pytest.raises(DataError, match=r"\.png \.jpg .*none was found"):
        list_images(tmp_path)


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("blemish.data.listing.os.scandir", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        images_in(tmp_path)
