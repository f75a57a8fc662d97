"""ONNX graphs taken apart and put together: sizes fixed, constants folded, pieces cut out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.utils import Extractor

from blemish.errors import ExportError

Numbers = dict[str, npt.NDArray[Any]]  # a graph's constants by name


def settled(graph: bytes, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """The same graph for inputs of these shapes alone: what follows from the sizes is worked out
    once, constants are folded, steps that do nothing are gone.

    All of it in standard ONNX: what ONNX Runtime does for the machine at hand is left to the
    machine that the graph will run on. A graph in eight bits was settled before its numbers were
    rounded; it is put in order and no more: the runtime would fold its weights back to floats.
    """
    model = onnx.load_from_string(graph)
    for entry in model.graph.input:
        sides = entry.type.tensor_type.shape.dim
        for side, length in zip(sides, shapes[entry.name], strict=True):
            side.dim_value = length  # in place of a name
    rounded = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    levels, options = ort.GraphOptimizationLevel, ort.SessionOptions()
    options.graph_optimization_level = (
        levels.ORT_DISABLE_ALL if rounded else levels.ORT_ENABLE_BASIC
    )
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    # the runtime names all that it knows, some of it twice
    kept = {one.domain: one.version for one in model.opset_import if one.domain in used}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(name, of) for name, of in kept.items())
    return model


def fixed(graph: bytes, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """Like settled, with all sizes told. Raises ExportError if operators are in it that are not
    ONNX's own."""
    model = settled(graph, shapes)
    if odd := sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"}):
        raise ExportError(
            f"a graph must consist of ONNX's own operators to be exported, but has some of {odd}."
            " Export the model as blemish fit wrote it."
        )
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def cut(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """The piece of a graph between tensors."""
    piece: ModelProto = Extractor(model).extract_model(list(inputs), list(outputs))
    return piece


def constants(model: ModelProto) -> Numbers:
    """All numbers of a graph, by name."""
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def with_constants(model: ModelProto, numbers: Numbers) -> ModelProto:
    """The same nodes with these numbers."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.initializer[:]
    made.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in numbers.items()
    )
    return made


def renamed(model: ModelProto, names: Mapping[str, str]) -> ModelProto:
    """The same graph with tensors called otherwise."""
    made = ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for entries in (made.graph.input, made.graph.output, made.graph.value_info):
        for entry in entries:
            entry.name = names.get(entry.name, entry.name)
    for number in made.graph.initializer:
        number.name = names.get(number.name, number.name)
    return made


def spliced(first: ModelProto, second: ModelProto) -> ModelProto:
    """One graph of two: what `first` gives feeds the inputs of `second` of the same names."""
    made = ModelProto()
    made.CopyFrom(second)
    given = {entry.name for entry in first.graph.output}
    own = {entry.name for entry in first.graph.input}
    inputs = [one for one in second.graph.input if one.name not in given | own]
    nodes = [*first.graph.node, *second.graph.node]
    numbers = {one.name: one for one in (*first.graph.initializer, *second.graph.initializer)}
    for field in ("node", "input", "initializer", "value_info"):
        made.graph.ClearField(field)
    made.graph.node.extend(nodes)
    made.graph.input.extend([*first.graph.input, *inputs])
    made.graph.initializer.extend(numbers.values())
    made.ir_version = max(first.ir_version, second.ir_version)
    return made


def group_of(node: NodeProto) -> int:
    """A convolution's number of groups."""
    return next((int(one.i) for one in node.attribute if one.name == "group"), 1)


def pieces(graph: bytes) -> tuple[ModelProto, str, list[str], list[str]]:
    """A joined graph with all sizes told, its first input, the tensors that the frozen backbone
    feeds its head with (none without one), and its outputs; see export.join."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
    made = [name for node in model.graph.node for name in node.output]
    taps = [name for name in made if name.startswith("backbone/tap_")]
    image, *_ = (entry.name for entry in model.graph.input)
    return model, image, taps, [entry.name for entry in model.graph.output]
