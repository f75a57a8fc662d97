"""Verdicts on parts of several modalities, on graphs small enough to check by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper

import blemish
from blemish import fastest
from blemish.artifact import Artifact
from blemish.calibrate import Calibrator
from blemish.engines import TOLERANCE, difference
from blemish.errors import ArtifactError, ConfigError, ImageError, ShapeError
from blemish.frame import Frame
from blemish.images import write_png
from blemish.records import Prediction
from blemish.runtime import Inspector, Scorer
from blemish.scans import Scan, scan_of
from blemish.sensors import Sensor
from blemish.shots import PHOTOGRAPH, POINTS, Shot
from graphs import (
    SIZE,
    artifact,
    brightness,
    brightness_and_height,
    float_input,
    float_output,
    model,
    several,
)
from pictures import tiff

H, W = 32, 48
GREY = np.full((H, W), 60, np.uint8)


def flat(lift: float = 0.0, seed: int = 0) -> Scan:
    """A sheet half a metre away, with a square that stands `lift` metres above it."""
    rows, columns = np.indices((H, W)) * 0.001
    z = 0.5 + np.random.default_rng(seed).normal(0, 2e-5, (H, W))
    z[8:16, 12:24] -= lift
    return scan_of(np.stack([columns, rows, z], axis=2))


def spotted(value: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 4, GREY.shape, dtype=np.uint8)
    pixels = GREY + noise
    pixels[8:16, 24:36] = value
    return pixels


def calibrated(*others: str, parts: int = 60, false_alarms: float = 0.05) -> Inspector:
    """Thresholds of each choice of modalities, from good parts scored with that choice."""
    made = several(*others)
    assert made.sight is not None
    scorer = Scorer(made.graph, made.frame, made.sight, threads=1)
    kept = {
        choice: Calibrator(made.frame.score, false_alarms=false_alarms, how="held out")
        for choice in made.sight.choices()
    }
    for seed in range(parts):
        for choice, calibrator in kept.items():
            gone = [name for name in made.sight.modalities if name not in choice]
            calibrator.add(scorer.score(good(seed, *others).without(gone))[0])
    whole, *fewer = kept
    return Inspector(
        replace(
            made,
            calibration=kept[whole].result(),
            parted={"+".join(choice): kept[choice].result() for choice in fewer},
        ),
        threads=1,
    )


def good(seed: int, *others: str) -> Shot:
    """All of a good part."""
    pictures = {
        name: spotted(60, 10 * seed + number)[..., None]
        for number, name in enumerate((PHOTOGRAPH, *others))
    }
    return Shot(pictures=pictures, scan=flat(1e-4 * (seed % 5), seed))


@pytest.fixture(scope="module")
def two() -> Inspector:
    return calibrated()


@pytest.fixture(scope="module")
def three() -> Inspector:
    return calibrated("infrared", parts=20)


# verdicts with and without


def test_runtimes_agree_on_every_choice_of_modalities(three: Inspector) -> None:
    pytest.importorskip("openvino")
    elsewhere = Inspector(three.artifact, runtime="openvino", threads=1)
    sight = three.artifact.sight
    assert sight is not None
    for choice in sight.choices():
        shot = good(7, "infrared").without([one for one in sight.modalities if one not in choice])
        one, other = three.inspect_shot(shot), elsewhere.inspect_shot(shot)
        assert (one.missing, one.verdict) == (other.missing, other.verdict)
        assert difference(one.map, other.map) <= TOLERANCE
        assert other.score == pytest.approx(one.score, rel=TOLERANCE)


def test_several_modalities_can_be_measured(
    two: Inspector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BLEMISH_RUNTIME", "auto")
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    monkeypatch.setattr(fastest, "SECONDS", 0.0)
    found = Inspector(two.artifact, threads=1)
    assert found.runtime.how.startswith(("measured: onnxruntime", "the only one"))
    assert Inspector(two.artifact, threads=1).runtime.name == found.runtime.name


def test_both_photograph_alone_and_points_alone(two: Inspector) -> None:
    both = two.inspect(GREY, points=flat())
    light = two.inspect(GREY)
    depth = two.inspect(None, points=flat())
    assert (both.missing, light.missing, depth.missing) == ((), (POINTS,), (PHOTOGRAPH,))
    for found in (both, light, depth):
        assert found.verdict == "good"
        assert found.map.shape == (H, W)
        assert found.map.dtype == np.float32
        assert found.ms > 0
    assert light.map == pytest.approx(60 / 255, abs=1e-6)
    assert both.map == pytest.approx((light.map + depth.map) / 2, abs=1e-6)


def test_thresholds_are_those_of_parts_seen_the_same_way(two: Inspector) -> None:
    made = two.artifact
    for found, calibration in (
        (two.inspect(GREY, points=flat()), made.calibration),
        (two.inspect(GREY), made.parted[PHOTOGRAPH]),
        (two.inspect(None, points=flat()), made.parted[POINTS]),
    ):
        assert found.threshold == calibration.threshold
        assert found.p_value == calibration.p_value(found.score)
    assert len({made.calibration.threshold, *(one.threshold for one in made.parted.values())}) == 3


def test_a_defect_is_found_where_it_shows(two: Inspector) -> None:
    bright, raised = spotted(250), flat(0.002)
    for found, (x, y) in (
        (two.inspect(bright, points=flat()), (30, 12)),
        (two.inspect(bright), (30, 12)),
        (two.inspect(GREY, points=raised), (18, 12)),
        (two.inspect(None, points=raised), (18, 12)),
    ):
        assert found.verdict == "defect"
        assert found.p_value == pytest.approx(1 / 61)
        assert any(
            left <= x < left + width and top <= y < top + height
            for left, top, width, height in (region.box for region in found.regions)
        )
    # What would have shown it is missing: nobody can tell.
    assert two.inspect(GREY).verdict == two.inspect(None, points=flat()).verdict == "good"


@pytest.mark.parametrize("gone", [[], [POINTS], [PHOTOGRAPH]])
def test_p_values_of_good_parts_are_valid_with_any_choice(two: Inspector, gone: list[str]) -> None:
    p = np.array([two.inspect_shot(good(seed).without(gone)).p_value for seed in range(100, 180)])
    for level in (0.05, 0.1, 0.25, 0.5):
        # 80 new parts on 60 known ones: three standard deviations of both
        slack = 3 * np.sqrt(level * (1 - level) * (1 / 80 + 1 / 60))
        assert (p <= level).mean() <= level + slack
    assert p.min() < 0.3
    assert p.max() > 0.7


def test_less_is_seen_with_less(two: Inspector) -> None:
    """Defects that one modality alone shows get larger p-values without it, and none is lost with
    it."""
    for seed in range(20):
        shape = Shot(pictures=good(seed).pictures, scan=flat(0.0015, 500 + seed))
        colour = Shot(pictures={PHOTOGRAPH: spotted(200, seed)[..., None]}, scan=good(seed).scan)
        for shot, gone in ((shape, POINTS), (colour, PHOTOGRAPH)):
            whole, less = two.inspect_shot(shot), two.inspect_shot(shot.without([gone]))
            assert whole.verdict == "defect"
            assert whole.p_value < less.p_value
            assert less.missing == (gone,)


def test_a_third_modality_is_a_photograph_by_name(three: Inspector) -> None:
    infrared = spotted(250)
    told: dict[str, Any] = {"infrared": infrared}
    whole = three.inspect(GREY, points=flat(), others=told)
    assert (whole.verdict, whole.missing) == ("defect", ())
    cases: list[tuple[Prediction, tuple[str, ...]]] = [
        (three.inspect(GREY, others=told), (POINTS,)),
        (three.inspect(None, others=told), (PHOTOGRAPH, POINTS)),
        (three.inspect(GREY, points=flat()), ("infrared",)),
        (three.inspect(GREY), ("infrared", POINTS)),
    ]
    for found, missing in cases:
        assert found.missing == missing
        left = "+".join(n for n in (PHOTOGRAPH, "infrared", POINTS) if n not in missing)
        assert found.threshold == three.artifact.parted[left].threshold
        assert found.verdict == ("good" if "infrared" in missing else "defect")


def test_an_empty_scan_is_a_missing_one(two: Inspector) -> None:
    nothing = scan_of(np.zeros((H, W, 3)))
    found, light = two.inspect(GREY, points=nothing), two.inspect(GREY)
    assert found.missing == (POINTS,)
    assert (found.score, found.p_value) == (light.score, light.p_value)


def test_scores_are_the_verdicts(two: Inspector) -> None:
    shot = good(3)
    map, score = two.score(shot)
    found = two.inspect_shot(shot)
    assert np.array_equal(map, found.map)
    assert score == found.score


# from files


def written(folder: Path, scan: Scan, infrared: npt.NDArray[np.uint8] | None = None) -> Path:
    for name in ("rgb", "xyz", "infrared"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_png(folder / "rgb" / "1.png", GREY)
    (folder / "xyz" / "1.tiff").write_bytes(tiff(scan.points, photometric="rgb"))
    if infrared is not None:
        write_png(folder / "infrared" / "1.png", infrared)
    return folder / "rgb" / "1.png"


def test_a_path_finds_its_partners_by_itself(three: Inspector, tmp_path: Path) -> None:
    image = written(tmp_path, flat(0.002), spotted(250))
    told: dict[str, Any] = {"infrared": spotted(250)}
    expected = three.inspect(GREY, points=flat(0.002), others=told)
    for path in (image, str(image)):
        found = three.inspect(path)
        assert found.missing == ()
        assert np.array_equal(found.map, expected.map)
    (tmp_path / "infrared" / "1.png").unlink()
    assert three.inspect(image).missing == ("infrared",)
    (tmp_path / "xyz" / "1.tiff").unlink()
    assert three.inspect(image).missing == ("infrared", POINTS)


def test_points_and_others_are_paths_too(three: Inspector, tmp_path: Path) -> None:
    written(tmp_path, flat(0.002), spotted(250))
    scan, infrared = tmp_path / "xyz" / "1.tiff", tmp_path / "infrared" / "1.png"
    told: dict[str, Any] = {"infrared": spotted(250)}
    expected = three.inspect(None, points=flat(0.002), others=told)
    for points, other in ((scan, infrared), (str(scan), str(infrared))):
        found = three.inspect(None, points=points, others={"infrared": other})
        assert found.missing == (PHOTOGRAPH,)
        assert np.array_equal(found.map, expected.map)


def test_what_is_told_goes_before_what_lies_beside(two: Inspector, tmp_path: Path) -> None:
    image = written(tmp_path, flat(0.002))
    assert two.inspect(image).verdict == "defect"
    assert two.inspect(image, points=flat()).verdict == "good"


def test_the_models_own_sensor_reads_the_files(two: Inspector, tmp_path: Path) -> None:
    image = written(tmp_path, scan_of(1000 * flat(0.002).points.astype(float)))
    (tmp_path / "xyz").rename(tmp_path / "scans")
    assert two.inspect(image).missing == (POINTS,)
    sensor = Sensor(kind="points", pattern="../scans/{stem}.tiff", scale=0.001)
    taught = Inspector(replace(two.artifact, sensor=sensor), threads=1)
    found = taught.inspect(image)
    expected = two.inspect(GREY, points=flat(0.002))
    assert (found.missing, found.verdict) == ((), "defect")
    np.testing.assert_allclose(found.map, expected.map, atol=1e-3)
    alone = taught.inspect(None, points=tmp_path / "scans" / "1.tiff")
    np.testing.assert_allclose(alone.map, two.inspect(None, points=flat(0.002)).map, atol=1e-3)


def test_scans_that_the_model_does_not_know_are_not_read(tmp_path: Path) -> None:
    model = Inspector(several("infrared", points=False), threads=1)
    image = written(tmp_path, flat(), spotted(60))
    (tmp_path / "xyz" / "1.tiff").write_bytes(b"broken, and of no concern")
    assert model.inspect(image).missing == ()


def test_partners_that_cannot_be_used_are_refused(two: Inspector, tmp_path: Path) -> None:
    image = written(tmp_path, flat())
    (tmp_path / "xyz" / "1.tiff").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"1\.tiff"):
        two.inspect(image)
    (tmp_path / "xyz" / "1.tiff").write_bytes(tiff(flat().points[:9], photometric="rgb"))
    with pytest.raises(ImageError, match=r"1\.tiff' must lie pixel on pixel .* 32 x 48, but is 9"):
        two.inspect(image)
    (tmp_path / "xyz" / "1.tiff").unlink()
    (tmp_path / "depth").mkdir()
    write_png(tmp_path / "depth" / "1.png", GREY)
    with pytest.raises(ImageError, match="must come with the camera that places its depth"):
        two.inspect(image)


# what is refused


def test_modalities_that_the_model_does_not_know_are_refused(
    two: Inspector, three: Inspector
) -> None:
    told: dict[str, Any] = {"infra-red": GREY}
    said = (
        r"must be among what the model learnt from \(photograph, infrared, points\), but is infra"
    )
    with pytest.raises(ImageError, match=said):
        three.inspect(GREY, others=told)
    with pytest.raises(ImageError, match=r"\(photograph, points\), but is infra-red\. Correct"):
        two.inspect(GREY, others=told)
    flat_model = Inspector(several("infrared", points=False), threads=1)
    with pytest.raises(ImageError, match=r"\(photograph, infrared\), but is points"):
        flat_model.inspect(GREY, points=flat())


def test_models_of_photographs_take_nothing_else() -> None:
    model = Inspector(artifact(), threads=1)
    told: dict[str, Any] = {"infrared": GREY}
    for given in ({"points": flat()}, {"others": told}):
        with pytest.raises(ImageError, match=r"learnt from \(photograph\), but is"):
            model.inspect(GREY, **given)
    with pytest.raises(ImageError, match="must be a photograph for this model"):
        model.inspect(None)
    with pytest.raises(ImageError, match="must be a photograph for this model"):
        model.inspect_shot(Shot(scan=flat()))
    assert model.inspect_shot(Shot(pictures={PHOTOGRAPH: GREY[..., None]})).missing == ()
    with pytest.raises(ConfigError, match="--without must be given for a model of several"):
        model.artifact.calibration_without([POINTS])


def test_nothing_at_all_is_refused(two: Inspector) -> None:
    with pytest.raises(ImageError, match="must come with one of photograph, points"):
        two.inspect(None)
    with pytest.raises(ImageError, match="must come with one of photograph, points"):
        two.inspect(None, points=scan_of(np.zeros((4, 4, 3))))
    with pytest.raises(ImageError, match="must come with one of photograph, points"):
        two.inspect_shot(good(0).without([PHOTOGRAPH, POINTS]))


def test_sizes_that_differ_are_refused(two: Inspector, three: Inspector) -> None:
    with pytest.raises(ImageError, match=r"pixel on pixel.*'points': \(32, 48\)"):
        two.inspect(GREY[:9], points=flat())
    told: dict[str, Any] = {"infrared": GREY[:, :9]}
    with pytest.raises(ImageError, match=r"pixel on pixel.*'infrared': \(32, 9\)"):
        three.inspect(GREY, others=told)


@pytest.mark.parametrize("points", [np.zeros((H, W, 3)), [[0.0]], 5])
def test_what_is_neither_path_nor_scan_is_refused(two: Inspector, points: Any) -> None:
    with pytest.raises(ImageError, match="points must be a path or a Scan, but are of"):
        two.inspect(GREY, points=points)


def test_a_programs_scan_is_checked_and_cleaned(two: Inspector) -> None:
    scan = flat(0.002)
    wild = scan.points.astype(np.float64)
    wild[20:24, 30:40] = np.nan
    found = two.inspect(GREY, points=Scan(points=wild, seen=scan.seen))  # type: ignore[arg-type]
    expected = two.inspect(GREY, points=scan_of(wild))
    assert np.array_equal(found.map, expected.map)
    assert np.isnan(wild[20, 30]).all()
    with pytest.raises(ShapeError, match="mask of a scan must have its points' size"):
        two.inspect(GREY, points=Scan(points=scan.points, seen=scan.seen[:4]))
    with pytest.raises(ShapeError, match=r"must be \(H, W, 3\)"):
        two.inspect(GREY, points=Scan(points=scan.points[..., 0], seen=scan.seen))


def test_arrays_that_are_no_images_are_refused(three: Inspector) -> None:
    for odd in (np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), "none.png"):
        with pytest.raises(ImageError):
            three.inspect(GREY, others={"infrared": odd})


def test_readonly_arrays_are_left_as_they_were(three: Inspector) -> None:
    picture, scan = spotted(60), flat()
    for array in (picture, scan.points, scan.seen):
        array.flags.writeable = False
    before = picture.copy(), scan.points.copy()
    three.inspect(picture, points=scan, others={"infrared": picture})
    assert np.array_equal(before[0], picture)
    assert np.array_equal(before[1], scan.points)


def test_neither_order_nor_threads_change_a_verdict(two: Inspector) -> None:
    shots = [good(seed).without(gone) for seed in range(5) for gone in ([], [POINTS])]
    alone = [two.inspect_shot(shot).map.tobytes() for shot in shots]
    with ThreadPoolExecutor(6) as pool:
        together = [one.map.tobytes() for one in pool.map(two.inspect_shot, shots * 2)]
    assert together == alone * 2
    assert [two.inspect_shot(s).map.tobytes() for s in reversed(shots)] == alone[::-1]


def test_saved_and_loaded_is_bit_equal(three: Inspector, tmp_path: Path) -> None:
    loaded = blemish.load(three.save(tmp_path / "part.blemish"), threads=1)
    assert loaded.artifact == three.artifact
    for gone in ([], [POINTS], ["infrared", POINTS]):
        one, other = (m.inspect_shot(good(1, "infrared").without(gone)) for m in (three, loaded))
        assert one.map.tobytes() == other.map.tobytes()
        assert (one.score, one.p_value, one.missing) == (other.score, other.p_value, other.missing)


# graphs that are not ours


def of(graph: bytes) -> Artifact:
    return replace(several(), graph=graph)


def test_graphs_that_take_something_else_are_refused() -> None:
    said = (
        r"must take float image of \(1, 3, 8, 8\), present of \(2,\), shape of \(1, 48, 4, 4\),"
        r" seen of \(1, 1, 4, 4\) and give float scores, but takes"
    )
    for graph in (
        brightness(),
        brightness_and_height(2, True),
        brightness_and_height(1, False),
        several("infrared").graph,
    ):
        with pytest.raises(ArtifactError, match=said):
            Inspector(of(graph))


def test_graphs_of_two_inputs_of_one_name_are_refused() -> None:
    nodes = [
        helper.make_node("Add", ["a/image", "b/image"], ["sum"]),
        helper.make_node("ReduceMean", ["sum"], ["map"], axes=[0, 1], keepdims=0),
    ]
    given = [float_input((1, 3, *SIZE), "a/image"), float_input((1, 3, *SIZE), "b/image")]
    with pytest.raises(ArtifactError, match="must take float image"):
        Inspector(artifact(model(nodes, given, float_output())))


def test_a_single_input_may_have_any_name() -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["map"], axes=[0, 1], keepdims=0)]
    made = Inspector(artifact(model(nodes, float_input(name="x"), float_output())), threads=1)
    assert made.inspect(GREY).score == pytest.approx(60 / 255)


def test_a_hostile_frame_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = several("a", "b")
    huge = replace(made, frame=replace(made.frame, size=(2**13, 2**13)))
    monkeypatch.setattr(Frame, "to_model", None)  # which would make 2.4 GB of pictures
    with pytest.raises(ArtifactError, match=r"image of \(3, 3, 8192, 8192\)"):
        Inspector(huge)
