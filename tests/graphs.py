"""Tiny ONNX graphs for tests that need no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from blemish.artifact import Artifact
from blemish.calibrate import Calibration
from blemish.descriptors import COUNT
from blemish.frame import Frame
from blemish.nets.features import Origin
from blemish.shots import PHOTOGRAPH, Sight

SIZE = (8, 8)


def model(nodes: Sequence[Any], image: Any, out: Any, numbers: Sequence[Any] = ()) -> bytes:
    """ONNX bytes of nodes from "image" to "map"."""
    given = [image] if not isinstance(image, list) else image
    graph = helper.make_graph(list(nodes), "tiny", given, [out], list(numbers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def float_input(shape: Sequence[int | str] = (1, 3, *SIZE), name: str = "image") -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def float_output(shape: Sequence[int | str] = ("h", "w")) -> Any:
    return helper.make_tensor_value_info("map", TensorProto.FLOAT, shape)


def brightness(shape: Sequence[int | str] = (1, 3, *SIZE)) -> bytes:
    """(1, 3, h, w) → (h / 2, w / 2): mean of the channels and of 2 x 2 pixels."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["small"], ["map"], axes=[0, 1], keepdims=0),
    ]
    return model(nodes, float_input(shape), float_output())


def broken(value: float) -> bytes:
    """Like brightness, but plus `value` times the brightness: not finite where that is not."""
    number = numpy_helper.from_array(np.array(value, np.float32), "value")
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[0, 1], keepdims=0),
        helper.make_node("Mul", ["grey", "value"], ["map"]),
    ]
    return model(nodes, float_input(), float_output(), [number])


def artifact(graph: bytes | None = None, **frame: Any) -> Artifact:
    """Brightness is what is anomalous: good parts reach 0.1 to 0.5."""
    scores = tuple(np.linspace(0.1, 0.5, 19).tolist())
    return Artifact(
        graph=brightness() if graph is None else graph,
        frame=Frame(size=SIZE, **frame),
        calibration=Calibration(
            scores=scores, peaks=scores, extent=0.25, false_alarms=0.05, how="held out"
        ),
        about={
            "method": "brightness",
            "preset": "tiny",
            "config": {"size": 8, "name": "größe"},
            "seed": 0,
            "backbone": {"name": "none", "licence": "Apache-2.0", "source": "tests", "sha256": ""},
            "versions": {"blemish": "0.1.0"},
            "data": {"folder": "made up", "used": 19, "sha256": ["00", "11"]},
        },
    )


GRID = 4  # cells along a side, of a scan


def brightness_and_height(pictures: int, points: bool) -> bytes:
    """Brightness of each photograph, and how many millimetres a scan's cells lie above their wide
    surroundings: their mean over what is there, (4, 4)."""
    numbers = {
        "at_height": [COUNT - 1], "past_height": [COUNT], "channels": [1], "first": [0],
        "cells": [1, GRID * GRID], "each": [-1, GRID * GRID], "column": [-1, 1],
        "grid": [GRID, GRID],
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["small", "each"], ["light"]),
        helper.make_node("Slice", ["shape", "at_height", "past_height", "channels"], ["metres"]),
        helper.make_node("Mul", ["metres", "seen"], ["known"]),
        helper.make_node("Mul", ["known", "thousand"], ["height"]),
        helper.make_node("Reshape", ["height", "cells"], ["depth"]),
        helper.make_node("Concat", ["light", "depth"], ["every"], axis=0),
        helper.make_node("Reshape", ["present", "column"], ["there"]),
        helper.make_node("Mul", ["every" if points else "light", "there"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "first"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["present"], ["many"], keepdims=0),
        helper.make_node("Div", ["total", "many"], ["mean"]),
        helper.make_node("Reshape", ["mean", "grid"], ["map"]),
    ]
    scan = [
        float_input((1, COUNT, GRID, GRID), "shape"),
        float_input((1, 1, GRID, GRID), "seen"),
    ]
    given = [float_input((pictures, 3, *SIZE)), float_input((pictures + points,), "present")]
    constants = [numpy_helper.from_array(np.array(n, np.int64), k) for k, n in numbers.items()]
    constants.append(numpy_helper.from_array(np.array(1000, np.float32), "thousand"))
    skipped = nodes if points else [*nodes[:3], *nodes[8:]]
    return model(skipped, given + scan * points, float_output(), constants)


def several(*others: str, points: bool = True, **fields: Any) -> Artifact:
    """Like artifact, of photographs, further ones and scans; calibrated alike for each choice."""
    kind: Any = "fpfh" if points else "none"
    sight = Sight(pictures=(PHOTOGRAPH, *others), points=kind, grid=GRID)
    alone = artifact(brightness_and_height(len(sight.pictures), points))
    told: dict[str, Any] = {
        "sight": sight,
        "parted": {"+".join(choice): alone.calibration for choice in sight.choices()[1:]},
        "others": {name: f"../{name}/{{stem}}.png" for name in others},
    }
    return replace(alone, **{**told, **fields})


def no_origin(count: int) -> Origin:
    """For features that nobody traces back to photographs."""
    paths = tuple(Path(f"{number}.png") for number in range(count))
    return Origin(paths=paths, graph=b"", frame=Frame(size=(32, 32)))
