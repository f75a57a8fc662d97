"""Exported folders: whole or not at all, and what is in them is the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import blemish.export_files as room
import graphs
from blemish import description, surgery, tensorrt
from blemish.agreement import made_up, require_same
from blemish.artifact import Artifact
from blemish.description import NAME, describe, require_describable, words
from blemish.engines import open_engine
from blemish.errors import ConfigError, DataError, ExportError
from blemish.export_files import GRAPH, XML, default_output, write_folder
from blemish.runtime import Inspector

FILES = {
    "onnx": {GRAPH, NAME},
    "tensorrt-ready": {GRAPH, NAME},
    "openvino": {XML, "graph.bin", NAME},
}


@pytest.fixture(scope="module")
def exported(model: Inspector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for kind in FILES:
        write_folder(model.artifact, kind, folder / kind)
    return {kind: folder / kind for kind in FILES}


@pytest.mark.parametrize("kind", FILES)
def test_a_folder_holds_the_graph_and_what_to_know_of_it(
    exported: dict[str, Path], kind: str, model: Inspector
) -> None:
    folder = exported[kind]
    assert {file.name for file in folder.iterdir()} == FILES[kind]
    told = json.loads((folder / NAME).read_text(encoding="utf-8"))
    calibration = model.artifact.calibration
    assert told["input"]["shape"] == [1, 3, 64, 64]
    assert told["output"]["shape"] == [8, 8]
    assert told["verdict"]["threshold"] == calibration.threshold
    assert tuple(told["p_value"]["scores"]) == calibration.scores
    assert told["precision"] == "float32"
    assert {name: one["bytes"] for name, one in told["files"].items()} == {
        file.name: file.stat().st_size for file in folder.iterdir() if file.name != NAME
    }


def test_the_written_graph_gives_the_models_own_maps(
    exported: dict[str, Path], model: Inspector
) -> None:
    artifact = model.artifact
    own = open_engine(artifact.graph)
    image = artifact.frame.to_model(made_up((77, 91), 5))
    expected = own.run({own.inputs[0].name: image})[0]
    for kind in ("onnx", "tensorrt-ready"):
        engine = open_engine((exported[kind] / GRAPH).read_bytes())
        assert [one.name for one in engine.inputs] == ["image"]
        assert [one.name for one in engine.outputs] == ["map"]
        assert np.abs(engine.run({"image": image})[0] - expected).max() <= 1e-5 * expected.max()


def test_openvino_reads_what_it_was_given(exported: dict[str, Path], model: Inspector) -> None:
    openvino = pytest.importorskip("openvino")
    read = openvino.Core().read_model(str(exported["openvino"] / XML))
    assert read.inputs[0].get_names() == {"image"}
    threshold = read.get_rt_info(["blemish", "threshold"]).astype(str)
    assert float(threshold) == pytest.approx(model.artifact.calibration.threshold)


def test_the_graph_carries_the_numbers_as_words(exported: dict[str, Path]) -> None:
    told = json.loads((exported["onnx"] / NAME).read_text(encoding="utf-8"))
    kept = {one.key: one.value for one in onnx.load(exported["onnx"] / GRAPH).metadata_props}
    assert kept == words(told)
    assert float(kept["blemish.threshold"]) == told["verdict"]["threshold"]
    assert kept["blemish.size"] == "64 64"


def test_boxes_are_told(model: Inspector) -> None:
    frame = replace(model.artifact.frame, boxes=((5, 2), (3, 1)), top=0.25, fit="pad")
    told = describe(replace(model.artifact, frame=frame), (8, 8))
    assert words(told)["blemish.boxes"] == "5 2 3 1"
    assert (words(told)["blemish.top"], words(told)["blemish.fit"]) == ("0.25", "pad")


def test_a_model_of_several_modalities_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="photographs alone"):
        write_folder(graphs.several(), "onnx", tmp_path / "out")
    require_describable(graphs.artifact())
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_not_told_is_refused(
    model: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(description, "TOLD", ("size",))
    frame = replace(model.artifact.frame, top=0.5)
    with pytest.raises(ConfigError, match="this one has top"):
        write_folder(replace(model.artifact, frame=frame), "onnx", tmp_path / "out")


def test_an_export_replaces_an_export_and_nothing_else(model: Inspector, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    write_folder(model.artifact, "onnx", target)  # an empty folder is free
    write_folder(model.artifact, "openvino", target)
    assert {file.name for file in target.iterdir()} == FILES["openvino"]
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match="something else"):
        write_folder(model.artifact, "onnx", other)
    assert (other / "thesis.txt").read_text() == "years"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine", "out"]


def test_a_place_that_cannot_be_written_is_refused(model: Inspector, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="must be writable"):
        write_folder(model.artifact, "onnx", tmp_path / "file" / "out")


@pytest.mark.parametrize("kind", FILES)
def test_files_that_disagree_are_not_written(
    model: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As if the converter had lost something on the way."""
    right = room.plain

    def wrong(artifact: Artifact) -> onnx.ModelProto:
        made = right(artifact)
        numbers = surgery.constants(made)
        largest = max(numbers, key=lambda name: numbers[name].size)
        numbers[largest] = numbers[largest] * np.float32(1.01)
        return surgery.with_constants(made, numbers)

    monkeypatch.setattr(room, "plain", wrong)
    with pytest.raises(ExportError, match=f"the {kind} files must give"):
        write_folder(model.artifact, kind, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_usual_places() -> None:
    part = Path("a/lid.blemish")
    assert default_output(part, "onnx") == Path("a/lid-onnx")
    assert default_output(part, "blemish") == Path("a/lid-int8.blemish")
    with pytest.raises(ConfigError, match="--to must be one of"):
        default_output(part, "coreml")


def test_shapes_of_a_difference() -> None:
    require_same(np.ones(3), np.ones(3), 0.1, "this")
    with pytest.raises(ExportError, match=r"within 0\.1"):
        require_same(np.ones(3), np.ones(3) * 2, 0.1, "this")


# graphs taken apart


def test_operators_of_others_are_refused() -> None:
    node = helper.make_node("Gelu", ["image"], ["map"], domain="com.microsoft")
    made = onnx.load_from_string(
        graphs.model([node], graphs.float_input(), graphs.float_output((1, 3, 8, 8)))
    )
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ExportError, match=r"ONNX's own operators.*com\.microsoft"):
        surgery.fixed(made.SerializeToString(), {"image": (1, 3, 8, 8)})


