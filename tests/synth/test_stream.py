"""The endless stream of pictures: each a function of its number, whenever and wherever made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from banded import SIZE, part
from blemish.area import Area, Outline
from blemish.bands import learn
from blemish.frame import Frame
from blemish.images import read_image
from blemish.synth.stream import Picture, Stream, turned
from blemish.synth.strokes import scratch

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
        "read": lambda number: read_image(paths[number]),
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


# turned photographs, and makers of one's own


def test_without_a_rotation_nothing_is_turned_or_drawn() -> None:
    pixels, rng = np.ones((20, 30, 3), np.uint8), np.random.default_rng(0)
    assert turned(pixels, "none", rng) is pixels
    assert rng.integers(1000) == np.random.default_rng(0).integers(1000)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_little_turn_keeps_the_middle_and_brings_in_grey(channels: int, depth: Any) -> None:
    white = np.iinfo(depth).max
    pixels = np.full((61, 81, channels), white, depth)
    pixels[25:36, 35:46] = 0
    kept = pixels.copy()
    pictures, grey = set(), False
    for seed in range(8):
        found = turned(pixels, "little", np.random.default_rng(seed))
        assert (found.shape, found.dtype) == (pixels.shape, pixels.dtype)
        assert (found[28:33, 38:43] == 0).all()
        border = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
        assert border.min() >= round(114 / 255 * white)
        grey |= bool((border == round(114 / 255 * white)).any())
        pictures.add(found.tobytes())
    assert np.array_equal(pixels, kept)
    assert grey
    assert len(pictures) == 8


def test_five_degrees_are_the_most() -> None:
    pixels = np.zeros((201, 201, 1), np.uint8)
    pixels[100] = 255  # a level line: its slope is the angle
    slopes = []
    for seed in range(40):
        found = turned(pixels, "little", np.random.default_rng(seed))[..., 0]
        left, right = (int(found[:, column].argmax()) for column in (20, 180))
        slopes.append(np.degrees(np.arctan2(left - right, 160)))
    assert 4 < max(slopes) <= 5.5
    assert -5.5 <= min(slopes) < -4


def test_quarters_are_equally_likely() -> None:
    pixels = np.zeros((100, 100, 1), np.uint8)
    pixels[:40, :40] = 255  # one corner is lit
    corners = [0] * 4
    for seed in range(80):
        found = turned(pixels, "quarters", np.random.default_rng(seed))
        lit = [found[20, 20], found[20, 80], found[80, 20], found[80, 80]]
        corners[int(np.argmax(lit))] += 1
    assert min(corners) >= 8
    assert (
        turned(np.zeros((20, 40, 3), np.uint8), "quarters", np.random.default_rng(0)).size == 2400
    )


@pytest.mark.parametrize("rotation", ["little", "quarters"])
def test_good_and_altered_are_turned_alike(paths: tuple[Path, ...], rotation: Any) -> None:
    shown = [stream(paths, clean=0.0, rotation=rotation).picture(number) for number in range(12)]
    for one in shown:
        around = cv2.dilate(one.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        assert np.abs(one.good - one.altered)[0][:, around].max(initial=0) < 0.02
    again = stream(paths, clean=0.0, rotation=rotation)
    assert all(same(one, again.picture(number)) for number, one in enumerate(shown))


def test_makers_of_ones_own_are_used(paths: tuple[Path, ...]) -> None:
    asked: list[str] = []

    def made_by(kind: str) -> Any:
        asked.append(kind)
        return scratch

    one = stream(paths, clean=0.0, made_by=made_by).picture(0)
    assert asked[0] in KINDS
    assert one.mask.any()


# ---------------------------------------------------------------- of bands


@pytest.mark.parametrize(("kind", "count"), [(np.uint16, 6), (np.float32, 1), (np.float32, 7)])
@pytest.mark.parametrize("detail", [0.0, 0.5])
def test_of_bands_a_defect_shows_on_one_of_the_pictures_alone(
    kind: Any, count: int, detail: float
) -> None:
    parts = [part(seed, count, kind) for seed in range(3)]
    bands = learn([one.reshape(-1, count) for one in parts], np.dtype(kind).name)
    frame = Frame(size=SIZE, bands=bands)
    one = stream((), read=parts.__getitem__, chosen=(0, 1, 2), frame=frame, detail=detail)
    pictures = [one.picture(number) for number in range(20)]
    assert sum(picture.mask.any() for picture in pictures) > 10
    changed = set()
    for picture in filter(lambda picture: picture.mask.any(), pictures):
        planes = frame.planes
        assert picture.good.shape == picture.altered.shape == (1, planes, *SIZE)
        by = np.abs(picture.altered - picture.good)[0].reshape(planes // 3, 3, *SIZE).max(axis=1)
        numbers = np.flatnonzero(by.reshape(len(by), -1).max(axis=1) > 0.01)
        # planes that fill the last picture up repeat the last component
        assert len(numbers) == 1 or count % 3
        near = cv2.dilate(picture.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert by[:, ~near].max() <= 0.01
        changed |= {*numbers.tolist()}
    assert changed == {*range(frame.planes // 3)}  # each has its turn


def test_of_bands_no_defect_is_made_where_nothing_is_inspected() -> None:
    parts = [part(seed, 4, np.float32) for seed in range(2)]
    bands = learn([one.reshape(-1, 4) for one in parts], "float32")
    for one in parts:
        one[:, :60] = np.nan
    outline = Outline(polygons=(((0.0, 0.0), (60.0, 0.0), (60.0, 96.0), (0.0, 96.0)),))
    frame = Frame(size=SIZE, bands=bands, area=Area(ignore=outline))
    one = stream((), read=parts.__getitem__, chosen=(0, 1), frame=frame, clean=0.0)
    for number in range(10):
        picture = one.picture(number)
        assert np.isfinite(picture.altered).all()
        assert picture.mask.any()
        columns = np.nonzero(picture.mask)[1]
        assert columns.max() >= 60  # its middle is inspected
