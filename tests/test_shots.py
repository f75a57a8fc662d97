"""What was taken of a part, which of it a model is shown, and what is missing."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.descriptors import describe
from blemish.errors import ConfigError, ImageError
from blemish.frame import Frame
from blemish.images import write_png
from blemish.records import Sample
from blemish.scans import Scan, scan_of
from blemish.sensors import Camera, Sensor
from blemish.shots import PHOTOGRAPH, POINTS, Shot, Sight, read_points, read_shot
from pictures import tiff
from scenes import tilted

FRAME = Frame(size=(8, 12))
BOTH = Sight(pictures=(PHOTOGRAPH,), points="fpfh", grid=4)
THREE = Sight(pictures=(PHOTOGRAPH, "infrared"), points="fpfh", grid=4)
GREY = np.full((20, 30, 1), 51, np.uint8)
COLOUR = np.full((20, 30, 3), 255, np.uint8)
SCAN = tilted((20, 30), (0.1, 0.2))
EMPTY = scan_of(np.zeros((20, 30, 3)))

names = st.lists(st.sampled_from(["infrared", "left", "right"]), unique=True, max_size=3)


# which choices there are


@given(others=names, points=st.sampled_from(["none", "fpfh", "groups"]))
def test_every_choice_comes_once_and_all_of_them_first(others: list[str], points: str) -> None:
    sight = Sight(pictures=(PHOTOGRAPH, *others), points=points, grid=4)  # type: ignore[arg-type]
    all_, *fewer = sight.choices()
    assert all_ == sight.modalities == (PHOTOGRAPH, *others, *[POINTS] * (points != "none"))
    assert len({all_, *fewer}) == len(fewer) + 1 == 2 ** len(all_) - 1
    assert all(choice in combinations(all_, len(choice)) for choice in fewer)  # in their order
    assert sorted(map(len, fewer), reverse=True) == [*map(len, fewer)]
    for choice in fewer:
        assert sight.less([name for name in all_ if name not in choice]) == choice
        assert sight.present(choice).tolist() == [float(name in choice) for name in all_]


@pytest.mark.parametrize("named", [["photograph", "points"], ["scan"], ["points", "ir"]])
def test_leaving_out_all_or_the_unknown_is_refused(named: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--without must name some of photograph, points, but"):
        BOTH.less(named)


# what is there


def test_what_is_missing_is_not_there() -> None:
    whole = Shot(pictures={PHOTOGRAPH: COLOUR, "infrared": GREY}, scan=SCAN)
    assert THREE.there(whole) == (PHOTOGRAPH, "infrared", POINTS)
    assert THREE.there(whole.without(["infrared"])) == (PHOTOGRAPH, POINTS)
    assert THREE.there(whole.without([PHOTOGRAPH, POINTS])) == ("infrared",)
    assert BOTH.there(whole) == (PHOTOGRAPH, POINTS)  # it knows no infrared, and needs none
    assert whole.without([POINTS]).scan is None
    assert [*whole.pictures] == [PHOTOGRAPH, "infrared"]  # itself is as it was


def test_a_scan_that_saw_nothing_is_missing() -> None:
    assert BOTH.there(Shot(pictures={PHOTOGRAPH: COLOUR}, scan=EMPTY)) == (PHOTOGRAPH,)
    with pytest.raises(ImageError, match=r"one of photograph, points.* but has nothing"):
        BOTH.there(Shot(scan=EMPTY))


def test_nothing_that_is_known_is_refused() -> None:
    said = r"must come with one of photograph, points, which the model learnt from, but has"
    with pytest.raises(ImageError, match=f"{said} nothing. Add one"):
        BOTH.there(Shot())
    with pytest.raises(ImageError, match=f"{said} infrared. Add one"):
        BOTH.there(Shot(pictures={"infrared": GREY}))


def test_sizes_must_agree() -> None:
    low = np.zeros((10, 15, 3), np.uint8)
    with pytest.raises(ImageError, match=r"pixel on pixel.*'infrared': \(10, 15\).*at one size"):
        Shot(pictures={PHOTOGRAPH: COLOUR, "infrared": low})
    with pytest.raises(ImageError, match=r"'points': \(9, 9\)"):
        Shot(pictures={PHOTOGRAPH: COLOUR}, scan=tilted((9, 9), (0, 0)))
    assert Shot(pictures={PHOTOGRAPH: COLOUR}).size == Shot(scan=SCAN).size == (20, 30)


# what a graph is given


def test_what_is_fed_is_what_frame_and_descriptors_make() -> None:
    fed = THREE.feed(FRAME, Shot(pictures={PHOTOGRAPH: COLOUR, "infrared": GREY}, scan=SCAN))
    assert fed["image"].shape == (2, 3, 8, 12)
    assert fed["image"][0] == pytest.approx(1.0)
    assert fed["image"][1] == pytest.approx(0.2)  # one channel fills all three
    shape, seen = describe(SCAN, 4)
    assert np.array_equal(fed["shape"], shape[None])
    assert np.array_equal(fed["seen"], seen[None])
    assert fed["present"].tolist() == [1, 1, 1]


def test_stretch_is_applied() -> None:
    tall = Sight(pictures=(PHOTOGRAPH,), points="fpfh", grid=4, stretch=3.0)
    fed = tall.feed(FRAME, Shot(pictures={PHOTOGRAPH: COLOUR}, scan=SCAN))
    assert np.array_equal(fed["shape"][0], describe(SCAN, 4, 3.0)[0])


@pytest.mark.parametrize("left_out", [[PHOTOGRAPH], ["infrared"], [POINTS], ["infrared", POINTS]])
def test_what_is_missing_is_nought(left_out: list[str]) -> None:
    whole = Shot(pictures={PHOTOGRAPH: COLOUR, "infrared": GREY}, scan=SCAN)
    all_, fed = (THREE.feed(FRAME, shot) for shot in (whole, whole.without(left_out)))
    for number, name in enumerate(THREE.pictures):
        expected = 0 * all_["image"][number] if name in left_out else all_["image"][number]
        assert np.array_equal(fed["image"][number], expected)
    for name in ("shape", "seen"):
        assert np.array_equal(fed[name], 0 * all_[name] if POINTS in left_out else all_[name])
    assert fed["present"].tolist() == [float(n not in left_out) for n in THREE.modalities]


@pytest.mark.parametrize("points", ["none", "fpfh", "groups"])
@pytest.mark.parametrize("others", [(), ("infrared",)])
def test_inputs_are_the_shapes_of_what_is_fed(points: str, others: tuple[str, ...]) -> None:
    sight = Sight(pictures=(PHOTOGRAPH, *others), points=points, grid=4)  # type: ignore[arg-type]
    few = scan_of(SCAN.points, np.indices((20, 30)).sum(0) == 7)  # groups of many take long
    for shot in (Shot(pictures={PHOTOGRAPH: COLOUR}, scan=few), Shot(pictures={PHOTOGRAPH: GREY})):
        fed = sight.feed(FRAME, shot)
        assert {name: one.shape for name, one in fed.items()} == sight.inputs(FRAME)
        assert {one.dtype for one in fed.values()} == {np.dtype(np.float32)}
        assert all(np.isfinite(one).all() for one in fed.values())


def test_shapes_are_told_without_making_the_pictures() -> None:
    huge = Frame(size=(2**20, 2**20))  # 12 TB of pixels
    assert THREE.inputs(huge)["image"] == (2, 3, 2**20, 2**20)


def test_samples_lose_what_is_not_shown() -> None:
    sample = Sample(
        image=Path("a.png"), split="test", defect_type="good", points=Path("a.tiff"),
        others=(("infrared", Path("i.png")), ("left", Path("l.png"))),
    )  # fmt: skip
    flat = Sight(pictures=(PHOTOGRAPH, "left"), points="none", grid=4)
    assert flat.needed(sample).others == (("left", Path("l.png")),)
    assert flat.needed(sample).points is None
    assert THREE.needed(sample).others == (("infrared", Path("i.png")),)
    assert THREE.needed(sample).points == Path("a.tiff")


# from disk


def stored(folder: Path, scan: Scan = SCAN) -> Sample:
    write_png(folder / "a.png", COLOUR)
    write_png(folder / "b.png", GREY[..., 0])
    (folder / "a.tiff").write_bytes(tiff(scan.points, photometric="rgb"))
    return Sample(
        image=folder / "a.png", split="test", defect_type="good", points=folder / "a.tiff",
        others=(("infrared", folder / "b.png"),),
    )  # fmt: skip


def test_all_of_a_sample_is_read(tmp_path: Path) -> None:
    sample = stored(tmp_path)
    shot, files = read_shot(sample)
    assert np.array_equal(shot.pictures[PHOTOGRAPH], COLOUR)
    assert np.array_equal(shot.pictures["infrared"], GREY)
    assert shot.scan is not None
    assert np.array_equal(shot.scan.points, SCAN.points)
    read = tuple((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "a.tiff"))
    assert files == read


def test_sizes_on_disk_that_differ_name_the_photograph(tmp_path: Path) -> None:
    sample = stored(tmp_path)
    write_png(tmp_path / "b.png", GREY[:10, :, 0])
    with pytest.raises(ImageError, match=rf"pixel on pixel.*about '{tmp_path / 'a.png'}'"):
        read_shot(sample)
    write_png(tmp_path / "b.png", GREY[..., 0])
    (tmp_path / "a.tiff").write_bytes(tiff(SCAN.points[:10], photometric="rgb"))
    with pytest.raises(ImageError, match=r"a\.tiff' must lie pixel on pixel"):
        read_shot(sample)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    sample = stored(tmp_path)
    for name in ("a.png", "b.png", "a.tiff"):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ImageError, match=name):
            read_shot(sample)
        (tmp_path / name).write_bytes(before)


def test_points_alone_are_read_as_the_sensor_says(tmp_path: Path) -> None:
    (tmp_path / "a.tiff").write_bytes(tiff(SCAN.points, photometric="rgb"))
    assert np.array_equal(read_points(tmp_path / "a.tiff", None).points, SCAN.points)
    sensor = Sensor(kind="points", pattern="{stem}.tiff", scale=0.001)
    found = read_points(tmp_path / "a.tiff", sensor).points
    np.testing.assert_allclose(found, 0.001 * SCAN.points, rtol=1e-6)
    near = np.arange(1, 13, dtype=np.uint16).reshape(3, 4)
    write_png(tmp_path / "d.png", near)
    assert np.array_equal(read_points(tmp_path / "d.png", None).points[..., 2], near)
    camera = Sensor(kind="depth", pattern="{stem}.png", camera=Camera(focal=(4, 4)), scale=0.5)
    assert np.array_equal(read_points(tmp_path / "d.png", camera).points[..., 2], 0.5 * near)


@pytest.mark.parametrize("name", ["a.tiff", "a.png", "a.xyz"])
def test_points_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ImageError, match=name):
        read_points(tmp_path / name, None)
    with pytest.raises(ImageError, match="none"):
        read_points(tmp_path / f"none{Path(name).suffix}", None)
