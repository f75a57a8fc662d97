"""Adaptors: features of one modality → features of the same size in which good parts lie closer.

Tu, Zhang, Liu et al. 2024, "Self-supervised Feature Adaptation for 3D Industrial Anomaly
Detection" (LSFA), arXiv 2401.03145: one transformer block a modality, over all patches of an image.
Before it a linear map may stand that is the closed form of the same wish (docs/methods/lsfa.md).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.nearest import nearest_place

PATCHES = 10_000  # of either half of the images: enough for a covariance


class Adaptor(nn.Module):
    """(B, N, D) patches of images → (B, N, D): a linear map, then a block of attention and MLP,
    normalised first, without positions.

    still: the block begins as nothing at all, so that learning starts at the features themselves.
    """

    middle: Tensor
    map: Tensor

    def __init__(self, width: int, heads: int, still: bool) -> None:
        super().__init__()
        inner = -(-width // heads) * heads
        self.heads = heads
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("map", torch.eye(width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        if still:
            for last in (self.proj, self.fc2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, patches: Tensor) -> Tensor:
        patches = (patches - self.middle) @ self.map
        q, k, v = (
            one.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for one in self.qkv(self.norm1(patches)).chunk(3, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        patches = patches + self.proj(mixed)
        return cast(Tensor, patches + self.fc2(F.gelu(self.fc1(self.norm2(patches)))))

    def begin(self, patches: Tensor, seen: Tensor, ridge: float) -> None:
        """Sets the linear map from (n, N, D) patches of good parts, where (n, N) they were seen.

        Lengths come out as if features varied by 1 in each of D directions. ridge: 0 leaves it at
        that; above, directions in which a patch differs from the most similar one of other parts
        count less, the more so the smaller the ridge (as a share of their mean).
        """
        every = patches[seen]
        self.middle.copy_(every.mean(0))
        spread = (every - self.middle).square().mean().sqrt().clamp_min(1e-6)
        self.map.copy_(torch.eye(len(self.middle)) / spread)
        if ridge > 0 and len(patches) > 1:
            apart = differences((patches - self.middle) @ self.map, seen)
            scatter = apart.T @ apart / len(apart)
            scatter = scatter / scatter.trace().clamp_min(1e-12) * len(scatter)
            lengths, axes = torch.linalg.eigh(scatter)
            shrink = axes @ torch.diag((lengths.clamp_min(0) + ridge).rsqrt()) @ axes.T
            self.map.copy_(self.map @ shrink)


def differences(patches: Tensor, seen: Tensor) -> Tensor:
    """(K, D): of patches of every other image to the nearest in the images between, and the other
    way round."""
    found = []
    for half in (0, 1):
        mine, theirs = (_thinned(patches[start::2][seen[start::2]]) for start in (half, 1 - half))
        if len(mine) and len(theirs):
            found.append(mine - theirs[nearest_place(mine, theirs)])
    return torch.cat(found) if found else patches.new_zeros(1, patches.shape[2])


def _thinned(patches: Tensor) -> Tensor:
    return patches[:: -(-len(patches) // PATCHES) or 1]
