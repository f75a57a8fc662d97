"""Made-up checkpoints with the names and shapes of SAM's and MobileSAM's, and a tiny SAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer_sam import VisionTransformerSAM

from blemish.nets.sam_decoder import SamDecoder
from blemish.nets.teachers import SamEncoder
from blemish.nets.tinyvit import Normalised

State = dict[str, torch.Tensor]
WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)


def mobilesam_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of MobileSAM's image encoder, without the prefix, classifier included."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inside: int, outside: int, side: int) -> None:
        shapes[f"{name}.c.weight"] = (outside, inside, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (outside,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    def linear(name: str, inside: int, outside: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outside, inside), (outside,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    conv("patch_embed.seq.0", 3, 32, 3)
    conv("patch_embed.seq.2", 32, 64, 3)
    for i in range(2):
        conv(f"layers.0.blocks.{i}.conv1", 64, 256, 1)
        conv(f"layers.0.blocks.{i}.conv2", 1, 256, 3)
        conv(f"layers.0.blocks.{i}.conv3", 256, 64, 1)
    for stage in (1, 2, 3):
        width, cells = WIDTHS[stage], WINDOWS[stage] ** 2
        for i in range(DEPTHS[stage]):
            block = f"layers.{stage}.blocks.{i}"
            shapes[f"{block}.attn.attention_biases"] = (HEADS[stage], cells)
            norm(f"{block}.attn.norm", width)
            linear(f"{block}.attn.qkv", width, 3 * width)
            linear(f"{block}.attn.proj", width, width)
            norm(f"{block}.mlp.norm", width)
            linear(f"{block}.mlp.fc1", width, 4 * width)
            linear(f"{block}.mlp.fc2", 4 * width, width)
            conv(f"{block}.local_conv", 1, width, 3)
    for stage in (0, 1, 2):
        inside, outside = WIDTHS[stage : stage + 2]
        conv(f"layers.{stage}.downsample.conv1", inside, outside, 1)
        conv(f"layers.{stage}.downsample.conv2", 1, outside, 3)
        conv(f"layers.{stage}.downsample.conv3", outside, outside, 1)
    shapes["neck.0.weight"], shapes["neck.2.weight"] = (256, 320, 1, 1), (256, 256, 3, 3)
    norm("neck.1", 256)
    norm("neck.3", 256)
    norm("norm_head", 320)
    linear("head", 320, 1000)
    return shapes


def filled(shapes: dict[str, tuple[int, ...]], prefix: str, seed: int = 0) -> State:
    """Small random numbers; variances and scales near 1."""
    generator = torch.Generator().manual_seed(seed)

    def one(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("tracked"):
            return torch.tensor(7)
        noise = 0.05 * torch.randn(shape, generator=generator)
        return 1 + noise if name.endswith("var") or "norm" in name or ".bn.w" in name else noise

    return {prefix + name: one(name, shape) for name, shape in shapes.items()}


def decoder_state(seed: int = 0) -> State:
    """Prompt encoder and mask decoder of a checkpoint, as far as they matter, and a little more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = SamDecoder().state_dict()
    state = {
        "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight": torch.ones(128, 256),
        "mask_decoder.transformer.norm_final_attn.weight": torch.ones(256),
        "mask_decoder.output_upscaling.0.weight": torch.ones(256, 64, 2, 2),
        "prompt_encoder.point_embeddings.0.weight": torch.ones(1, 256),
    }
    for name, value in own.items():
        if name == "gaussian":
            state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = value
        elif name == "no_mask_embed.weight":
            state["prompt_encoder.no_mask_embed.weight"] = value
        else:
            layer = "transformer." if name.startswith("layers.") else ""
            state[f"mask_decoder.{layer}{name}"] = value
    return state


def mobilesam(seed: int = 0) -> State:
    """A whole MobileSAM checkpoint."""
    return {**filled(mobilesam_shapes(), "image_encoder.", seed), **decoder_state(seed)}


class TinySam(SamEncoder):
    """SAM's image encoder with two narrow blocks instead of 32 wide ones."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.normalise = Normalised()
        self.net: Any = VisionTransformerSAM(
            img_size=64,
            patch_size=16,
            num_classes=0,
            embed_dim=16,
            depth=2,
            num_heads=2,
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
            neck_chans=256,
        )


def tiny_sam(seed: int = 0) -> State:
    """A whole SAM checkpoint, tiny."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = TinySam().net.state_dict()
    prefix = "image_encoder."
    encoder = {prefix + name.replace("mlp.fc", "mlp.lin"): value for name, value in own.items()}
    return {**encoder, **decoder_state(seed + 1)}


def saved(state: State, path: Path) -> str:
    torch.save(state, path)
    return str(path)
