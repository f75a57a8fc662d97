"""The endless stream of pictures: each a function of its number, whenever and wherever made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from blemish.frame import Frame
from blemish.images import read_image
from blemish.synth.stream import Picture, Stream

FRAME = Frame(size=(64, 64))
KINDS = ("scratch", "stain", "perlin")


def photograph(path: Path, size: tuple[int, int], seed: int) -> Path:
    rng = np.random.default_rng(seed)
    rough = rng.integers(60, 200, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(cv2.resize(rough, size[::-1], interpolation=cv2.INTER_CUBIC)).save(path)
    return path


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    """Five photographs of the frame's own size."""
    return tuple(photograph(tmp_path / f"{n}.png", (64, 64), n) for n in range(5))


def stream(paths: tuple[Path, ...], **changed: Any) -> Stream:
    given: dict[str, Any] = {
        "paths": paths,
        "chosen": tuple(range(len(paths))),
        "frame": FRAME,
        "kinds": KINDS,
        "clean": 0.25,
        "seed": (3,),
        **changed,
    }
    return Stream(**given)


def same(first: Picture, second: Picture) -> bool:
    names = ("good", "altered", "mask")
    arrays = all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)
    return first.source == second.source and arrays


def test_a_picture_is_a_function_of_seed_and_number(paths: tuple[Path, ...]) -> None:
    numbers = range(30)
    forward = [stream(paths).picture(i) for i in numbers]
    one = stream(paths)
    backward = [one.picture(i) for i in reversed(numbers)][::-1]
    shared = stream(paths)
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(shared.picture, numbers))
    for a, b, c in zip(forward, backward, threads, strict=True):
        assert same(a, b)
        assert same(a, c)
    other = [stream(paths, seed=(4,)).picture(i) for i in numbers]
    assert sum(same(a, b) for a, b in zip(forward, other, strict=True)) <= 5  # by chance, clean


def test_shapes_types_and_ranges(paths: tuple[Path, ...]) -> None:
    for number in range(10):
        one = stream(paths).picture(number)
        for planes in (one.good, one.altered):
            assert (planes.shape, planes.dtype) == ((1, 3, 64, 64), np.float32)
            assert 0 <= planes.min() <= planes.max() <= 1
        assert (one.mask.shape, one.mask.dtype) == ((64, 64), np.bool_)


def test_only_chosen_photographs_are_shown_each_as_often(paths: tuple[Path, ...]) -> None:
    one = stream(paths, chosen=(1, 4), clean=0.99)
    sources = [one.picture(i).source for i in range(300)]
    assert set(sources) == {1, 4}
    assert abs(sources.count(1) - 150) < 4 * 300**0.5 / 2
    for number in range(4):
        made = one.picture(number)
        expected = FRAME.to_model(read_image(paths[made.source]))
        assert np.array_equal(made.good, expected)


@pytest.mark.parametrize("clean", [0.0, 0.3, 0.9])
def test_the_clean_share_is_what_was_asked(paths: tuple[Path, ...], clean: float) -> None:
    one = stream(paths, clean=clean)
    made = [one.picture(i) for i in range(200)]
    empty = [not picture.mask.any() for picture in made]
    spread = (200 * clean * (1 - clean)) ** 0.5
    assert abs(sum(empty) - 200 * clean) <= 4 * spread
    for picture, nothing in zip(made, empty, strict=True):
        assert np.array_equal(picture.good, picture.altered) == nothing


def test_the_mask_lies_where_the_picture_differs(paths: tuple[Path, ...]) -> None:
    one = stream(paths, clean=0.0)
    for number in range(40):
        made = one.picture(number)
        differs = (made.good != made.altered)[0].any(0)
        assert not (differs & ~made.mask).any()
        assert differs.sum() >= 0.5 * made.mask.sum() > 0


def grown(mask: Any, by: int) -> Any:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1,) * 2, np.uint8)) > 0


def test_large_photographs_are_shrunk_before_defects_are_made(tmp_path: Path) -> None:
    paths = (photograph(tmp_path / "large.png", (320, 480), 0),)
    one = stream(paths, clean=0.0, detail=1.5)
    first = one.picture(0)
    assert one.kept[0].shape == (96, 144, 3)  # the shorter side is 1.5 of the frame's 64
    small = cv2.resize(read_image(paths[0]), (144, 96), interpolation=cv2.INTER_AREA)
    assert np.array_equal(first.good, FRAME.to_model(small))
    whole = stream(paths, clean=0.0).picture(0)
    assert np.abs(first.good - whole.good).mean() < 0.01
    for number in range(10):
        made = one.picture(number)
        differs = (np.abs(made.good - made.altered) > 0.1)[0].any(0)
        assert not (differs & ~grown(made.mask, 2)).any()
        assert made.mask.any()


@pytest.mark.parametrize("detail", [0.0, 1.0, 9.0])
def test_photographs_are_never_enlarged_for_it(paths: tuple[Path, ...], detail: float) -> None:
    one = stream(paths, detail=detail)
    one.picture(0)
    assert {pixels.shape for pixels in one.kept.values()} == {(64, 64, 3)}


def test_grey_photographs_stay_arrays_of_one_channel_when_shrunk(tmp_path: Path) -> None:
    path = photograph(tmp_path / "grey.png", (200, 300), 0)
    Image.open(path).convert("L").save(path)
    one = stream((path,), clean=0.0, detail=1.0)
    made = one.picture(0)
    assert one.kept[0].shape == (64, 96, 1)
    assert np.array_equal(made.altered[0, 0], made.altered[0, 2])


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (63, 64)])
def test_a_padded_frame_pads_the_mask_with_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    paths = (photograph(tmp_path / "long.png", size, 0),)
    one = stream(paths, clean=0.0, frame=Frame(size=(64, 64), fit="pad"))
    top, left = ((64 - side) // 2 for side in size)
    inside = np.zeros((64, 64), np.bool_)
    inside[top : top + size[0], left : left + size[1]] = True
    for number in range(15):
        made = one.picture(number)
        differs = (made.good != made.altered)[0].any(0)
        assert made.mask.any()
        assert not (made.mask & ~inside).any()
        assert not (differs & inside & ~made.mask).any()


def test_a_photograph_that_is_too_small_gives_clean_pictures(tmp_path: Path) -> None:
    one = stream((photograph(tmp_path / "small.png", (15, 90), 0),), clean=0.0)
    for number in range(5):
        made = one.picture(number)
        assert not made.mask.any()
        assert np.array_equal(made.good, made.altered)


def test_a_photograph_that_allows_no_defect_gives_clean_pictures(tmp_path: Path) -> None:
    path = tmp_path / "even.png"
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(path)
    made = stream((path,), kinds=("blur",), clean=0.0).picture(0)  # blurring changes nothing
    assert not made.mask.any()
    assert np.array_equal(made.good, made.altered)
    assert stream((path,), kinds=("blur", "scratch"), clean=0.0).picture(0).mask.any()


def test_photographs_are_read_again_when_there_is_no_room(
    paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [stream(paths).picture(i) for i in range(8)]
    monkeypatch.setattr("blemish.synth.stream.ROOM", 2 * 64 * 64 * 3 + 1)
    one = stream(paths)
    assert all(same(one.picture(i), expected[i]) for i in range(8))
    assert len(one.kept) == 2
