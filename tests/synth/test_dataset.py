"""Data sets of made-up defects, and blemish synth as a person or a machine meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_makers import textured, tilted
from trees import picture

from blemish.data import list_images, open_data
from blemish.errors import DataError, SynthError
from blemish.images import read_image, read_mask
from blemish.scans import read_scan_file
from blemish.synth import FLAT, MAKERS, settings_of
from blemish.synth.dataset import LIST, SHEET, Made, encoded, tiff, write_dataset
from blemish.track import silent
from commands import run

KINDS = ("scratch", "stain")


def write(source: Path, folder: Path, *kinds: str, count: int = 2, seed: int = 0) -> Made:
    settings = {kind: settings_of(kind) for kind in kinds or KINDS}
    return write_dataset(open_data(source), folder, settings=settings, count=count, seed=seed)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six grey photographs of 8 bits."""
    for number in range(6):
        picture(tmp_path / f"photos/{number}.png", textured((64, 80), 1, np.uint8, number)[..., 0])
    return tmp_path / "photos"


def test_a_set_from_a_set(demo: Path, tmp_path: Path) -> None:
    made = write(demo, tmp_path / "set")
    assert (made.train, made.test, made.counts) == (10, 2, {"scratch": 2, "stain": 2})
    data = open_data(made.folder)
    assert (data.layout, len(data.train), data.notes) == ("mvtec", 10, ())
    kinds = [sample.defect_type for sample in data.test]
    assert kinds == ["good"] * 2 + ["scratch"] * 2 + ["stain"] * 2
    for sample in data.test:
        if sample.mask is not None:
            image = read_image(sample.image)
            assert read_mask(sample.mask, image.shape[:2]).any()
    assert len(list_images(made.folder)) == 10 + 6  # the contact sheet is no photograph


def test_good_parts_are_copied_and_defects_are_made_on_held_out_ones(
    demo: Path, tmp_path: Path
) -> None:
    made = write(demo, tmp_path / "set", "scratch", "crack", count=3)
    listed = json.loads((made.folder / LIST).read_text())
    sources = {"train": set(), "test": set(), "scratch": set(), "crack": set()}
    for one in listed["pictures"]:
        split, kind = one["image"].split("/")[:2]
        sources[split if kind == "good" else kind].add(one["source"])
        written, source = made.folder / one["image"], demo / one["source"]
        if kind == "good":
            assert written.read_bytes() == source.read_bytes()
            continue
        mask = made.folder / f"ground_truth/{kind}/{written.stem}_mask.png"
        before = read_image(source)
        marked = read_mask(mask, before.shape[:2])
        assert np.array_equal(read_image(written)[~marked], before[~marked])
        assert marked.sum() == one["area_px"]
    assert len(sources["train"]) == 10
    assert not sources["train"] & sources["test"]
    assert sources["scratch"] | sources["crack"] <= sources["test"]
    assert listed["settings"]["scratch"]["strands"] == 3


def test_one_seed_one_set(photos: Path, tmp_path: Path) -> None:
    one, two = (files(write(photos, tmp_path / name).folder) for name in ("one", "two"))
    assert one == two
    other = files(write(photos, tmp_path / "other", seed=1).folder)
    assert other["test/stain/000.png"] != one["test/stain/000.png"]
    more = files(write(photos, tmp_path / "more", count=4).folder)
    assert more["test/stain/001.png"] == one["test/stain/001.png"], "a larger set starts alike"


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    for number in range(3):
        pixels = textured((64, 80), 3, np.uint16, number, 4095)
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / f"deep/{number}.png").write_bytes(encoded(pixels))
    made = write(tmp_path / "deep", tmp_path / "set")
    image = read_image(made.folder / "test/scratch/000.png")
    assert (image.dtype, image.shape) == (np.uint16, (64, 80, 3))
    good = read_image(tmp_path / "deep/2.png")
    marked = read_mask(made.folder / "ground_truth/scratch/000_mask.png", (64, 80))
    assert np.array_equal(image[~marked], good[~marked])


