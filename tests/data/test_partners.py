"""A photograph's partners: by pattern, by convention, or missing."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import grow, kinds

from blemish.data import list_images, open_data
from blemish.data.partners import attach, others_from_json, partners_of, sample_of
from blemish.errors import ArtifactError, ConfigError, DataError, ImageError
from blemish.images import read_image
from blemish.records import Sample
from blemish.scans import Camera, read_scan, scan_files
from blemish.sensors import Kind, Sensor
from conftest import shared_data

CAMERA = Camera(focal=(9, 9))


def points(pattern: str) -> Sensor:
    return Sensor(kind="points", pattern=pattern)


def depth(pattern: str) -> Sensor:
    return Sensor(kind="depth", pattern=pattern, camera=CAMERA)


def test_a_plain_folder_with_everything_in_one_place(tmp_path: Path) -> None:
    for n in ("1", "10", "2"):
        grow(tmp_path, f"{n}_rgb.png", f"{n}_depth.png", f"{n}_ir.PNG", f"{n}.ply")
    sensor = depth("{stem-_rgb}_depth.png")
    data = open_data(tmp_path, sensor=sensor, others={"ir": "{stem-_rgb}_ir.png"})
    assert [s.image.name for s in data.train] == ["10_rgb.png", "1_rgb.png", "2_rgb.png"]
    first = data.train[0]
    assert (first.depth, first.sensor) == (tmp_path / "10_depth.png", sensor)
    assert first.others == (("ir", tmp_path / "10_ir.PNG"),)
    assert scan_files(first) == (tmp_path / "10_depth.png",)
    assert len(data.test) == 3


def test_points_of_good_parts_and_defects_with_masks(tmp_path: Path) -> None:
    names = [f"{kind}/{n}" for kind in ("good", "scratch") for n in (1, 2)]
    grow(tmp_path, *(f"{name}.jpg" for name in names), *(f"{name}.tiff" for name in names))
    grow(tmp_path, "ground_truth/scratch/1_mask.png", "ground_truth/scratch/2_mask.png")
    with pytest.raises(DataError, match="must differ in more than their suffix"):
        open_data(tmp_path)  # without a pattern they are photographs
    data = open_data(tmp_path, sensor=points("{stem}.tiff"))
    assert (data.layout, kinds(data.test)) == ("types", {"good": 2, "scratch": 2})
    assert [s.points.name for s in data.test if s.points] == ["1.tiff", "2.tiff"] * 2
    assert [s.mask.name for s in data.test if s.mask] == ["1_mask.png", "2_mask.png"]


def test_mvtec_with_clouds_beside_good(tmp_path: Path) -> None:
    grow(tmp_path, "train/good/1.png", "train/xyz/1.tiff", "test/good/2.png", "test/dent/3.png")
    grow(tmp_path, "test/xyz/2.tiff", "test/xyz/3.tiff", "train/more/1.png")
    before, sensor = open_data(tmp_path), points("../xyz/{stem}.tiff")
    data = open_data(tmp_path, sensor=sensor)
    assert (data.layout, kinds(data.test)) == ("mvtec", {"dent": 1, "good": 1})
    assert data.test[0].points == tmp_path / "test/xyz/3.tiff"
    assert [note.split(":")[0] for note in data.notes] == [str(tmp_path / "train/more")]
    attached = attach(before, sensor)
    assert (attached.train, attached.test) == (data.train, data.test)
    assert kinds(before.test) == {"dent": 1, "good": 1, "xyz": 2}  # as it was


def test_patterns_take_the_place_of_a_layouts_own(tmp_path: Path) -> None:
    names = [f"{split}/good/{kind}" for split in ("train", "test") for kind in ("rgb/1.png",
             "disparity/1.png", "scans/a_1.pcd", "nir/1.tif")]  # fmt: skip
    grow(tmp_path, *names)
    sensor = points("../scans/*_{stem}.pcd")
    data = open_data(tmp_path, sensor=sensor, others={"nir": "../nir/{stem}.*"})
    one = data.train[0]
    assert (data.layout, one.disparity, one.sensor) == ("rgbd", None, sensor)
    assert one.points == tmp_path / "train/good/scans/a_1.pcd"
    assert one.others == (("nir", tmp_path / "train/good/nir/1.tif"),)
    kept = open_data(tmp_path, others={"nir": "../nir/{stem}.*"}).train[0]
    assert kept.disparity == tmp_path / "train/good/disparity/1.png"
    assert (kept.sensor, kept.others) == (None, one.others)


@pytest.mark.parametrize(
    ("files", "pattern", "said"),
    [
        (["1.png", "2.png", "1.ply"], "{stem}.ply",
         r"2\.png must have its points by the pattern '\{stem\}\.ply', but there is no .*2\.ply"),
        (["1.png"], "{stem}.png", r"1\.png must have its points .* no .*1\.png"),
        (["1_rgb.png", "1.ply", "x.png"], "{stem-_rgb}.ply", r"x\.png .* lacks the letters"),
        (["1.png", "1_a.ply", "1_b.ply"], "{stem}_*.ply",
         r"1\.png must have one file of points, but it has two: .*1_a\.ply and .*1_b\.ply\. Make"),
        (["1.png", "1.ply", "1.pcd"], "{stem}.*", "has two: .*1.pcd and .*1.ply"),
        (["a/1.png", "b/1.png", "xyz/1.ply"], "../xyz/{stem}.ply",
         r"1\.ply must be the points of one photograph, but is that of .*a.1\.png and .*b.1\.png"),
        (["1x.png", "1xx.png"], "{stem-x}*.png", "each of 2 images is another's partner"),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_an_error(
    tmp_path: Path, files: list[str], pattern: str, said: str
) -> None:
    grow(tmp_path, *files)
    with pytest.raises(DataError, match=said):
        open_data(tmp_path, sensor=points(pattern))


def test_others_are_named_in_errors(tmp_path: Path) -> None:
    grow(tmp_path, "1.png")
    with pytest.raises(DataError, match=r"its photograph 'ir' by .* or change --other ir=PATTERN"):
        open_data(tmp_path, others={"ir": "../ir/{stem}.png"})
    for wrong in ({"a b": "{stem}_b.png"}, {"points": "{stem}_b.png"}, {"b": "b.png"}):
        with pytest.raises(ConfigError, match=r"name of a further photograph|\(--other\) must be"):
            open_data(tmp_path, others=wrong)
        with pytest.raises(ConfigError):
            sample_of(tmp_path / "1.png", others=wrong)


def test_further_photographs_of_a_model() -> None:
    for good in ({}, {"ir": "../ir/{stem}.png", "b": "{stem}_b.*"}):
        assert others_from_json(json.loads(json.dumps(good))) == good
    named = ({"image": "{stem}b"}, {"": "{stem}b"}, {3: "{stem}b"})
    for wrong in (None, [], "ir", {"ir": 3}, {"ir": None}, {"ir": "/x/{stem}"}, *named):
        with pytest.raises(ArtifactError, match="a model's further photographs must be"):
            others_from_json(wrong)


def test_names_are_compared_as_people_read_them(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "é1") for form in ("NFC", "NFD"))
    grow(tmp_path, f"rgb/{one}.png", f"xyz/{two}.TIFF", f"xyz/{two}.json", "xyz/._x.tiff")
    for pattern in ("../xyz/{stem}.tiff", "../xyz/{stem}.*", "../xyz/*{stem}.Tiff"):
        sample = sample_of(tmp_path / "rgb" / f"{one}.png", points(pattern))
        assert sample.points == tmp_path / "xyz" / f"{two}.TIFF", pattern
    lowered = sample_of(tmp_path / "rgb" / f"{one.upper()}.png", points("../xyz/{stem}.tiff"))
    assert lowered.points is None


def test_what_blemish_writes_is_no_partner(tmp_path: Path) -> None:
    grow(tmp_path, "1.png", "1.map.tiff", "1.overlay.png", "1.cloud.tiff", "1.dir/x")
    sample = sample_of(tmp_path / "1.png", points("{stem}.*"))
    assert sample.points == tmp_path / "1.cloud.tiff"
    assert list_images(tmp_path) == [tmp_path / "1.cloud.tiff", tmp_path / "1.png"]
    assert partners_of(list_images(tmp_path), points("{stem}.*")) == {tmp_path / "1.cloud.tiff"}


# plain folders and single photographs, by convention


@pytest.mark.parametrize(
    ("folder", "ending", "kind"),
    [("xyz", ".tiff", "points"), ("xyz", ".ply", "points"), ("disparity", ".png", "disparity"),
     ("depth", ".exr", "depth")],
)  # fmt: skip
def test_a_photograph_by_convention(tmp_path: Path, folder: str, ending: str, kind: Kind) -> None:
    grow(tmp_path, "rgb/1.png", "rgb/2.png", f"{folder}/1{ending}", f"{folder}/1.txt")
    sample = sample_of(tmp_path / "rgb/1.png")
    assert getattr(sample, kind) == tmp_path / folder / f"1{ending}"
    assert (sample.split, sample.defect_type, sample.sensor) == ("test", "good", None)
    bare = Sample(image=tmp_path / "rgb/2.png", split="test", defect_type="good")
    assert sample_of(tmp_path / "rgb/2.png") == bare
    assert scan_files(bare) == ()


def test_a_photograph_without_its_partners_goes_on(tmp_path: Path) -> None:
    grow(tmp_path, "1.png", "1_ir.png")
    found = sample_of(
        tmp_path / "1.png", depth("no/{stem}.png"), {"uv": "{stem}_uv.png", "ir": "{stem}_ir.png"}
    )
    assert (found.depth, found.others) == (None, (("ir", tmp_path / "1_ir.png"),))
    assert sample_of(tmp_path / "1.png", points("{stem-x}.ply")).points is None
    grow(tmp_path, "1a.ply", "1b.ply")
    with pytest.raises(ImageError, match="has two"):
        sample_of(tmp_path / "1.png", points("{stem}*.ply"))


def test_a_way_out_of_the_folder_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path / "set", "good/1.png", "good/1_d.png")
    monkeypatch.chdir(tmp_path / "set")
    data = open_data(".", sensor=depth("../../set/good/{stem}_d.png"))
    assert [str(s.image) for s in data.train] == [str(Path("good/1.png"))]


def test_relative_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, "rgb/1.png", "xyz/1.tiff")
    monkeypatch.chdir(tmp_path / "rgb")
    for sensor in (None, points("../xyz/{stem}.*")):
        assert sample_of(Path("1.png"), sensor).points == Path("../xyz/1.tiff")
    monkeypatch.chdir(tmp_path)
    assert sample_of(Path("rgb/1.png")).points == Path("xyz/1.tiff")


def test_an_eyecandies_part(tmp_path: Path) -> None:
    items = ("image_4.png", "image_0.png", "depth.png", "info_depth.yaml", "pose.txt")
    grow(tmp_path, *(f"07_{item}" for item in items), "08_image_4.png", "08_depth.png")
    sample = sample_of(tmp_path / "07_image_4.png", others={"light_0": "{stem-4}0.png"})
    assert sample.others == (("light_0", tmp_path / "07_image_0.png"),)
    assert scan_files(sample) == (tmp_path / "07_depth.png", tmp_path / "07_info_depth.yaml")
    assert (sample.pose, sample.normals) == (tmp_path / "07_pose.txt", None)
    assert sample_of(tmp_path / "08_image_4.png").depth is None  # nothing says its metres


def test_a_folder_of_good_parts_with_points(tmp_path: Path) -> None:
    grow(tmp_path, *(f"{place}/{n}.png" for place in ("rgb", "disparity") for n in (1, 2)))
    data = open_data(tmp_path)
    assert (data.layout, len(data.train), len(data.test)) == ("images", 2, 2)
    assert data.train[1].disparity == tmp_path / "disparity/2.png"
    (tmp_path / "disparity/1.png").unlink()
    with pytest.raises(
        DataError, match=r"1\.png must come with disparity like .*2.png, but has not"
    ):
        open_data(tmp_path)
    grow(tmp_path, "depth/1.png")
    with pytest.raises(DataError, match="must come with"):
        open_data(tmp_path)


def test_types_with_points_in_each(tmp_path: Path) -> None:
    names = [
        f"{kind}/{place}" for kind in ("good", "hole") for place in ("rgb/1.png", "xyz/1.tiff")
    ]
    data = open_data(grow(tmp_path, *names, "hole/gt/1.png"))
    assert (data.layout, kinds(data.test)) == ("types", {"good": 1, "hole": 1})
    assert [s.points for s in data.test] == [tmp_path / names[1], tmp_path / names[3]]


def test_plain_depth_needs_a_camera_too(tmp_path: Path) -> None:
    grow(tmp_path, "rgb/1.png", "depth/1.png")
    with pytest.raises(DataError, match="--focal"):
        open_data(tmp_path)
    sensor = depth("../depth/{stem}.*")
    assert open_data(tmp_path, sensor=sensor).train[0].depth == tmp_path / "depth/1.png"


NAMES = st.text("abA1_-. é", min_size=1, max_size=6).filter(lambda name: name.strip(". ") == name)


@given(
    stems=st.sets(NAMES, min_size=1, max_size=5),
    ending=st.sampled_from(["_d.npy", ".D.npy", "-", "_.Npy"]),
    form=st.sampled_from(["NFC", "NFD"]),
    loud=st.booleans(),
)
def test_every_photograph_finds_its_own(
    tmp_path_factory: pytest.TempPathFactory, stems: set[str], ending: str, form: Any, loud: bool
) -> None:
    root = tmp_path_factory.mktemp("set")
    base, dot, suffix = ending.rpartition(".")
    written = base + dot + suffix.upper() if loud and dot else ending
    names = {stem: unicodedata.normalize(form, stem + written) for stem in stems}
    grow(root, *(f"rgb/{stem}.png" for stem in stems), *(f"d/{name}" for name in names.values()))
    data = open_data(root / "rgb", sensor=points(f"../d/{{stem}}{ending}"))
    found = {sample.image.stem: sample.points for sample in data.train}
    assert found == {stem: root / "d" / name for stem, name in names.items()}


@given(
    stem=NAMES, start=st.sampled_from(["", "A_", "x."]), end=st.sampled_from(["", "_Z", ".Ply"]),
    middle=st.text("aB.1", max_size=3),
)  # fmt: skip
def test_a_star_stands_for_anything(
    tmp_path_factory: pytest.TempPathFactory, stem: str, start: str, end: str, middle: str
) -> None:
    root = tmp_path_factory.mktemp("set")
    image = root / "rgb" / f"{stem}.png"
    name = f"{start}{stem}{middle}{end}"
    grow(root, f"rgb/{stem}.png", f"d/{name}", "d/B.ply")
    sample = sample_of(image, points(f"../d/{start}{{stem}}*{end}"))
    assert sample.points == root / "d" / name


def test_real_road() -> None:
    root = shared_data("road_rgbd")
    told = Sensor(kind="disparity", pattern="../disparity/{stem}.png")
    plain, by_pattern = open_data(root), open_data(root, sensor=told)
    for one, other in zip((*plain.train, *plain.test), (*by_pattern.train, *by_pattern.test),
                          strict=True):  # fmt: skip
        assert (one.image, one.disparity) == (other.image, other.disparity)
    good = open_data(root / "train" / "good")
    assert [(s.image, s.disparity) for s in good.train] == [
        (s.image, s.disparity) for s in plain.train
    ]
    images = list_images(root / "test")
    assert images == sorted((s.image for s in plain.test), key=lambda image: image.parts)
    for image in images[:3]:
        size: Any = read_image(image).shape[:2]
        first, second = read_scan(sample_of(image), size), read_scan(sample_of(image, told), size)
        assert (first.points == second.points).all()
        assert first.seen.mean() > 0.5
