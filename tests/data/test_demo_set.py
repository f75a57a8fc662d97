"""The demo: same bytes for a seed, honest masks, and no harm to what is there."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish.data import open_data
from blemish.data.demo import make_demo
from blemish.data.demo_defects import DEFECTS, VISIBLE, draw_defect
from blemish.data.demo_part import SIZE, draw_scene, expose, shade
from blemish.data.made import MARKER
from blemish.errors import ConfigError, DataError
from blemish.records import Mask

T = TypeVar("T")


def small(folder: Path, seed: int = 0, per_defect: int = 1) -> Path:
    return make_demo(folder, seed=seed, train_good=1, test_good=1, per_defect=per_defect)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def extent(mask: Mask) -> int:
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return max(width, height)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("demo") / "démo 1", per_defect=2)


def test_is_a_data_set(demo: Path) -> None:
    data = open_data(demo)
    kinds = [sample.defect_type for sample in data.test]
    assert data.layout == "mvtec"
    assert data.notes == ()
    assert len(data.train) == 1
    assert {kind: kinds.count(kind) for kind in kinds} == {"good": 1} | dict.fromkeys(DEFECTS, 2)
    assert all((sample.mask is not None) == sample.is_defect for sample in data.test)


def test_files_are_native_colour_photographs_and_binary_masks(demo: Path) -> None:
    for sample in open_data(demo).test:
        photograph = np.asarray(Image.open(sample.image))
        assert photograph.shape == (*SIZE, 3)
        assert photograph.std() > 20
        if sample.mask is not None:
            mask = np.asarray(Image.open(sample.mask))
            assert mask.shape == SIZE
            assert set(np.unique(mask)) == {0, 255}
            assert sample.defect_type != "speck" or 2 <= extent(mask > 0) <= 4


def test_same_seed_same_bytes_other_seed_other_pictures(demo: Path, tmp_path: Path) -> None:
    first = contents(demo)
    assert contents(small(tmp_path / "again", per_defect=2)) == first
    other = contents(small(tmp_path / "other", seed=1))
    pictures = [name for name in other if name.endswith(".jpg")]
    assert all(other[name] != first[name] for name in pictures)
    assert len({other[name] for name in pictures}) == len(pictures)


def test_smaller_set_is_the_beginning_of_a_larger_one(demo: Path, tmp_path: Path) -> None:
    less, more = contents(small(tmp_path / "less")), contents(demo)
    assert all(more[name] == less[name] for name in less if name != MARKER)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("kind", DEFECTS)
def test_mask_is_what_visibly_changed(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng)
    good = shade(scene, scene.part)
    picture, mask = draw_defect(kind, scene, rng)
    changed = np.abs(picture - good).max(axis=2)
    assert mask.any()
    assert changed[mask].min() > VISIBLE
    assert changed[~mask].max() <= VISIBLE
    assert mask.mean() < 0.05
    assert kind != "speck" or (2 <= extent(mask) <= 4 and mask.sum() <= 16)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_good_parts_vary_but_keep_their_shape(seed: int) -> None:
    """No two photographs are alike, and each shows belt, metal, bore and seal in its place."""
    pictures = []
    for stream in ([seed, 0], [seed, 1]):
        rng = np.random.default_rng(stream)
        scene = draw_scene(rng)
        pictures.append(expose(shade(scene, scene.part), rng).astype(np.float32))
        assert 0.15 < scene.face.mean() < 0.6
    for picture in pictures:
        belt, bore = picture[5:15, 5:15], picture[140:160, 170:190]
        metal, seal = picture[140:160, 50:70], picture[145:155, 232:258]
        assert max(belt.mean(), bore.mean()) + 50 < metal.mean() < 230
        assert (seal[..., 0] - seal[..., 2]).max() > 60
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    told: list[int] = []

    def count(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        for item in items:
            told.append(total)
            yield item

    make_demo(tmp_path / "d", train_good=2, test_good=1, per_defect=1, track=count)
    assert told == [3 + len(DEFECTS)] * (3 + len(DEFECTS))


def test_the_same_demo_is_used_again(demo: Path) -> None:
    def refuse(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        pytest.fail("made again")

    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    made = make_demo(demo, train_good=1, test_good=1, per_defect=2, track=refuse)
    assert made == demo
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_another_demo_is_left_alone(demo: Path) -> None:
    before = contents(demo)
    with pytest.raises(DataError, match=r"seed 1.*holds another one \(.*seed 0"):
        small(demo, seed=1)
    assert contents(demo) == before


def test_damaged_demo_is_named(tmp_path: Path) -> None:
    folder = small(tmp_path / "d")
    (folder / "train" / "good" / "000.jpg").unlink()
    with pytest.raises(DataError, match=r"train/good/000\.jpg is missing \(files missing: 1\)"):
        small(folder)


@pytest.mark.parametrize("marker", [None, "[]", "{", '"x"'])
def test_other_peoples_folder_is_left_alone(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="holds something else"):
        small(tmp_path)
    assert contents(tmp_path) == before


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        small(tmp_path / "d")
    with pytest.raises(DataError, match="writing failed"):
        small(tmp_path / "d" / "below")
    assert contents(tmp_path) == {"d": b"mine"}


def test_empty_folder_and_new_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (small(tmp_path / "empty") / MARKER).is_file()
    assert (small(tmp_path / "a" / "b" / "c") / MARKER).is_file()


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, **_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match=r"No space left on device\. Free some space"):
        small(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    def stop(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path / "d", track=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train_good", "test_good", "per_defect", "seed"])
def test_settings_out_of_range(tmp_path: Path, name: str) -> None:
    values = {"train_good": 1, "test_good": 1, "per_defect": 1, "seed": 0, name: -1}
    with pytest.raises(ConfigError, match=f"{name} of the demo must be"):
        make_demo(
            tmp_path / "d",
            seed=values["seed"],
            train_good=values["train_good"],
            test_good=values["test_good"],
            per_defect=values["per_defect"],
        )
    assert list(tmp_path.iterdir()) == []
