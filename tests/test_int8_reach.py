"""Eight bits where a region is inspected, and of channels that are no colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import blemish.int8 as room
from banded import fitted, part
from blemish import rehearse
from blemish.agreement import given, made_up
from blemish.area import Area, Outline
from blemish.engines import INT8_TOLERANCE, difference, open_engine
from blemish.export_files import GRAPH, write_folder
from blemish.fitting import fit_folder
from blemish.frame import Frame
from blemish.int8 import in_eight_bits, shown, thinned
from blemish.runtime import Inspector
from blemish.tiles import Tiles

HALF = Area(roi=Outline(polygons=(((0.0, 0.0), (200.0, 0.0), (200.0, 300.0), (0.0, 300.0)),)))


@pytest.fixture(autouse=True)
def few_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse, "COUNT", 1)
    monkeypatch.setattr(room, "DROP", 0.2)  # of so few pictures


def test_a_region_is_kept_to(demo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = fit_folder(demo, settings={"size": 64}, area=HALF)
    judged: list[rehearse.Rehearsal] = []

    def noted(*args: object, **kwargs: object) -> rehearse.Rehearsal:
        judged.append(rehearse.prepare(*args, **kwargs))  # type: ignore[arg-type]
        return judged[-1]

    monkeypatch.setattr(room, "prepare", noted)
    quick, agreement = in_eight_bits(model.artifact, demo)
    assert agreement.rank >= room.RANK
    assert len(judged) == 2
    assert all((one.where % 360 < 200).all() for made in judged for one in made.defects)
    assert quick.frame == model.artifact.frame
    write_folder(quick, "openvino", tmp_path / "out")
    scorer = Inspector(quick, runtime="onnxruntime")
    picture = made_up((300, 360), 0)
    other = picture.copy()
    other[:, 200:] = 255 - other[:, 200:]
    assert scorer.inspect(picture).score == scorer.inspect(other).score
    near = quick.calibration.extent / model.artifact.calibration.extent
    assert 0.8 < near < 1.25  # of the inspected pixels, not of the grey ones


def test_bands_are_shown_as_at_inspection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RANK", 0.9)  # of so few parts
    model = fitted(tmp_path / "good", "padim", np.uint16, 5, parts=12, size=64)
    quick, _ = in_eight_bits(model.artifact, tmp_path / "good")
    write_folder(quick, "onnx", tmp_path / "out")
    made = onnx.load(tmp_path / "out" / GRAPH)
    assert sum(one.data_type == onnx.TensorProto.INT8 for one in made.graph.initializer) > 20
    engine = open_engine(made.SerializeToString())
    pixels = part(77)
    grid = engine.run({"image": given(quick.frame, pixels)})[0]
    expected = Inspector(quick, runtime="onnxruntime").inspect(pixels)
    map = quick.frame.to_native(grid, pixels.shape[:2])
    assert difference(expected.map, map) < INT8_TOLERANCE
    assert expected.score == pytest.approx(model.inspect(pixels).score, rel=0.2)


@pytest.mark.parametrize("tiles", [None, Tiles(side=64, overlap=16)])
def test_what_is_not_inspected_teaches_nothing(tiles: Tiles | None) -> None:
    left = Area(roi=Outline(polygons=(((0.0, 0.0), (50.0, 0.0), (50.0, 90.0), (0.0, 90.0)),)))
    frame = Frame(size=(32, 32), area=left, tiles=tiles)
    picture = made_up((90, 120), 0)
    other = picture.copy()
    other[:, 50:] = 0
    pairs = [shown(frame, one, np.random.default_rng(0)) for one in (picture, other)]
    for (one, seen), (same, _) in zip(*pairs, strict=True):
        assert np.array_equal(one, same)
        assert seen is not None
        assert seen.any()
        assert seen.shape == (32, 32)
        assert not seen[:, 31].any()


def test_maps_are_compared_where_they_are_inspected() -> None:
    map = np.arange(12, dtype=np.float32).reshape(3, 4)
    seen = map > 6
    assert thinned(map, None).tolist() == map.ravel().tolist()
    assert thinned(map, seen).tolist() == [7, 8, 9, 10, 11]


@pytest.mark.parametrize("count", [1, 5])
def test_what_was_not_measured_does_not_spread(count: int) -> None:
    pixels = part(0, count, np.float32)
    pixels[:9] = np.nan
    moved = rehearse.nudged(pixels, np.random.default_rng(0))
    assert moved.shape == pixels.shape
    assert moved.dtype == np.float32
    assert np.isfinite(moved).all()
