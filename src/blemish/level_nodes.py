"""What bands.py does to an image's numbers, as nodes in front of a graph: for exported files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from blemish.bands import Bands
from blemish.surgery import renamed, spliced


def with_bands(model: ModelProto, bands: Bands, image: str) -> ModelProto:
    """The graph that takes (1, n, h, w) float32, an image's own numbers, in place of planes.

    model: sizes fixed; image: its input. See Bands.planes, of which every step is a node here.
    """
    entry, own = model.graph.input[0], f"{image}/planes"
    sides = [side.dim_value for side in entry.type.tensor_type.shape.dim]
    sides[1] = len(bands.middle)
    numbers = {
        "middle": np.array(bands.middle).reshape(1, -1, 1, 1),
        "rows": np.array(bands.rows)[..., None, None],
        "offsets": np.array(bands.offsets),
        "zero": np.array(0.0),
        "one": np.array(1.0),
    }
    front = helper.make_graph(
        list(_nodes(image, own)),
        "bands",
        [helper.make_tensor_value_info(image, onnx.TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info(own, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(one.astype(np.float32), f"bands/{name}")
         for name, one in numbers.items()],
    )  # fmt: skip
    made = spliced(helper.make_model(front), renamed(model, {image: own}))
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def _nodes(image: str, planes: str) -> Sequence[NodeProto]:
    """Linear first, then logarithms beyond 0 and 1; see bands.soft."""
    steps = [
        ("Sub", ("image", "middle"), "away"),
        ("Conv", ("away", "rows", "offsets"), "linear"),
        ("Clip", ("linear", "zero", "one"), "within"),
        ("Sub", ("linear", "within"), "beyond"),
        ("Abs", ("beyond",), "far"),
        ("Add", ("far", "one"), "farther"),
        ("Log", ("farther",), "log"),
        ("Sign", ("beyond",), "side"),
        ("Mul", ("log", "side"), "added"),
        ("Add", ("within", "added"), "planes"),
    ]
    ends = {"image": image, "planes": planes}
    return [
        helper.make_node(
            kind,
            [ends.get(name, f"bands/{name}") for name in taken],
            [ends.get(made, f"bands/{made}")],
            name=f"bands/{made}",
        )
        for kind, taken, made in steps
    ]
