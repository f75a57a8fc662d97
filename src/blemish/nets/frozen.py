"""Pretrained networks that are never trained, and their ONNX graph.

The graph has the normalisation inside: (1, 3, h, w) float32 in [0, 1] → one (1, C, h', w') map of
features for each tap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from blemish.errors import ConfigError, WeightsError
from blemish.export import check_parity, to_onnx
from blemish.nets.points import Shapes
from blemish.nets.pretrained import BACKBONES, Pretrained
from blemish.nets.weights import read_state


class Frozen(nn.Module):
    """A backbone in eval mode with normalisation inside, ending in the features at its taps.

    taps: strides in pixels for a CNN (4, 8, 16, 32), 0-based blocks for a ViT.
    size: (h, w) a ViT's position embedding is resampled to; a CNN takes any.
    Raises WeightsError if the tensors do not fit, ConfigError on a tap it does not have.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: str, taps: tuple[int, ...], size: tuple[int, int], weights: Path
    ) -> None:
        super().__init__()
        known = BACKBONES[backbone]
        self.taps, self.is_vit = taps, backbone.startswith("vit_")
        self.register_buffer("mean", torch.tensor(known.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(known.std).view(1, 3, 1, 1))
        build = _build_vit if self.is_vit else _build_cnn
        self.net: Any = build(known, taps, size, read_state(weights))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:  # (B, 3, h, w) in [0, 1]
        normal = (image - self.mean) / self.std
        if self.is_vit:  # the final LayerNorm on every tap, class and register tokens dropped
            return tuple(
                self.net.forward_intermediates(
                    normal, indices=list(self.taps), norm=True, intermediates_only=True
                )
            )
        return tuple(self.net(normal))  # (B, C, h', w') for each tap


def _build_cnn(
    known: Pretrained, taps: tuple[int, ...], size: tuple[int, int], state: dict[str, Tensor]
) -> nn.Module:
    whole: nn.Module = timm.create_model(known.name)
    _load(whole, _in_order(whole, state) if known.package else state, known)
    info: Any = timm.create_model(known.name, features_only=True).feature_info
    strides = list(info.reduction())
    if unknown := set(taps) - set(strides):
        raise ConfigError(
            f"taps of '{known.name}' must be among its strides {strides}, got {sorted(unknown)}."
        )
    net: nn.Module = timm.create_model(
        known.name, features_only=True, out_indices=tuple(strides.index(tap) for tap in taps)
    )
    kept = net.state_dict()
    net.load_state_dict({name: whole.state_dict()[name] for name in kept})
    return net


def _build_vit(
    known: Pretrained, taps: tuple[int, ...], size: tuple[int, int], state: dict[str, Tensor]
) -> nn.Module:
    from timm.models.vision_transformer import checkpoint_filter_fn

    net: Any = timm.create_model(known.name, img_size=size, num_classes=0)
    if unknown := [tap for tap in taps if not 0 <= tap < len(net.blocks)]:
        raise ConfigError(
            f"taps of '{known.name}' must be blocks 0 to {len(net.blocks) - 1}, but got {unknown}."
        )
    _load(net, checkpoint_filter_fn(state, net), known)
    vit: nn.Module = net
    return vit


def fitting_state(known: Pretrained, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, under names that do not depend on their order.

    Raises WeightsError unless they are the network's, tensor by tensor.
    """
    from timm.models.vision_transformer import checkpoint_filter_fn

    with torch.random.fork_rng(devices=[]):  # networks draw weights before they get their own
        if known.name.startswith("vit_"):
            net: Any = timm.create_model(known.name, num_classes=0)
            _load(net, checkpoint_filter_fn(dict(state), net), known)
            return state
        net = timm.create_model(known.name)
    state = _in_order(net, state) if known.package else state
    _load(net, state, known)
    return state


def _in_order(net: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package names its tensors differently, but keeps timm's order."""
    names = list(net.state_dict())
    same = set(names) == set(state) or len(names) != len(state)  # else _load says what is wrong
    return state if same else dict(zip(names, state.values(), strict=True))


def _load(net: nn.Module, state: dict[str, Tensor], known: Pretrained) -> None:
    try:
        net.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"the weights must fit '{known.name}' tensor by tensor, but: {reason}."
            f" The usual file is {known.file}."
        ) from error


class Stacked(nn.Module):
    """A backbone of P pictures of an image: (B, 3 P, h, w) → (B, P C, h', w') for each tap."""

    def __init__(self, frozen: Frozen, pictures: int) -> None:
        super().__init__()
        self.frozen, self.pictures = frozen, pictures
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        taps = self.frozen(torch.unflatten(image, 1, (self.pictures, 3)).flatten(0, 1))
        return tuple(torch.unflatten(tap, 0, (-1, self.pictures)).flatten(1, 2) for tap in taps)


class Beside(nn.Module):
    """A backbone and Point-MAE as one network: an image and what a scan is shown as → the image's
    taps, and the scan's shape."""

    def __init__(self, frozen: Frozen, shapes: Shapes) -> None:
        super().__init__()
        self.frozen, self.shapes = frozen, shapes
        self.eval()  # the exporter puts all parts back to what the whole was in

    def forward(self, image: Tensor, *scan: Tensor) -> tuple[Tensor, ...]:
        return *self.frozen(image), self.shapes(*scan)


def frozen_graph(
    backbone: str,
    taps: tuple[int, ...],
    size: tuple[int, int],
    weights: Path,
    shapes: Shapes | None = None,
    pictures: int = 1,
) -> bytes:
    """ONNX bytes of a backbone, for any number of images; a CNN's of any size, a ViT's of this one.

    shapes: what is joined beside it: the graph takes centres, groups and mix of one scan, too, and
    gives its shape after the taps. pictures: of three planes that an image has; their features are
    put side by side. Raises ExportError unless ONNX Runtime reproduces torch within
    1e-3 of the largest feature.
    """
    with torch.random.fork_rng(devices=[]):  # networks draw weights before they get their own
        frozen = Frozen(backbone, taps, size, weights)
    names = [f"tap_{tap}" for tap in taps]
    free = {0: "b"} if frozen.is_vit else {0: "b", 2: "h_", 3: "w_"}
    axes = {
        name: {axis: word + name * (axis > 0) for axis, word in free.items()}
        for name in ("image", *names)
    }
    rng = torch.Generator().manual_seed(0)
    feed = {"image": torch.rand(1, 3 * pictures, *size, generator=rng)}
    if shapes is not None:
        feed |= shapes.probe(rng)
        names.append("shape")
    net: nn.Module = frozen if pictures == 1 else Stacked(frozen, pictures)
    if shapes is not None:
        net = Beside(frozen, shapes)
    graph = to_onnx(net, tuple(feed.values()), list(feed), names, axes)
    check_parity(net, graph, feed)
    return graph
