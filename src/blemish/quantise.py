"""A backbone in eight bits whose features a head cannot tell from the ones it was fitted on.

Channels are made equally wide (equalise.py), ONNX Runtime's quantiser puts convolutions, clips and
sums into eight bits, and an affine map behind each tap, fitted by least squares on good parts,
takes back what the rounding changes in a regular way. The first convolutions stay in floats, as few
of them as agreement needs; the head stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from blemish.engines import open_engine
from blemish.equalise import Ranges, equalised
from blemish.errors import ExportError
from blemish.surgery import renamed, spliced
from blemish.track import Track, silent

Array = npt.NDArray[np.float32]
Taps = list[Array]  # (1, C, h', w') each
AIM = 0.99  # least agreement of what the search offers; what it is judged by agrees better
MOST = 0.5  # share of the convolutions that may stay in floats: with more nothing is gained
RIDGE = 1e-7  # of a tap's mean variance, so that channels that never vary do no harm
_KINDS = ["Conv", "Clip", "Add"]
_WIDE = "/wide"  # behind the name of a tap before its affine map


@dataclass(frozen=True)
class Quantised:
    """A backbone in eight bits. floats: names of the convolutions left in floats, `of` all.
    agreement: as measured by what the search was given."""

    model: ModelProto
    floats: tuple[str, ...]
    of: int
    agreement: float


class Quantiser:
    """Makes a backbone's quantised forms.

    backbone: from one image to taps, sizes fixed. images: (1, 3, h, w) of good parts, at least one.
    symmetric: zero is zero and there are no biases in integers, as TensorRT wants it.
    """

    def __init__(
        self, backbone: ModelProto, images: Sequence[Array], *, symmetric: bool = False
    ) -> None:
        self.images, self.symmetric = images, symmetric
        self.taps = [entry.name for entry in backbone.graph.output]
        self.exact = list(features(backbone, images))
        wide = equalised(backbone, channel_ranges(backbone, images))
        self.wide = renamed(wide, {tap: f"{tap}{_WIDE}" for tap in self.taps})
        self.convolutions = [one.name for one in self.wide.graph.node if one.op_type == "Conv"]
        if not self.convolutions:
            raise ExportError(
                "a backbone must have convolutions to be put into eight bits, but this one has"
                " none. Export it without --int8."
            )
        reach = channel_ranges(self.wide, images)
        self.ranges = {name: (low.min(), high.max()) for name, (low, high) in reach.items()}

    def changes(self) -> list[int]:
        """How many of the first convolutions may stay in floats, up to MOST. The last of them makes
        no more numbers than the one before or behind it: inside of a block that widens and narrows
        again the change to eight bits, of a large tensor, would cost more time than it saves."""
        shapes = _sizes(self.wide)
        made = {node.name: node.output[0] for node in self.wide.graph.node}
        sizes = [int(np.prod(shapes[made[name]])) for name in self.convolutions]
        most = int(len(sizes) * MOST)

        def small(count: int) -> bool:
            return sizes[count - 1] <= min(sizes[max(count - 2, 0)], sizes[count])

        return [0, *(n for n in range(1, most + 1) if n == most or small(n))]

    def form(self, floats: Sequence[str]) -> ModelProto:
        """All in eight bits but these convolutions, its features corrected by least squares."""
        model = self._form(floats)
        return self._corrected(model, self._corrections(model))

    def _form(self, floats: Sequence[str]) -> ModelProto:
        left = _in_floats(self.wide, floats)
        whole = ModelProto()
        whole.CopyFrom(self.wide)
        ranges = TensorsData(CalibrationMethod.MinMax, dict(self.ranges))
        kind = QuantType.QInt8 if self.symmetric else QuantType.QUInt8
        options = {"ActivationSymmetric": self.symmetric, "QuantizeBias": not self.symmetric}
        made = QDQQuantizer(
            whole, True, False, QuantType.QInt8, kind, ranges, None, left, _KINDS,
            {**options, "WeightSymmetric": True},
        )  # fmt: skip
        made.quantize_model()
        return ModelProto.FromString(made.model.model.SerializeToString())

    def _corrections(self, model: ModelProto) -> list[tuple[Array, Array]]:
        pairs = zip(features(model, self.images), self.exact, strict=True)
        columns = zip(*((zip(given, wanted, strict=True)) for given, wanted in pairs), strict=True)
        return [least_squares(column) for column in columns]

    def _corrected(
        self, model: ModelProto, corrections: Sequence[tuple[Array, Array]]
    ) -> ModelProto:
        made = ModelProto()
        made.CopyFrom(model)
        shapes = _sizes(self.wide)
        del made.graph.output[:]
        for tap, (matrix, shift) in zip(self.taps, corrections, strict=True):
            names = [f"{tap}/matrix", f"{tap}/shift"]
            made.graph.initializer.extend(
                numpy_helper.from_array(value, name)
                for name, value in zip(names, (matrix[..., None, None], shift), strict=True)
            )
            made.graph.node.append(
                helper.make_node("Conv", [f"{tap}{_WIDE}", *names], [tap], name=f"{tap}/corrected")
            )
            made.graph.output.append(
                helper.make_tensor_value_info(tap, onnx.TensorProto.FLOAT, shapes[f"{tap}{_WIDE}"])
            )
        return made


def searched(
    quantiser: Quantiser, agree: Callable[[ModelProto], float], track: Track = silent
) -> Iterator[Quantised]:
    """Forms whose agreement reaches AIM, fewest convolutions in floats first; if none does, the one
    with most. Floats are taken from the image on: what is rounded there goes through all that
    follows, and a network that changes once from floats to eight bits loses little time on the way.

    agree: a backbone → in [-1, 1], how well maps agree with the exact ones.
    """
    names, counts = quantiser.convolutions, quantiser.changes()
    reached = False
    for count in track(counts, "Looking for what needs floats", len(counts)):
        model = quantiser.form(names[:count])
        agreement = agree(model)
        reached |= agreement >= AIM
        if agreement >= AIM or (count == counts[-1] and not reached):
            yield Quantised(model, tuple(names[:count]), len(names), agreement)


def _in_floats(model: ModelProto, floats: Sequence[str]) -> list[str]:
    """These convolutions, with clips behind them and sums of what they give."""
    left, tensors = set(floats), set()
    for node in model.graph.node:
        fed = any(name in tensors for name in node.input)
        if node.name in left or (node.op_type in _KINDS[1:] and fed):
            left.add(node.name)
            tensors |= {*node.output}
    return sorted(left)


def channel_ranges(model: ModelProto, images: Sequence[Array]) -> Ranges:
    """Lowest and highest value of each channel of each float tensor, the image among them."""
    whole = ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    names = [name for node in model.graph.node for name in node.output]
    whole.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    entry = model.graph.input[0].name
    found: Ranges = {}
    for image, values in zip(images, features(whole, images), strict=True):
        for name, value in zip((entry, *names), (image, *values), strict=True):
            flat = np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)  # pictures are a batch
            low, high = flat.min(1), flat.max(1)
            before = found.get(name, (low, high))
            found[name] = (np.minimum(low, before[0]), np.maximum(high, before[1]))
    return found


def features(model: ModelProto, images: Sequence[Array]) -> Iterator[Taps]:
    """What a graph of one input makes of each image, one at a time."""
    engine = open_engine(model.SerializeToString(), threads=1)
    for image in images:
        yield engine.run({engine.inputs[0].name: image})


def least_squares(pairs: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """(1, C, h, w) given and wanted → the (C, C) matrix and (C,) shift that bring one to the other
    with least squared error, at every position alike."""
    given, wanted = (
        np.concatenate([np.moveaxis(pair[side], 1, -1).reshape(-1, pair[side].shape[1])
                        for pair in pairs]).astype(np.float64)
        for side in (0, 1)
    )  # fmt: skip
    middle, aim = given.mean(0), wanted.mean(0)
    given -= middle
    square = given.T @ given
    square += RIDGE * max(np.trace(square) / len(square), 1e-30) * np.eye(len(square))
    matrix = np.linalg.solve(square, given.T @ (wanted - aim)).T  # (C wanted, C given)
    return matrix.astype(np.float32), (aim - matrix @ middle).astype(np.float32)


def whole_graph(backbone: ModelProto, head: ModelProto) -> bytes:
    """Backbone and head as one graph."""
    return bytes(spliced(backbone, head).SerializeToString())


def _sizes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    whole = onnx.shape_inference.infer_shapes(model)
    entries = (*whole.graph.value_info, *whole.graph.input, *whole.graph.output)
    return {
        one.name: tuple(side.dim_value for side in one.type.tensor_type.shape.dim)
        for one in entries
    }
