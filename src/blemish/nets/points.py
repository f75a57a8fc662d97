"""Point-MAE's encoder: features of a scan's groups of points (groups.py), frozen, as a graph.

Pang, Wang, Tay, Liu, Tian, Yuan 2022, "Masked Autoencoders for Point Cloud Self-supervised
Learning", arXiv 2203.06604; taps and sizes as anomaly detection uses them (M3DM, arXiv 2303.00601).
Everything is plain torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.errors import WeightsError
from blemish.groups import GROUPS, SIZE
from blemish.nets.weights import read_state

WIDTH, HEADS, DEPTH = 384, 6, 12
TAPS = (3, 7, 11)  # 0-based blocks
_PREFIX = "MAE_encoder."


class Embed(nn.Module):
    """A group of points → one token, whatever their order: (G, S, 3) → (G, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, WIDTH, 1)
        )

    def forward(self, grouped: Tensor) -> Tensor:
        each = self.first_conv(grouped.transpose(1, 2))  # (G, 256, S)
        whole = each.amax(2, keepdim=True).expand_as(each)
        token: Tensor = self.second_conv(torch.cat([whole, each], dim=1)).amax(2)
        return token


class Attention(nn.Module):
    """Self-attention over all tokens, (G, 384) → (G, 384); no bias on queries, keys, values."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).reshape(len(tokens), 3, HEADS, -1).permute(1, 2, 0, 3)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (heads, G, width / heads)
        return cast(Tensor, self.proj(mixed.transpose(0, 1).flatten(1)))


class Mlp(nn.Module):
    """Two linear layers, four times as wide between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(tokens))))


class Block(nn.Module):
    """A transformer block, normalised first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(WIDTH), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), Mlp()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class Blocks(nn.Module):
    """The blocks, one level down: the published names have it so."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))


class PointMae(nn.Module):
    """Point-MAE's encoder without masking: centres and groups → (G, 3 * 384) features.

    The position is added before every block; what the blocks of TAPS give passes the last norm.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Embed()
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, WIDTH))
        self.blocks = Blocks()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, centres: Tensor, grouped: Tensor) -> Tensor:  # (G, 3), (G, S, 3)
        tokens, place = self.encoder(grouped), self.pos_embed(centres)
        taps = []
        for number, block in enumerate(self.blocks.blocks):
            tokens = block(tokens + place)
            if number in TAPS:
                taps.append(self.norm(tokens))
        return torch.cat(taps, dim=1)


class Shapes(nn.Module):
    """What Point-MAE makes of a scan, on the grid of its picture → (1, 1152, grid, grid).

    Takes what groups.groups_of gives: centres, groups and mix.
    """

    def __init__(self, encoder: PointMae, grid: int) -> None:
        super().__init__()
        self.encoder, self.grid = encoder, grid

    def forward(self, centres: Tensor, grouped: Tensor, mix: Tensor) -> Tensor:
        cells: Tensor = mix @ self.encoder(centres, grouped)  # (grid², 1152)
        return cells.T.reshape(1, -1, self.grid, self.grid)

    def probe(self, rng: torch.Generator) -> dict[str, Tensor]:
        """What forward takes, by name, of no scan in particular."""
        return {
            "centres": torch.randn(GROUPS, 3, generator=rng),
            "groups": torch.randn(GROUPS, SIZE, 3, generator=rng) / 10,
            "mix": torch.rand(self.grid**2, GROUPS, generator=rng) / GROUPS,
        }


def read_point_mae(path: Path) -> PointMae:
    """The encoder with published weights, in eval mode, frozen.

    path: pretrain.pth of github.com/Pang-Yatian/Point-MAE (MIT), or the encoder's tensors alone;
    what belongs to the decoder is left out. Raises WeightsError if the tensors do not fit.
    """
    state = {name.removeprefix("module."): value for name, value in read_state(path).items()}
    if any(name.startswith(_PREFIX) for name in state):
        state = {n[len(_PREFIX) :]: v for n, v in state.items() if n.startswith(_PREFIX)}
    with torch.random.fork_rng(devices=[]):  # layers draw weights before they get their own
        net = PointMae()
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"'{path}' must hold Point-MAE's encoder tensor by tensor, but:"
            f" {' '.join(str(error).split())[:300]}. The usual file is pretrain.pth."
        ) from error
    return net.eval().requires_grad_(False)