@pytest.fixture
def solid(tmp_path: Path) -> Path:
    """Six photographs with points, in MVTec 3D-AD's layout."""
    root = tmp_path / "bagel/train/good"
    for number in range(6):
        picture(root / f"rgb/{number:03}.png", textured((64, 80), 3, np.uint8, number))
        (root / "xyz").mkdir(exist_ok=True)
        (root / f"xyz/{number:03}.tiff").write_bytes(tiff(tilted((64, 80), number, 0.02)))
    return tmp_path / "bagel"


def test_points_go_along(solid: Path, tmp_path: Path) -> None:
    made = write(solid, tmp_path / "set", "dent", "stain")
    assert made.layout == "mvtec3d"
    data = open_data(made.folder)
    assert data.layout == "mvtec3d"
    before = read_scan_file(solid / "train/good/xyz/004.tiff").points
    for sample in data.test:
        assert sample.points is not None
        points = read_scan_file(sample.points).points
        if sample.defect_type == "dent":
            assert sample.mask is not None
            marked = read_mask(sample.mask, (64, 80))
            assert np.array_equal(points[~marked], before[~marked])
            assert (points != before).any()
        else:
            assert np.array_equal(points, before)
    assert not read_image(made.folder / "test/good/gt/000.png").any()


def test_the_command(capfd: pytest.CaptureFixture[str], photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    code, said, err = run(capfd, "synth", photos, "-o", out, "--count", 1)
    assert (code, err) == (0, "")
    assert "Good parts to learn from: 5, to test: 1." in said
    assert str(out / SHEET) in said
    kinds = {path.name for path in (out / "test").iterdir()}
    assert kinds == {"good", *FLAT}
    assert read_image(out / SHEET).shape[1] > 300
    assert run(capfd, "data", "info", out)[0] == 0


def test_the_command_for_machines(
    capfd: pytest.CaptureFixture[str], solid: Path, tmp_path: Path
) -> None:
    words = ("synth", solid, "-o", tmp_path / "set", "--count", 1, "--json")
    code, said, err = run(capfd, *words)
    assert (code, err) == (0, "")
    told = json.loads(said)
    assert (told["layout"], told["train"]) == ("mvtec3d", 5)
    assert told["test"] == {"good": 1, **dict.fromkeys(MAKERS, 1)}
    assert told["left_out"] == []
    assert run(capfd, *words[:-1], "-q")[0] == 3


def test_kinds_and_settings_from_the_command_line(
    capfd: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    words = ["--kind", "crack", "--kind", "dent", "--set", "crack.jag=0", "--set", "dent.depth=0.5"]
    assert run(capfd, "synth", photos, "-o", tmp_path / "a", "--count", 1, *words)[0] == 0
    settings = json.loads((tmp_path / "a" / LIST).read_text())["settings"]
    assert list(settings) == ["crack", "dent"]
    assert (settings["crack"]["jag"], settings["dent"]["depth"]) == (0.0, [0.5, 0.5])
    words[-1] = "dent.depth=0.1,0.4"
    assert run(capfd, "synth", photos, "-o", tmp_path / "b", "--count", 1, *words)[0] == 0
    settings = json.loads((tmp_path / "b" / LIST).read_text())["settings"]
    assert settings["dent"]["depth"] == [0.1, 0.4]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kind", "scrach"), "Did you mean scratch?"),
        (("--set", "scratch"), "must be followed by kind.name=value"),
        (("--set", "scratch=1"), "must be followed by kind.name=value"),
        (("--kind", "crack", "--set", "stain.rim=1"), "its kind one of crack"),
        (("--set", "scratch.widht=1"), "Did you mean 'width'?"),
        (("--set", "scratch.width=7"), "scratch.width must be two numbers from"),
        (("--set", "scratch.width=wide"), "width must be of type"),
        (("--layout", "mvtek"), "Did you mean mvtec?"),
    ],
)
def test_what_the_command_refuses(
    capfd: pytest.CaptureFixture[str], photos: Path, tmp_path: Path, words: tuple[str], says: str
) -> None:
    code, out, err = run(capfd, "synth", photos, "-o", tmp_path / "set", *words)
    assert (code, out) == (3, "")
    assert says in err
    assert not (tmp_path / "set").exists()


