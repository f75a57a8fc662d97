"""A network's channels made equally wide before it is quantised; what it computes stays the same.

Eight bits for all channels of a tensor suit those that reach far; what varies little drowns in the
rounding. Between convolutions a channel can be scaled in what makes it and scaled back in what
takes it (Nagel, van Baalen, Blankevoort, Welling 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction", arXiv 1906.04721, section 4.1). Here all channels are scaled to
the range of the widest, by what they were seen to reach on good parts, and those between linear
layers are centred, too; a clip to 0 … 6 then ends where a channel's own values end, which eight
bits would do to them anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto

from blemish.surgery import Numbers, constants, group_of, with_constants

Array = npt.NDArray[np.float32]
Ranges = dict[str, tuple[Array, Array]]  # tensor → lowest and highest value of each channel
MARGIN = 1.3  # how much further than it was seen a channel may reach
LEAST = 1e-3  # of the widest channel: narrower ones are noise or dead
_PASS = ("Add", "Clip", "Relu")  # channel by channel, with the same scale on both sides


@dataclass(frozen=True)
class _Family:
    """Tensors that must share a scale.

    makers, takers: the convolutions around them, in order. limit: where a clip ends; 0 without one,
    infinite after a ReLU. centred: whether what the first maker adds is in all that is taken, once.
    """

    tensors: frozenset[str]
    makers: list[NodeProto]
    takers: list[NodeProto]
    limit: float = 0.0
    centred: bool = False


def equalised(model: ModelProto, ranges: Ranges) -> ModelProto:
    """The network with equally wide channels wherever convolutions alone make and take them.

    model: with fixed sizes. Outputs are given as they are then, on another scale: what is affine of
    a channel must be undone behind it.
    """
    model = _unshared(model)
    numbers = constants(model)
    for family in _families(model, numbers):
        _rescale(family, numbers, *_scale(family, ranges))
    return with_constants(model, numbers)


def _unshared(model: ModelProto) -> ModelProto:
    """Each convolution with numbers of its own: equal ones are kept once."""
    numbers, made = constants(model), with_constants(model, constants(model))
    for node in made.graph.node:
        if node.op_type == "Conv" and {*node.input[1:]} <= {*numbers}:
            own = [f"{node.output[0]}/{part}" for part in ("weights", "bias")][
                : len(node.input) - 1
            ]
            numbers |= dict(zip(own, (numbers[name] for name in node.input[1:]), strict=True))
            node.input[1:] = own
    used = {name for node in made.graph.node for name in node.input}
    return with_constants(made, {name: one for name, one in numbers.items() if name in used})


def _families(model: ModelProto, numbers: Numbers) -> list[_Family]:
    nodes, outputs = list(model.graph.node), {entry.name for entry in model.graph.output}
    of: dict[str, set[str]] = {}
    for node in nodes:
        for tensor in (*node.input, *node.output):
            of.setdefault(tensor, {tensor})
        if node.op_type in _PASS:
            of_all = [of[name] for name in (*node.input, *node.output) if name not in numbers]
            joint = set().union(*of_all)
            of.update(dict.fromkeys(joint, joint))
    seen = {id(one): frozenset(one) for one in of.values()}
    found = (_family(tensors, nodes, numbers, outputs) for tensors in seen.values())
    return [family for family in found if family is not None]


def _family(
    tensors: frozenset[str], nodes: Iterable[NodeProto], numbers: Numbers, outputs: set[str]
) -> _Family | None:
    """None where others than plain and depthwise convolutions make or take them."""
    inside = [node for node in nodes if tensors & {*node.input, *node.output}]
    makers = [node for node in inside if node.output[0] in tensors and node.op_type not in _PASS]
    takers = [node for node in inside if tensors & {*node.input} and node.op_type not in _PASS]
    bends = [node for node in inside if node.op_type in ("Clip", "Relu")]
    adds = [node for node in inside if node.op_type == "Add"]
    if not makers or not all(_plain(node, numbers) for node in (*makers, *takers)):
        return None
    if any(set(node.input) & set(numbers) for node in adds):
        return None
    if not bends:
        taken = tensors & {*outputs, *(name for node in takers for name in node.input)}
        carried = {node.output[0]: int(node is makers[0]) for node in makers}
        for node in adds:
            carried[node.output[0]] = sum(carried[name] for name in node.input)
        # zeros beyond the border would be moved, too
        inward = not any(_pads(node) for node in takers)
        once = inward and all(carried[name] == 1 for name in taken)
        return _Family(tensors, makers, takers, centred=once)
    # A clip among sums would cut some of what it is added to, and an output is not to be cut.
    if len(tensors) != 2 or tensors & outputs:
        return None
    limits = [float(numbers[name]) for name in bends[0].input[1:] if name in numbers]
    if limits and (len(limits) != 2 or limits[0] != 0):
        return None
    return _Family(tensors, makers, takers, limit=limits[1] if limits else np.inf)


def _plain(node: NodeProto, numbers: Numbers) -> bool:
    """A convolution with a bias; in one group, or one group a channel."""
    if node.op_type != "Conv" or len(node.input) != 3 or not {*node.input[1:]} <= {*numbers}:
        return False
    weights = numbers[node.input[1]]
    return group_of(node) == 1 or (group_of(node) == weights.shape[0] and weights.shape[1] == 1)


def _scale(family: _Family, ranges: Ranges) -> tuple[Array, Array]:
    """What each channel is multiplied by after its centre was taken away."""
    tensors = sorted(family.tensors & set(ranges))
    low = np.min([ranges[name][0] for name in tensors], axis=0)
    high = np.max([ranges[name][1] for name in tensors], axis=0)
    if family.limit:
        limit = family.limit if np.isfinite(family.limit) else float(high.max()) * MARGIN
        # of a ReLU's input only what it lets through counts
        reach = np.minimum(np.maximum(high, 0) * MARGIN, limit)
        reach = np.where(reach < LEAST * limit, limit, reach)
        return (limit / reach).astype(np.float32), np.zeros_like(low)
    centre = (low + high) / 2 if family.centred else np.zeros_like(low)
    reach = np.maximum(high - centre, centre - low)
    return (1 / np.maximum(reach, LEAST * reach.max() + 1e-30)).astype(np.float32), centre


def _pads(node: NodeProto) -> bool:
    """Whether a convolution looks past the border."""
    return any(sum(one.ints) > 0 for one in node.attribute if one.name == "pads")


def _rescale(family: _Family, numbers: Numbers, scale: Array, centre: Array) -> None:
    for place, node in enumerate(family.makers):
        _, weights, bias = node.input
        moved = numbers[bias] - (centre if place == 0 else 0)  # a sum moves once
        numbers[weights] = (numbers[weights] * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        numbers[bias] = (moved * scale).astype(np.float32)
    for node in family.takers:
        _, weights, bias = node.input
        whole = group_of(node) == 1
        back = scale.reshape((1, -1, 1, 1) if whole else (-1, 1, 1, 1))
        if whole:
            added = numbers[weights].sum((2, 3)) @ centre
            numbers[bias] = (numbers[bias] + added).astype(np.float32)
        numbers[weights] = (numbers[weights] / back).astype(np.float32)
