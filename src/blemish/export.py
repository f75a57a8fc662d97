"""The method's graph → graph.onnx, refused unless torch and the runtime agree."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.compose
import torch
from torch import Tensor, nn

from blemish.engines import TOLERANCE, difference, entries, open_engine
from blemish.errors import ExportError
from blemish.surgery import settled

OPSET = 17
_IMAGE = "backbone/image"


def to_onnx(
    net: nn.Module,
    example: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> bytes:
    """ONNX bytes of a module by torch's tracing exporter; warning filters are left as found."""
    buffer: Any = io.BytesIO()  # the exporter takes one, though its types say a path
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on its own deprecation
        torch.onnx.export(
            net,
            example,
            buffer,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # docs/decisions/0003: 0.5 s against 200 s on two cores
        )
    return bytes(buffer.getvalue())


def check_parity(net: nn.Module, graph: bytes, feed: dict[str, Tensor]) -> None:
    """Raises ExportError unless the runtime's outputs are torch's, within TOLERANCE."""
    with torch.no_grad():
        expected = net(*feed.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    actual = open_engine(graph).run({name: value.numpy() for name, value in feed.items()})
    for wanted, got in zip(expected, actual, strict=True):
        _compare(wanted.numpy(), got, "the exported graph must agree with torch")


def join(backbone: bytes, head: bytes) -> bytes:
    """One graph: what the backbone gives feeds the head's inputs of the same names. A head that
    takes the image, too, shares the backbone's; what else it takes is an input of the graph. One
    that takes nothing of the backbone's is the whole graph."""
    alone, whole = onnx.load_from_string(head), onnx.load_from_string(backbone)
    given = {entry.name for entry in whole.graph.output}
    taps = [entry.name for entry in alone.graph.input if entry.name in given]
    if not taps:
        return head
    first = onnx.compose.add_prefix(whole, "backbone/")
    second = onnx.compose.add_prefix(alone, "head/")
    second.ir_version = first.ir_version
    joined = onnx.compose.merge_models(
        first, second, io_map=[(f"backbone/{tap}", f"head/{tap}") for tap in taps]
    )
    for node in joined.graph.node:
        node.input[:] = [_IMAGE if name == "head/image" else name for name in node.input]
    for entry in [one for one in joined.graph.input if one.name == "head/image"]:
        joined.graph.input.remove(entry)
    return bytes(joined.SerializeToString())


def settle(graph: bytes, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """See surgery.settled. shapes: of the inputs, by the names that entries gives."""
    named = {
        entry.name: shapes[entry.name.rsplit("/", 1)[-1]]
        for entry in onnx.load_from_string(graph).graph.input
    }
    return bytes(settled(graph, named).SerializeToString())


def check_join(
    graph: bytes,
    head: bytes,
    shown: dict[str, npt.NDArray[np.float32]],
    feed: dict[str, npt.NDArray[np.float32]],
) -> None:
    """Raises ExportError unless the joined graph gives what backbone and head gave in turn.

    shown: what the graph takes of a part; feed: what the head takes of it.
    """
    whole = open_engine(graph)
    expected = open_engine(head).run(feed)[0]
    given = {entry: shown[name] for name, entry in entries(whole).items()}
    actual = whole.run(given)[0]
    _compare(expected, actual, "the joined graph must agree with its parts")


def _compare(expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], must: str) -> None:
    worst = difference(expected, actual)
    if not worst <= TOLERANCE:
        raise ExportError(
            f"{must} within {TOLERANCE} of the largest value, but differs by {worst:.2g}."
            " Update torch and onnxruntime; nothing was written."
        )
