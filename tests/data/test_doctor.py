"""Each thing the doctor looks for, planted; and clean sets, in which nothing is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import grow, mask, picture

from blemish.data import alike
from blemish.data.doctor import Checkup, examine
from blemish.data.info import describe
from blemish.data.looks import look, look_at_mask
from blemish.errors import DataError
from blemish.images import read_mask
from blemish.scans import Camera
from blemish.sensors import Sensor
from conftest import shared_data
from pictures import png16, saved, tiff

SIZE = (96, 120)


def part(number: int, light: float = 1.0) -> np.ndarray:
    """A photograph of one made-up part: a plate with a hole, its own grain, the camera's noise."""
    rng = np.random.default_rng(number)
    y, x = np.indices(SIZE)
    grain = rng.normal(0, 14, (12, 15)).repeat(8, 0).repeat(8, 1)
    hole = np.hypot(y - 48 - rng.normal(), x - 60 - rng.normal()) < 20
    grey = (150 + grain - 90 * hole + rng.normal(0, 3)) * light
    tinted = grey[..., None] + np.array([4, 0, -6]) + rng.normal(0, 2, (*SIZE, 3))
    return np.clip(tinted, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean") / "set"
    for n in range(30):
        picture(root / f"train/good/{n:03}.png", part(n))
    for n in range(8):
        picture(root / f"test/good/{n:03}.png", part(100 + n))
    for n in range(4):
        scratched = part(200 + n)
        scratched[40 : 44 + n, 10:30] = 250
        picture(root / f"test/scratch/{n:03}.png", scratched)
        marks = np.zeros(SIZE, np.uint8)
        marks[40 : 44 + n, 10:30] = 255
        picture(root / f"ground_truth/scratch/{n:03}_mask.png", marks)
    return root


@pytest.fixture
def clean(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "set"))


def found(checkup: Checkup) -> dict[str, list[list[str]]]:
    """Kind of finding → its files."""
    return {
        one.kind: [[path.relative_to(checkup.root).as_posix() for path in g] for g in one.groups]
        for one in checkup.findings
    }


def test_a_clean_set_yields_nothing(clean: Path) -> None:
    checkup = examine(clean)
    assert found(checkup) == {}
    assert checkup.images == 42
    assert checkup.data is not None


def test_the_demo_is_clean(demo: Path) -> None:
    assert found(examine(demo)) == {}


