"""Exported models with a region, or of channels that are no colours: in each runtime they give what
the Inspector gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from banded import SIZE, fitted, part, spoilt
from blemish.agreement import given, made_up, pictures
from blemish.area import Area, Outline, read_area
from blemish.artifact import Artifact
from blemish.description import NAME, inspected
from blemish.engines import TOLERANCE, Array, difference, open_engine
from blemish.errors import ConfigError
from blemish.export_files import GRAPH, XML, write_folder
from blemish.images import read_image, write_png
from blemish.records import Pixels
from blemish.runtime import Inspector
from blemish.tensorrt import problems
from blemish.tiles import Tiles
from blemish.verify import verify

HALF = Area(roi=Outline(polygons=(((0.0, 0.0), (60.5, 0.0), (60.5, 96.0), (0.0, 96.0)),)))
KINDS = ("onnx", "openvino", "tensorrt-ready")


@pytest.fixture(scope="module")
def models(model: Inspector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Fitted ones: of bands, of bands and a region, of floats, and photographs with a region."""

    def made(name: str, kind: Any, count: int, area: Area | None = None) -> Artifact:
        folder = tmp_path_factory.mktemp(name)
        return fitted(folder, "padim", kind, count, parts=4, size=64, area=area).artifact

    frame = replace(model.artifact.frame, area=HALF)
    return {
        "bands": made("bands", np.uint16, 5),
        "both": made("both", np.uint8, 2, HALF),
        "floats": made("floats", np.float32, 1),
        "region": replace(model.artifact, frame=frame),
        "windows": replace(model.artifact, frame=replace(frame, tiles=Tiles(side=96, overlap=32))),
    }


CASES = {"bands": (np.uint16, 5), "both": (np.uint8, 2), "floats": (np.float32, 1)}


def shown(name: str) -> list[Pixels]:
    if name in CASES:
        kind, count = CASES[name]
        good = part(50, count, kind)
        return [good, spoilt(good, count - 1)]
    return [made_up((300, 360), seed) for seed in (1, 2)]


def opened(folder: Path, kind: str) -> Callable[[Array], Array]:
    if kind != "openvino":
        engine = open_engine((folder / GRAPH).read_bytes())
        return lambda image: engine.run({"image": image})[0]
    openvino = pytest.importorskip("openvino")
    floats = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / XML), "CPU", floats)
    return lambda image: np.array(compiled({"image": image})[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["bands", "both", "floats", "region"])
def test_an_exported_model_gives_the_inspectors_scores(
    models: dict[str, Artifact], name: str, kind: str, tmp_path: Path
) -> None:
    artifact = models[name]
    frame = artifact.frame
    told = write_folder(artifact, kind, tmp_path / "out")
    run, model = opened(tmp_path / "out", kind), Inspector(artifact, runtime="onnxruntime")
    for pixels in shown(name):
        image = given(frame, pixels)
        assert list(image.shape) == told["input"]["shape"]
        map, expected = frame.to_native(run(image), pixels.shape[:2]), model.inspect(pixels)
        assert difference(expected.map, map) <= TOLERANCE
        assert frame.score(map) == pytest.approx(expected.score, rel=TOLERANCE)
    if kind == "tensorrt-ready":
        assert list(problems(onnx.load(tmp_path / "out" / GRAPH))) == []


@pytest.mark.parametrize("name", ["both", "region", "windows"])
def test_the_region_is_a_file_and_words(
    models: dict[str, Artifact], name: str, tmp_path: Path
) -> None:
    write_folder(models[name], "onnx", tmp_path / "out")
    told = json.loads((tmp_path / "out" / NAME).read_text())
    here = told["inspected"]
    seen = inspected(models[name])
    assert seen is not None
    assert here["size"] == list(seen.shape) == list(SIZE if name == "both" else (300, 360))
    picture = read_image(tmp_path / "out" / here["file"])[..., 0]
    assert np.array_equal(picture > 0, seen)
    assert here["file"] in told["files"]
    kept = {one.key: one.value for one in onnx.load(tmp_path / "out" / GRAPH).metadata_props}
    runs = [int(one) for one in kept["blemish.runs"].split()]
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs), seen.ravel())
    if name != "both":
        assert here["blank"] == {"uint8": [128], "uint16": [32768]}
        assert kept["blemish.blank"] == "128 32768"
        return
    assert here["blank"]["uint8"] == models[name].frame.blank(np.dtype(np.uint8)).tolist()


def test_what_pixels_may_be_is_told(models: dict[str, Artifact], tmp_path: Path) -> None:
    for name, (kind, count) in CASES.items():
        told = write_folder(models[name], "onnx", tmp_path / name)["input"]
        assert told["channels"] == [count]
        assert told["types"] == [np.dtype(kind).name]
        assert told["white"] is None
        high = 1e30 if kind is np.float32 else np.iinfo(kind).max
        assert told["range"] == [-high if kind is np.float32 else 0, high]


def test_a_region_of_polygons_asks_for_one_size(
    models: dict[str, Artifact], tmp_path: Path
) -> None:
    for data, said in (
        ({"smallest": [300, 360], "largest": [300, 400]}, "300 x 360 to 300 x 400"),
        ({}, "unknown sizes to unknown sizes"),
    ):
        artifact = replace(models["region"], about={**models["region"].about, "data": data})
        with pytest.raises(ConfigError, match=f"polygons must have learnt from.*{said}"):
            write_folder(artifact, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bands", "both", "floats", "region", "windows"])
def test_runtimes_are_verified_on_made_up_images_that_fit(
    models: dict[str, Artifact], name: str
) -> None:
    rows = verify(models[name])
    assert all(row.agrees for row in rows)
    assert rows[0].images == (4 if models[name].frame.area is None else 2)


def test_made_up_images_are_within_what_is_known(
    models: dict[str, Artifact], tmp_path: Path
) -> None:
    for artifact in models.values():
        for picture in pictures(artifact.frame):
            artifact.frame.blanked(picture)  # else it would be refused
    (first, *_) = pictures(models["bands"].frame)
    planes = models["bands"].frame.to_model(first)
    assert 0.3 < planes.mean() < 0.7
    assert planes.std() > 0.05  # something is on it
    write_png(tmp_path / "tall.png", np.eye(3000, 20).astype(np.uint8))
    tall, _ = pictures(replace(models["region"].frame, area=read_area(None, tmp_path / "tall.png")))
    assert tall.shape == (3000, 20, 3)
    assert np.array_equal(tall[::3000], made_up((512, 20), 0)[::512])
