"""TinyViT-5M as MobileSAM cut it: the students of STLM, or a teacher that needs no large GPU.

Wu, Zhang, Peng, Liu, Xiao, Fu, Yuan 2022, "TinyViT: Fast Pretraining Distillation for Small Vision
Transformers", arXiv 2207.10666; Zhang et al. 2023, "Faster Segment Anything", arXiv 2306.14289.
The blocks are timm's. MobileSAM's last stage keeps stride 16, and a neck ends in 256 channels.
"""

from __future__ import annotations

import re
from typing import Any

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from blemish.nets.pretrained import IMAGENET

NECK = 256  # channels
_NAMES = (  # MobileSAM's → timm's, one after the other
    (r"^patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"^patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"^layers\.(\d)\.blocks\.", r"stages.\1.blocks."),
    # a stage ends in its step down there, and begins with it in timm
    (r"^layers\.0\.downsample\.", "stages.1.downsample."),
    (r"^layers\.1\.downsample\.", "stages.2.downsample."),
    (r"^layers\.2\.downsample\.", "stages.3.downsample."),
    (r"\.c\.weight$", ".conv.weight"),
)
_UNUSED = ("head.", "norm_head.", "mean", "std")  # of a classifier, and ours


class Normalised(nn.Module):
    """(B, 3, h, w) in [0, 1] → what ImageNet's networks take: by mean and standard deviation.

    SAM's 123.675 … of 255 are the same numbers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in zip(("mean", "std"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class TinyViT(nn.Module):
    """(B, 3, h, w) in [0, 1], sides multiples of 16 → (B, 256, h / 16, w / 16).

    5,743,892 parameters. Windows of 7 and 14 cells that do not fill are padded, so that no size is
    special, 1024 neither.
    """

    def __init__(self) -> None:
        super().__init__()
        net: Any = timm.create_model("tiny_vit_5m_224", num_classes=0)
        self.normalise = Normalised()
        self.patch_embed, self.stages = net.patch_embed, net.stages
        self.stages[3].downsample.conv2.conv.stride = (1, 1)
        width = self.stages[3].out_dim
        self.neck = nn.Sequential(
            nn.Conv2d(width, NECK, 1, bias=False),
            LayerNorm2d(NECK),
            nn.Conv2d(NECK, NECK, 3, padding=1, bias=False),
            LayerNorm2d(NECK),
        )
        for part in self.modules():
            if hasattr(part, "attention_bias_cache"):
                part.register_forward_pre_hook(_forget)

    def forward(self, image: Tensor) -> Tensor:
        seen: Tensor = self.neck(self.stages(self.patch_embed(self.normalise(image))))
        return seen


def _forget(attention: Any, _: object) -> None:
    """Biases looked up once in eval mode outlive weights that are loaded later: never keep them."""
    attention.attention_bias_cache = {}


def from_mobilesam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A MobileSAM checkpoint's image encoder under TinyViT's names; the rest is left out."""
    prefix, found = "image_encoder.", {}
    for name, value in state.items():
        own = name.removeprefix(prefix)
        if own == name or own.startswith(_UNUSED) or own.endswith("attention_bias_idxs"):
            continue
        for pattern, replacement in _NAMES:
            own = re.sub(pattern, replacement, own)
        found[own] = value
    return found