def test_unreadable_and_foreign_files(clean: Path) -> None:
    (clean / "train/good/000.png").write_bytes(b"")
    whole = (clean / "train/good/001.png").read_bytes()
    (clean / "train/good/001.png").write_bytes(whole[: len(whole) // 2])
    grow(clean, "train/good/x.heic", "test/scratch/clip.MP4", "readme.txt")
    findings = found(examine(clean))
    assert findings["unreadable"] == [["train/good/000.png"], ["train/good/001.png"]]
    assert findings["formats not read"] == [["test/scratch/clip.MP4"], ["train/good/x.heic"]]
    assert set(findings) == {"unreadable", "formats not read"}


def test_flat_mislabelled_and_turned_files(clean: Path) -> None:
    picture(clean / "test/scratch/001.png", np.full((*SIZE, 3), 90, np.uint8))
    (clean / "train/good/002.png").write_bytes(saved(Image.fromarray(part(2)), "BMP"))
    exif = Image.Exif()
    exif[0x0112] = 3
    upside_down = Image.fromarray(part(3)[::-1, ::-1].copy())
    (clean / "train/good/003.png").write_bytes(saved(upside_down, "PNG", exif=exif))
    findings = found(examine(clean))
    assert findings["flat pictures"] == [["test/scratch/001.png"]]
    assert findings["wrong suffixes"] == [["train/good/002.png"]]
    assert findings["turned by EXIF"] == [["train/good/003.png"]]


def test_mixed_sizes_colours_and_bits(clean: Path) -> None:
    picture(clean / "train/good/004.png", part(4)[:-2])
    picture(clean / "train/good/005.png", part(5)[..., 1])
    deep = part(6)[..., ::-1].astype(np.uint16) * 257
    (clean / "train/good/006.png").write_bytes(png16(np.ascontiguousarray(deep)))
    checkup = examine(clean)
    findings = found(checkup)
    assert findings["mixed sizes"] == [["train/good/004.png"]]
    assert findings["mixed colour and grey"] == [["train/good/005.png"]]
    assert findings["mixed bits"] == [["train/good/006.png"]]
    says = {one.kind: one.says for one in checkup.findings}
    assert says["mixed sizes"] == "Pictures differ: 96 x 120 (41), 94 x 120 (1)."


def test_when_no_size_is_usual_one_of_each_is_shown(tmp_path: Path) -> None:
    for n in range(6):
        picture(tmp_path / f"{n}.png", part(n)[: 90 - n // 2])
    names = [[f"{n}.png"] for n in (4, 2, 0)]
    assert found(examine(tmp_path)) == {"mixed sizes": names}


def test_equal_pixels_in_two_formats_are_duplicates(clean: Path) -> None:
    (clean / "train/good/copy.bmp").write_bytes(saved(Image.fromarray(part(7)), "BMP"))
    assert found(examine(clean)) == {"duplicates": [["train/good/007.png", "train/good/copy.bmp"]]}


def test_duplicates_between_train_and_test(clean: Path) -> None:
    shutil.copy(clean / "train/good/007.png", clean / "test/good/900.png")
    want = {"duplicates between train and test": [["test/good/900.png", "train/good/007.png"]]}
    assert found(examine(clean)) == want


def test_one_picture_with_two_labels(clean: Path) -> None:
    shutil.copy(clean / "test/scratch/001.png", clean / "train/good/900.png")
    want = {"duplicates with two labels": [["train/good/900.png", "test/scratch/001.png"]]}
    assert found(examine(clean)) == want


def again(number: int) -> Image.Image:
    """The same part, a little brighter, with other noise."""
    noise = np.random.default_rng(9).normal(0, 2, (*SIZE, 3))
    return Image.fromarray(np.clip(part(number) * 1.04 + noise, 0, 255).astype(np.uint8))


def test_near_duplicates(clean: Path) -> None:
    again(7).save(clean / "train/good/900.jpg", quality=80)
    again(8).save(clean / "test/good/900.jpg", quality=80)
    assert found(examine(clean)) == {
        "near duplicates": [["train/good/007.png", "train/good/900.jpg"]],
        "near duplicates between train and test": [["test/good/900.jpg", "train/good/008.png"]],
    }


def test_near_duplicates_of_few_pictures(tmp_path: Path) -> None:
    for n in range(6):
        picture(tmp_path / f"{n}.png", part(n))
    again(2).save(tmp_path / "9.jpg")
    assert found(examine(tmp_path)) == {"near duplicates": [["2.png", "9.jpg"]]}


def test_shared_good_parts_are_no_leak(tmp_path: Path) -> None:
    for n in range(6):
        picture(tmp_path / f"good/{n}.png", part(n))
    shutil.copy(tmp_path / "good/1.png", tmp_path / "good/9.png")
    grow(tmp_path, "dent/readme.txt")
    assert found(examine(tmp_path)) == {"duplicates": [["good/1.png", "good/9.png"]]}


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("dark", part(9, 0.5)),
        ("blurred", cv2.GaussianBlur(part(9), (0, 0), 4)),
        ("red", np.clip(part(9) * [1.3, 0.9, 0.7], 0, 255).astype(np.uint8)),
        ("another part", np.tile(part(9)[:24, :30], (4, 4, 1))),
    ],
)
def test_odd_pictures_among_the_good(clean: Path, name: str, odd: np.ndarray) -> None:
    picture(clean / "train/good/009.png", odd)
    assert found(examine(clean))["odd among the good"] == [["train/good/009.png"]], name


def test_groups_of_light(clean: Path) -> None:
    for n in range(12):
        picture(clean / f"train/good/{n:03}.png", part(n, 0.6))
    checkup = examine(clean)
    ((dark, bright),) = [one.groups for one in checkup.findings if one.kind == "groups of light"]
    assert [path.name for path in dark] == [f"{n:03}.png" for n in range(12)]
    assert len(bright) == 26


def test_wrong_masks(clean: Path) -> None:
    truth = clean / "ground_truth/scratch"
    mask(truth / "000_mask.png", 0, SIZE)
    mask(truth / "001_mask.png", 50, (96, 100))
    Image.open(truth / "002_mask.png").resize((60, 48)).resize((120, 96), 2).save(
        truth / "002_mask.png"
    )
    mask(truth / "003_mask.png", 96 * 119, SIZE)
    findings = found(examine(clean))
    pair = [[f"test/scratch/00{n}.png", f"ground_truth/scratch/00{n}_mask.png"] for n in range(4)]
    assert findings == {
        "empty masks": [pair[0]],
        "masks of another size": [pair[1]],
        "masks of more than two values": [pair[2]],
        "masks turned inside out": [pair[3]],
    }


def test_mask_that_cannot_be_read(clean: Path) -> None:
    (clean / "ground_truth/scratch/000_mask.png").write_bytes(b"")
    want = {"unreadable masks": [["ground_truth/scratch/000_mask.png"]]}
    assert found(examine(clean)) == want


def test_mask_that_matches_nothing(clean: Path) -> None:
    grow(clean, "ground_truth/scratch/077_mask.png")
    checkup = examine(clean)
    assert found(checkup) == {"layout": []}
    assert "077_mask.png must be the mask of an image" in checkup.findings[0].says
    assert (checkup.data, checkup.images) == (None, 0)


def test_clouds_that_fit_and_that_do_not(tmp_path: Path) -> None:
    for n in range(4):
        picture(tmp_path / f"train/good/rgb/{n}.png", part(n))
        grow(tmp_path, f"train/good/xyz/{n}.tiff")
        cloud = np.ones((96, 120 - 20 * (n == 2), 3), np.float32)
        data = b"" if n == 3 else tiff(cloud, photometric="rgb")
        (tmp_path / f"train/good/xyz/{n}.tiff").write_bytes(data)
    assert found(examine(tmp_path)) == {
        "unreadable clouds": [["train/good/xyz/3.tiff"]],
        "clouds of another size": [["train/good/rgb/2.png", "train/good/xyz/2.tiff"]],
    }


def test_depth_by_a_pattern(tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / f"{n}.png", part(n))
        np.save(tmp_path / f"{n}_depth.npy", np.ones((96, 120 - 20 * (n == 2))))
    np.save(tmp_path / "left.npy", np.ones(3))
    camera = Camera(focal=(99, 99))
    sensor = Sensor(kind="depth", pattern="{stem}_depth.npy", camera=camera)
    assert found(examine(tmp_path, sensor=sensor)) == {
        "formats not read": [["left.npy"]],
        "clouds of another size": [["2.png", "2_depth.npy"]],
    }
    others = {"again": "../{stem}_again.png"}
    with pytest.raises(DataError, match="its photograph 'again'"):
        describe(tmp_path, sensor=sensor, others=others)
    for n in range(3):
        picture(tmp_path.parent / f"{n}_again.png", part(n))
    told = describe(tmp_path, sensor=sensor, others=others)
    assert (told["third"], told["others"]) == ({"depth": 3}, {"again": 3})


def test_several_data_sets_and_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        examine(tmp_path / "nowhere")
    grow(tmp_path, "a/good/1.png", "b/good/1.png")
    with pytest.raises(DataError, match="it holds a, b"):
        examine(tmp_path)


def test_nothing_is_written(clean: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in clean.rglob("*")}
    examine(clean)
    assert {path: path.stat().st_mtime_ns for path in clean.rglob("*")} == before


# the statistics


@given(st.lists(st.floats(0.4, 0.45), min_size=20, max_size=60))
def test_one_light_is_one_group(levels: list[float]) -> None:
    assert alike.light_groups(np.array(levels)) is None


@given(st.integers(3, 30), st.integers(17, 40), st.randoms(use_true_random=False))
def test_two_lights_are_told_apart(few: int, many: int, random: object) -> None:
    levels = [0.3 + 0.001 * n for n in range(few)] + [0.5 + 0.001 * n for n in range(many)]
    random.shuffle(levels)  # type: ignore[attr-defined]
    groups = alike.light_groups(np.array(levels))
    assert groups is not None
    assert sorted(levels[i] for i in groups[0]) == [0.3 + 0.001 * n for n in range(few)]


@given(st.sets(st.tuples(st.integers(0, 12), st.integers(13, 25))))
def test_groups_hold_every_pair_and_do_not_overlap(pairs: set[tuple[int, int]]) -> None:
    groups = alike.groups(pairs)
    members = [one for group in groups for one in group]
    assert len(members) == len(set(members))
    assert {one for pair in pairs for one in pair} == set(members)
    assert all(any({a, b} <= set(group) for group in groups) for a, b in pairs)


def test_pictures_of_12_bits_compare_on_their_own_scale(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(100, 4096, (20, 20, 1), dtype=np.uint16)
    (tmp_path / "1.png").write_bytes(png16(deep))
    one = look(tmp_path / "1.png")
    assert (one.bits, one.grey, one.channels) == (16, True, 1)
    assert alike.full_scale([one]).tolist() == [one.peak]


def test_what_a_mask_marks_is_what_read_mask_takes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    for name, pixels in (("soft", values), ("classes", values % 4), ("pure", (values > 99) * 255)):
        file = picture(tmp_path / f"{name}.png", pixels.astype(np.uint8))
        seen = look_at_mask(file)
        assert seen.marked == read_mask(file, (9, 7)).mean()
        assert seen.pure == (name != "soft")


def test_common_variation_is_taken_out_of_few_and_of_many_alike() -> None:
    rng = np.random.default_rng(0)
    light = rng.normal(size=(30, 64)).astype(np.float32)
    for count in (60, 90):  # fewer and more than there are pixels
        own = rng.normal(0, 0.1, (count, 64)).astype(np.float32)
        rows = alike._unit(5 * rng.normal(size=(count, 8)).astype(np.float32) @ light[:8] + own)
        rows[-1] = rows[0] + rng.normal(0, 1e-4, 64)
        assert (0, count - 1) in alike.near_pairs(rows)


# real sets


def test_real_views_of_one_tile_are_found() -> None:
    checkup = examine(shared_data("magnetic_tile"))
    findings = found(checkup)
    assert len(findings["empty masks"]) == 4
    leaks = findings["near duplicates between train and test"]
    assert len(leaks) > 90
    # The set's authors photographed a tile under up to six exposures: exp1 to exp6.
    groups = [*leaks, *findings["near duplicates"]]
    sixes = [{Path(name).name[:4] for name in group} for group in groups if len(group) == 6]
    assert len(sixes) > 100
    assert sum(len(exposures) == 6 for exposures in sixes) > 0.9 * len(sixes)


def test_real_cookies_hold_a_pair_and_an_odd_one() -> None:
    assert found(examine(shared_data("cookies"))) == {
        "near duplicates": [["train/good/normal-1.jpg", "train/good/normal-2.jpg"]],
        "odd among the good": [["train/good/normal-31.jpg"]],
    }


def test_real_hazelnuts_and_roads() -> None:
    assert found(examine(shared_data("hazelnut_toy"))) == {"mixed sizes": [["train/good/01.jpg"]]}
    assert set(found(examine(shared_data("road_rgbd")))) == {"masks turned inside out"}
