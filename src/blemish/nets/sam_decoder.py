"""SAM's two-way transformer without prompts: five tokens look at an embedding, and it at them.

Kirillov et al. 2023, "Segment Anything", arXiv 2304.02643, as STLM (arXiv 2402.19145) uses it.
Names of parameters are those of SAM's checkpoints. The last attention of tokens to image
(132,224 parameters) is left out: only masks are made of it, and STLM makes none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, HIDDEN = 256, 8, 2048  # channels, of attention, of the perceptron
_PLACES = {  # SAM's checkpoints → here; what is not named is not used
    "mask_decoder.transformer.layers.": "layers.",
    "mask_decoder.iou_token.": "iou_token.",
    "mask_decoder.mask_tokens.": "mask_tokens.",
    "prompt_encoder.no_mask_embed.": "no_mask_embed.",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "gaussian",
}


class Attention(nn.Module):
    """Multi-head attention (B, N, D), (B, M, D), (B, M, D) → (B, N, D), in `inner` dimensions."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, inner)
        self.k_proj = nn.Linear(WIDTH, inner)
        self.v_proj = nn.Linear(WIDTH, inner)
        self.out_proj = nn.Linear(inner, WIDTH)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        heads = [one.unflatten(2, (HEADS, -1)).transpose(1, 2) for one in parts]
        seen = F.scaled_dot_product_attention(*heads)  # (B, heads, N, d)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers, ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.lin2(F.relu(self.lin1(rows)))
        return out


class TwoWay(nn.Module):
    """Tokens attend to themselves and to the image, then the image to them."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.cross_attn_token_to_image = Attention(WIDTH // 2)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = Mlp()
        self.norm3 = nn.LayerNorm(WIDTH)
        self.norm4 = nn.LayerNorm(WIDTH)
        self.cross_attn_image_to_token = Attention(WIDTH // 2)

    def forward(
        self, tokens: Tensor, image: Tensor, names: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """tokens, names: (B, 5, D); image, places: (B, h * w, D). Names and places tell rows apart,
        and are added to what is asked and to what answers, but not to the answer."""
        if self.first:  # the tokens are their names as yet
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            named = tokens + names
            tokens = self.norm1(tokens + self.self_attn(named, named, tokens))
        placed = image + places
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + names, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        seen = self.cross_attn_image_to_token(placed, tokens + names, tokens)
        return tokens, self.norm4(image + seen)


class SamDecoder(nn.Module):
    """(B, 256, h, w) embeddings → the same, and what they are after the transformer.

    3,159,040 parameters in two layers, 1,280 in five tokens, 256 that stand for "no mask given".
    """

    gaussian: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWay(first) for first in (True, False))
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(4, WIDTH)
        self.no_mask_embed = nn.Embedding(1, WIDTH)
        self.register_buffer("gaussian", torch.randn(2, WIDTH // 2))

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        size, batch = embedding.shape[2:], embedding.shape[0]
        names = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        names = names[None].expand(batch, -1, -1)  # (B, 5, D)
        places = encode(self.gaussian, size[0], size[1]).expand(batch, -1, -1)
        tokens, image = names, embedding.flatten(2).transpose(1, 2) + self.no_mask_embed.weight
        for layer in self.layers:
            tokens, image = layer(tokens, image, names, places)
        return embedding, image.transpose(1, 2).reshape(batch, -1, *size)


def encode(gaussian: Tensor, height: int, width: int) -> Tensor:
    """Where each cell is: sines and cosines of random directions, (1, h * w, 2 * F) from (2, F).

    The directions belong to the weights: they are read with a checkpoint, else drawn with the
    other weights, and kept with them. Sums of products, as half precision would blur a matrix's.
    """
    x, y = (
        2 * (torch.arange(side, device=gaussian.device, dtype=gaussian.dtype) + 0.5) / side - 1
        for side in (width, height)
    )
    across, down = x[None, :, None] * gaussian[0], y[:, None, None] * gaussian[1]
    angle = 2 * math.pi * (across + down)  # (h, w, F)
    return torch.cat([angle.sin(), angle.cos()], dim=2).flatten(0, 1)[None]


def from_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A SAM or MobileSAM checkpoint's tensors under SamDecoder's names; the rest is left out."""
    found = {}
    for name, value in state.items():
        for place, own in _PLACES.items():
            if name.startswith(place):
                found[own + name.removeprefix(place)] = value
    return found