def test_sizes_are_fixed_and_what_they_make_is_folded(model: Inspector) -> None:
    made = room.plain(model.artifact)
    kinds = {node.op_type for node in made.graph.node}
    assert not kinds & {"Shape", "Gather", "Constant", "Pad", "ConstantOfShape", "Cast"}
    assert list(tensorrt.problems(made)) == []


# tensorrt


def trt(nodes: list[Any], image: Any = None, numbers: tuple[Any, ...] = ()) -> list[str]:
    given = graphs.float_input() if image is None else image
    out = graphs.float_output((1, 3, 8, 8))
    return list(tensorrt.problems(onnx.load_from_string(graphs.model(nodes, given, out, numbers))))


def number(name: str, value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.array(value), name)


def test_what_tensorrt_would_not_take_is_told() -> None:
    relu = helper.make_node("Relu", ["image"], ["map"])
    assert trt([relu]) == []
    assert "operators ['Hardmax']" in trt([helper.make_node("Hardmax", ["image"], ["map"])])[0]
    assert "not fixed" in trt([relu], graphs.float_input((1, 3, "h", "w")))[0]
    doubled = [
        helper.make_node("Cast", ["image"], ["wide"], to=onnx.TensorProto.DOUBLE),
        helper.make_node("Cast", ["wide"], ["map"], to=onnx.TensorProto.FLOAT),
    ]
    assert "DOUBLE" in trt(doubled)[0]
    long = [helper.make_node("Reshape", ["image", "shape"], ["map"])]
    far = (number("shape", np.array([1, 3, 8, 2**40], np.int64)),)
    assert any("32 bits" in one for one in trt(long, None, far))


def test_pairs_that_tensorrt_would_not_take_are_told() -> None:
    pair = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["eight"], name="q"),
        helper.make_node("DequantizeLinear", ["eight", "scale", "zero"], ["map"], name="d"),
    ]
    scale = number("scale", np.float32(0.1))
    assert trt(pair, None, (scale, number("zero", np.int8(0)))) == []
    assert any("not 0" in one for one in trt(pair, None, (scale, number("zero", np.int8(3)))))
    assert any("UINT8" in one for one in trt(pair, None, (scale, number("zero", np.uint8(0)))))


def test_an_opset_that_is_too_new_and_numbers_elsewhere_are_told() -> None:
    made = onnx.load_from_string(graphs.brightness())
    made.opset_import[0].version = 40
    made.graph.initializer.append(number("far", np.float32(0)))
    made.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ExportError, match=r"opset is 40.*other files"):
        tensorrt.require_ready(made)
