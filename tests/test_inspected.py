"""What is not inspected changes nothing: scores, thresholds, regions, figures, pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish.area import Area, Outline
from blemish.calibrate import Calibrator
from blemish.data import open_data
from blemish.errors import ConfigError, ImageError
from blemish.frame import Frame
from blemish.images import read_image
from blemish.metrics.evaluate import Evaluator
from blemish.records import Mask, Pixels, Region, Sample
from blemish.regions import in_mm, regions, sizes
from blemish.rehearse import prepare
from blemish.report.overlay import draw_overlay, paint, smaller
from blemish.runtime import Inspector
from blemish.scoring import inspect_all, jobs, score_dataset
from blemish.sensors import Scan
from blemish.shots import PHOTOGRAPH, Shot, Sight
from blemish.synth.stream import Stream
from blemish.tiles import Tiles
from graphs import artifact

SIZE = (24, 32)
BOX = (6, 4, 18, 10)  # x, y, width, height
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)


def box(x: int, y: int, width: int, height: int) -> Outline:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Outline(polygons=(tuple((float(a), float(b)) for a, b in corners),))


ROI = Area(roi=box(*BOX))
INSIDE = ROI.seen(SIZE)
CROP = (slice(BOX[1], BOX[1] + BOX[3]), slice(BOX[0], BOX[0] + BOX[2]))


def noise(seed: int, channels: int = 3, depth: Any = np.uint8) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(depth).max, (*SIZE, channels), depth, endpoint=True)


def floats(seed: int, size: tuple[int, int] = SIZE) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


# ---------------------------------------------------------------- images and maps


@quick
@given(
    seed=seeds,
    fit=st.sampled_from(["stretch", "pad"]),
    way=st.sampled_from(["area", "bicubic"]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    channels=st.sampled_from([1, 3]),
)
def test_what_lies_outside_never_reaches_the_graph(
    seed: int, fit: Any, way: Any, depth: Any, channels: int
) -> None:
    frame = Frame(size=(16, 16), fit=fit, interpolation=way, area=ROI)
    first, other = noise(seed, channels, depth), noise(seed + 1, channels, depth)
    other[INSIDE] = first[INSIDE]
    kept = other.copy()
    assert np.array_equal(frame.to_model(first), frame.to_model(other))
    assert np.array_equal(other, kept)
    first[CROP][2:7, 2:7], other[CROP][2:7, 2:7] = 0, np.iinfo(depth).max
    assert not np.array_equal(frame.to_model(first), frame.to_model(other))


@quick
@given(seed=seeds, boxes=st.sampled_from([(), ((5, 2),)]), top=st.sampled_from([0.0, 0.1]))
def test_maps_are_lowest_outside_and_scores_are_of_the_inside(
    seed: int, boxes: Any, top: float
) -> None:
    frame = Frame(size=(16, 16), boxes=boxes, top=top, area=ROI)
    map = frame.to_native(floats(seed, (8, 8)), SIZE)
    whole = replace(frame, area=None).to_native(floats(seed, (8, 8)), SIZE)
    assert np.array_equal(map[INSIDE], whole[INSIDE])
    assert (map[~INSIDE] == whole[INSIDE].min()).all()
    assert frame.score(map) == replace(frame, area=None).score(whole[CROP])


def test_an_image_of_another_size_is_refused_with_the_reason() -> None:
    inspector = Inspector(artifact(area=ROI))
    with pytest.raises(ImageError, match=r"hold all polygons of --roi"):
        inspector.inspect(np.zeros((10, 10), np.uint8))


def test_a_scan_is_unseen_outside() -> None:
    frame = Frame(size=(16, 16), area=ROI)
    sight = Sight(pictures=(PHOTOGRAPH,), points="fpfh", grid=8)
    rows, columns = np.indices(SIZE).astype(np.float32)
    points = np.dstack([columns, rows, np.ones(SIZE, np.float32)])
    given, fed = points.copy(), []
    for height in (0.0, 50.0):
        given[~INSIDE] = points[~INSIDE] + [0, 0, height]
        scan = Scan(points=given.copy(), seen=np.ones(SIZE, bool))
        fed.append(sight.feed(frame, Shot(pictures={PHOTOGRAPH: noise(0)}, scan=scan)))
    assert all(np.array_equal(fed[0][name], fed[1][name]) for name in fed[0])
    assert 0 < fed[0]["seen"].mean() < 1


# ---------------------------------------------------------------- verdicts and regions


def lit(*places: tuple[int, int]) -> Pixels:
    pixels = np.full((*SIZE, 1), 10, np.uint8)
    for y, x in places:
        pixels[y : y + 6, x : x + 8] = 255  # a cell of the graph
    return pixels


def inspector(**frame: Any) -> Inspector:
    return Inspector(artifact(area=ROI, **frame))


def test_a_defect_outside_never_alarms_and_one_inside_does() -> None:
    judge = inspector()
    away = judge.inspect(lit((0, 24), (18, 24)))
    clean = judge.inspect(lit())
    assert away.verdict == "good"
    assert np.array_equal(away.map, clean.map)
    assert away.score == clean.score
    found = judge.inspect(lit((0, 24), (6, 8)))
    assert found.verdict == "defect"
    assert len(found.regions) == 1
    assert np.array_equal(np.asarray(found.seen), INSIDE)
    everything = Inspector(artifact()).inspect(lit((0, 24), (6, 8)))
    assert everything.seen is None
    assert len(everything.regions) > 1


def test_windows_hold_to_it() -> None:
    judge = inspector(tiles=Tiles(side=16, overlap=4))
    away, clean = judge.inspect(lit((0, 24), (18, 24))), judge.inspect(lit())
    assert np.array_equal(away.map, clean.map)
    assert (clean.map[~INSIDE] == clean.map[INSIDE].min()).all()
    assert judge.inspect(lit((6, 8))).score > clean.score


@quick
@given(seed=seeds)
def test_regions_are_clipped(seed: int) -> None:
    map = floats(seed)
    found = regions(map, 0.5, -3.0, seen=INSIDE)
    assert found
    for region in found:
        x, y, width, height = region.box
        assert BOX[0] <= x
        assert x + width <= BOX[0] + BOX[2]
        assert BOX[1] <= y
        assert y + height <= BOX[1] + BOX[3]
    alone = regions(map[CROP], 0.5, -3.0)
    moved = [(x + BOX[0], y + BOX[1], w, h) for x, y, w, h in (one.box for one in alone)]
    assert [one.box for one in found] == moved
    assert [one.area_px for one in found] == [one.area_px for one in alone]


@quick
@given(seed=seeds)
def test_thresholds_are_of_the_inside(seed: int) -> None:
    frame = Frame(size=(16, 16), area=ROI)
    whole = Calibrator(frame.score, false_alarms=0.2, how="held out", seen=frame.seen)
    crop = Calibrator(replace(frame, area=None).score, false_alarms=0.2, how="held out")
    for index in range(5):
        map = floats(seed + index)
        whole.add(frame.confined(map))
        crop.add(map[CROP])
    assert whole.result() == crop.result()


def test_large_maps_are_thinned_inside() -> None:
    roi = Area(roi=box(100, 100, 700, 600))
    frame = Frame(size=(16, 16), area=roi)
    kept = Calibrator(frame.score, false_alarms=0.2, how="held out", seen=frame.seen)
    map = np.full((900, 1000), 1e6, np.float32)
    map[roi.seen(map.shape)] = np.arange(420_000, dtype=np.float32)
    kept.add(map)
    assert kept.result().extent == pytest.approx(420_000 * 0.998, rel=1e-3)


# ---------------------------------------------------------------- millimetres


@quick
@given(seed=seeds)
def test_lengths_are_between_far_corners(seed: int) -> None:
    own = np.random.default_rng(seed).random((6, 7)) > 0.6
    for region in regions(own.astype(np.float32), 0.5, 0.5) if own.any() else ():
        _, _, width, height = region.box
        assert max(width, height) <= region.length_px <= np.hypot(width, height) + 1e-9
        if region.area_px == 1:
            assert region.length_px == pytest.approx(2**0.5)


def test_a_diagonal_scratch_is_as_long_as_it_is() -> None:
    map = np.zeros((40, 40), np.float32)
    map[np.arange(5, 35), np.arange(5, 35)] = 1
    (region,) = regions(map, 0.5, 0.1, mm_per_pixel=0.1)
    assert region.length_px == pytest.approx(30 * 2**0.5)
    assert region.length_mm == pytest.approx(3 * 2**0.5)
    assert region.area_mm2 == pytest.approx(0.3)
    assert region.size_mm == pytest.approx((3.0, 3.0))
    assert sizes(region) == "30 px (0.3 mm2, 4.24 mm long)"
    assert sizes(regions(map, 0.5, 0.1)[0]) == "30 px"


def test_a_scale_is_kept_and_can_be_changed(tmp_path: Path) -> None:
    model = Inspector(replace(artifact(), mm_per_pixel=0.5))
    again = Inspector.load(model.save(tmp_path / "part.blemish"))
    assert again.artifact == model.artifact
    (region,) = again.inspect(lit((6, 8))).regions
    assert region == in_mm(region, 0.5)
    again.rescale(2)
    (other,) = again.inspect(lit((6, 8))).regions
    assert other.area_mm2 == pytest.approx(16 * float(region.area_mm2 or 0))
    assert replace(other, area_mm2=None, length_mm=None, size_mm=None) == replace(
        region, area_mm2=None, length_mm=None, size_mm=None
    )
    again.rescale(None)
    assert again.inspect(lit((6, 8))).regions[0].area_mm2 is None


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_other_scales_are_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"--mm-per-pixel.*above 0, but are"):
        Inspector(artifact()).rescale(scale)


def test_json_tells_both(tmp_path: Path) -> None:
    Image.fromarray(lit((6, 8))[..., 0]).save(tmp_path / "a.png")
    judge = inspector()
    judge.rescale(0.1)
    (outcome,) = inspect_all(judge, jobs([tmp_path], None))
    (told,) = outcome.to_json()["regions"]
    assert told["area_mm2"] == pytest.approx(told["area_px"] / 100)
    assert told["size_mm"] == pytest.approx([told["box"][2] / 10, told["box"][3] / 10])
    assert told["length_mm"] == pytest.approx(told["length_px"] / 10)


# ---------------------------------------------------------------- figures


def sample(name: str, kind: str) -> Sample:
    return Sample(image=Path(name), split="test", defect_type=kind)


@pytest.mark.parametrize("n_thresholds", [None, 99])
def test_figures_are_those_of_the_cropped_images(n_thresholds: int | None) -> None:
    whole, crop = (Evaluator(pixel_threshold=0.5) for _ in range(2))
    for index in range(8):
        map, mask = floats(index), np.zeros(SIZE, bool)
        kind = "dent" if index % 2 else "good"
        if index % 2:
            mask[2:9, 3 + index : 9 + index] = True  # some of it outside
            map[mask] += 1
        map[~INSIDE] = 100 * floats(100 + index)[~INSIDE]  # nobody may look at it
        one = sample(str(index), kind)
        given: Mask | None = mask if index else None
        whole.add(one, float(index), map, given, INSIDE)
        crop.add(one, float(index), map[CROP], None if given is None else given[CROP])
    first, second = (
        one.result(3.0, bootstrap=20, n_thresholds=n_thresholds) for one in (whole, crop)
    )
    assert first.to_json() == second.to_json()
    assert first.figures["aupro_30"] is not None


def test_a_defect_entirely_outside_is_told(tmp_path: Path) -> None:
    def put(split: str, kind: str, name: str, *places: tuple[int, int]) -> None:
        for folder, pixels in (
            (f"{split}/{kind}", lit(*places)),
            (f"ground_truth/{kind}", np.where(lit(*places) > 100, 255, 0).astype(np.uint8)),
        ):
            if folder.startswith("ground_truth") and kind == "good":
                continue
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0]).save(tmp_path / folder / f"{name}.png")

    put("train", "good", "0")
    put("test", "good", "1")
    put("test", "dent", "2", (6, 8))
    put("test", "dent", "3", (0, 24))
    evaluator = Evaluator()
    judged = score_dataset(inspector(), open_data(tmp_path), evaluator)
    assert [item.sample.image.name for item in judged.items] == ["2.png", "1.png"]
    (told,) = judged.left_out
    assert "dent/3.png" in told
    assert "entirely outside of what is inspected" in told
    assert evaluator.result(0.5).figures["image_auroc"] == 1.0


# ---------------------------------------------------------------- made-up defects


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(5)
    for index in range(4):
        pixels = rng.integers(60, 200, (96, 128, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


LARGE = Area(roi=box(30, 20, 60, 50))


def test_a_rehearsal_is_of_what_is_inspected(photographs: list[Path]) -> None:
    seen = LARGE.seen((96, 128))
    made = prepare(photographs, seed=0, seen=Frame(size=(48, 64), area=LARGE).seen)
    assert len(made.defects) > 50
    for defect in made.defects:
        assert seen.reshape(-1)[defect.where].all(), defect.kind


@pytest.mark.parametrize("rotation", ["none", "little", "quarters"])
def test_a_stream_makes_defects_where_it_is_inspected(
    photographs: list[Path], rotation: Any
) -> None:
    frame = Frame(size=(48, 64), area=LARGE)
    stream = Stream(
        read=lambda index: read_image(photographs[index]),
        chosen=(0, 1, 2, 3),
        frame=frame,
        kinds=("perlin", "scratch", "cutpaste"),
        clean=0.0,
        seed=(1,),
        detail=0.7,
        rotation=rotation,
    )
    pictures = [stream.picture(index) for index in range(12)]
    assert all(one.mask.any() for one in pictures)
    assert stream.picture(3).good.tobytes() == pictures[3].good.tobytes()
    if rotation == "none":  # defects begin inside, and may reach out of it
        inside = frame.mask_to_model(LARGE.seen((96, 128)))
        blank = pictures[0].good[0, 0][~inside]
        assert (np.abs(blank - 0.5) < 0.02).mean() > 0.9
        assert np.mean([one.mask[inside].sum() / one.mask.sum() for one in pictures]) > 0.6


# ---------------------------------------------------------------- pictures


def test_pictures_dim_what_is_not_inspected() -> None:
    judge = inspector()
    pixels = lit((6, 8))
    prediction = judge.inspect(pixels)
    levels = (judge.artifact.calibration.extent, judge.artifact.calibration.seed)
    painted = paint(pixels, prediction, levels)
    plain = paint(pixels, replace(prediction, seen=None), levels)
    away, deep = ~INSIDE, np.zeros(SIZE, bool)
    away[1:-1, 1:-1] &= ~INSIDE[:-2, 1:-1] & ~INSIDE[2:, 1:-1] & ~INSIDE[1:-1, :-2]
    away[1:-1, 1:-1] &= ~INSIDE[1:-1, 2:]
    deep[BOX[1] + 1 : BOX[1] + BOX[3] - 1, BOX[0] + 1 : BOX[0] + BOX[2] - 1] = True
    assert (painted[deep] == plain[deep]).mean() > 0.95
    bright = lit((0, 24))
    prediction = judge.inspect(bright)
    assert not prediction.regions
    shown = paint(bright, prediction, levels)
    assert shown[1, 28].max() < 0.5 * bright[1, 28, 0]  # was white
    assert draw_overlay(bright, prediction, levels).shape[0] > SIZE[0]


def test_no_heat_outside_where_all_is_hot() -> None:
    pixels = np.full((*SIZE, 1), 230, np.uint8)
    judge = inspector()
    prediction = judge.inspect(pixels)
    assert prediction.verdict == "defect"
    painted = paint(pixels, prediction, (0.2, 0.5)).astype(int)
    assert np.ptp(painted[0, 0]) < 30  # dark grey
    assert np.ptp(painted[9, 14]) > 60  # in heat's colours
    assert sum(region.area_px for region in prediction.regions) <= INSIDE.sum()


def test_regions_need_no_scale() -> None:
    region = Region(box=(0, 0, 2, 1), area_px=2, peak=1.0, length_px=5**0.5)
    assert in_mm(region, 2.0).size_mm == (4.0, 2.0)


def test_large_pictures_are_dimmed_where_nothing_was_inspected() -> None:
    judge = inspector()
    pixels = lit((0, 24))
    shrunk, prediction = smaller(pixels, judge.inspect(pixels), 2)
    assert prediction.seen is not None
    assert prediction.seen.shape == prediction.map.shape == (12, 16)
    assert paint(shrunk, prediction, (0.25, 0.5))[0, -1].max() < 0.5 * shrunk[0, -1, 0]
