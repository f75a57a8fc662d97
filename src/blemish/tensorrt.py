"""Whether a graph is one that TensorRT's ONNX parser should take: what can be told without it.

Checked: operators, types, sizes, that whole numbers fit 32 bits, that pairs of quantising and
dequantising are symmetric and of eight bits, and that biases are floats. Not checked, for want of a
GPU: that an engine can be built, how fast it is, and what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from blemish.errors import ExportError
from blemish.surgery import constants

OPSETS = range(9, 21)
# Of the parser's table of operators, those that take float32 without conditions that are not looked
# at here.
_NAMES = """
    Abs Add ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv
    ConvTranspose DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
    Gemm GlobalAveragePool Greater Identity LayerNormalization LeakyRelu Less Log LogSoftmax MatMul
    Max MaxPool Min Mul Neg Not Or And Pow QuantizeLinear Reciprocal ReduceL2 ReduceMax ReduceMean
    ReduceMin ReduceSum Relu Reshape Resize Sigmoid Sign Slice Softmax Softplus Split Sqrt Squeeze
    Sub Sum Tanh TopK Transpose Unsqueeze Where
"""
OPERATORS = frozenset(_NAMES.split())
TYPES = {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
QUANTISED = {TensorProto.INT8}


def require_ready(model: ModelProto) -> None:
    """Raises ExportError with all that TensorRT's parser would not take, if there is anything."""
    if found := list(problems(model)):
        raise ExportError(
            f"a graph must be one that TensorRT's parser takes, but: {'; '.join(found)}."
            " Export it with --to onnx, or fit with another method."
        )


def problems(model: ModelProto) -> Iterator[str]:
    """What TensorRT's parser would not take, in words."""
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if opset not in OPSETS:
        yield f"its opset is {opset}, not within {OPSETS[0]} to {OPSETS[-1]}"
    if odd := sorted({node.op_type for node in model.graph.node} - OPERATORS):
        yield f"operators {odd} are not on the list"
    if any(one.data_location == TensorProto.EXTERNAL for one in model.graph.initializer):
        yield "it keeps numbers in other files"
        return  # which are not read
    yield from _types(model)
    yield from _pairs(model)


def _types(model: ModelProto) -> Iterator[str]:
    whole = onnx.shape_inference.infer_shapes(model)
    entries = {
        one.name: one.type.tensor_type
        for one in (*whole.graph.value_info, *whole.graph.input, *whole.graph.output)
    }
    made = [name for node in model.graph.node for name in node.output if name]
    if unknown := [name for name in made if name not in entries]:
        yield f"the sizes of {unknown[:3]} cannot be told"
    free = [
        name
        for name, kind in entries.items()
        if not all(side.HasField("dim_value") for side in kind.shape.dim)
    ]
    if free:
        yield f"the sizes of {free[:3]} are not fixed"
    numbers = {one.name: one.data_type for one in model.graph.initializer}
    kinds = {name: kind.elem_type for name, kind in entries.items()} | numbers
    odd = {kind for kind in kinds.values() if kind not in TYPES | QUANTISED}
    if odd:
        names = sorted(TensorProto.DataType.Name(kind) for kind in odd)
        yield f"it has tensors of {names}"
    for name, value in constants(model).items():
        if value.dtype == np.int64 and value.size and np.abs(value).max() > np.iinfo(np.int32).max:
            yield f"'{name}' does not fit 32 bits"


def _pairs(model: ModelProto) -> Iterator[str]:
    numbers = constants(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if len(node.input) > 2 and np.any(numbers[node.input[2]] != 0):
                yield f"'{node.name}' has a zero that is not 0"
            if any(name not in numbers for name in node.input[1:]):
                yield f"'{node.name}' has a scale that is not constant"