def test_unreadable_and_small_pictures_are_named(
    capfd: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    (photos / "1.png").write_bytes(b"")
    picture(photos / "2.png", np.zeros((15, 90), np.uint8))
    code, said, err = run(capfd, "synth", photos, "-o", tmp_path / "set", "--kind", "stain")
    assert code == 4
    assert "1.png' must be an image, but it is empty" in err
    assert "2.png must have at least 16 px a side" in err
    assert "learn from: 3, to test: 1" in said


def test_too_few_pictures(photos: Path, tmp_path: Path) -> None:
    for number in range(5):
        (photos / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"at least 2 good pictures.* but 1 can be used.*0\.png"):
        write(photos, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_full_folder_is_left_alone(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a new or empty folder"):
        write(photos, photos)
    (tmp_path / "empty").mkdir()
    assert write(photos, tmp_path / "empty").train == 5


def test_a_place_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must be a place to write a data set to"):
        write(photos, tmp_path / "file" / "set")


def test_a_killed_run_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    def stop(items: object, doing: str, total: int, /) -> object:
        if doing == "Making defects":
            raise KeyboardInterrupt
        return silent(items, doing, total)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        write_dataset(
            open_data(photos),
            tmp_path / "out" / "set",
            settings={"stain": settings_of("stain")},
            track=stop,  # type: ignore[arg-type]
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_kinds_that_cannot_be_made(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(3):  # black: no texture to blur, nothing to darken
        picture(tmp_path / f"black/{number}.png", np.zeros((40, 40), np.uint8))
    words = ("synth", tmp_path / "black", "-o", tmp_path / "set", "--count", 1)
    code, _, err = run(capfd, *words, "--kind", "blur", "--kind", "scratch")
    assert code == 4
    assert "blur 000 was not made: a blur must visibly change" in err
    with pytest.raises(SynthError, match="must have good pictures that allow one of blur"):
        write(tmp_path / "black", tmp_path / "none", "blur")
    assert not (tmp_path / "none").exists()


def test_defects_stay_on_the_part(tmp_path: Path) -> None:
    v, u = np.indices((120, 120))
    part = np.hypot(u - 60, v - 60) < 30
    noise = np.random.default_rng(0).normal(0, 3, (3, 120, 120))
    for number in range(3):
        image = np.clip(np.where(part, 190, 30) + noise[number], 0, 255).astype(np.uint8)
        picture(tmp_path / f"discs/{number}.png", image)
    made = write(tmp_path / "discs", tmp_path / "set", "scratch", "stain", "crack", count=5)
    near = np.hypot(u - 60, v - 60) < 33
    for mask in made.folder.glob("ground_truth/*/*.png"):
        assert not (read_mask(mask, (120, 120)) & ~near).any()


@pytest.mark.slow
def test_models_are_fitted_and_evaluated_on_it(
    capfd: pytest.CaptureFixture[str], demo: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo / "train/good", tmp_path / "good")
    words = ("--kind", "missing", "--kind", "scorch", "--count", 3, "-q")
    assert run(capfd, "synth", tmp_path / "good", "-o", tmp_path / "set", *words)[0] == 0
    part = tmp_path / "part.blemish"
    size = ("--size", 64, "-q")
    assert run(capfd, "fit", tmp_path / "set", "-o", part, *size)[0] == 0
    code, out, _ = run(capfd, "evaluate", part, tmp_path / "set", "--json")
    assert code == 0
    assert '"missing"' in out
