"""Features of unordered points: a sample of centres, groups around them, Point-MAE's encoder.

Pang, Wang, Tay, Liu, Tian, Yuan 2022, "Masked Autoencoders for Point Cloud Self-supervised
Learning", arXiv 2203.06604; taps and sizes as anomaly detection uses them (M3DM, arXiv 2303.00601).
Everything is plain torch, and nothing is random: the first centre is the first point.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.errors import ShapeError, WeightsError
from blemish.nets.weights import read_state

CHUNK = 4096  # points whose distances to all others are in memory at once
WIDTH, HEADS, DEPTH = 384, 6, 12
TAPS = (3, 7, 11)  # 0-based blocks
_PREFIX = "MAE_encoder."


def farthest_points(points: Tensor, count: int) -> Tensor:
    """(N, 3) → (count,) places: each is farthest from all before it, the first is 0.

    Of fewer points than asked for, places come again from the first. Raises ShapeError if there is
    no point or the shape is another.
    """
    _require_points(points)
    chosen = torch.zeros(count, dtype=torch.long)
    far = torch.full((len(points),), torch.inf)
    distinct = min(count, len(points))
    for turn in range(1, distinct):
        torch.minimum(far, (points - points[chosen[turn - 1]]).square().sum(1), out=far)
        far[chosen[turn - 1]] = -1  # taken, even where all that is left lies upon it
        chosen[turn] = far.argmax()
    chosen[distinct:] = chosen[torch.arange(count - distinct) % distinct]
    return chosen


def neighbours(points: Tensor, centres: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(N, 3) points, (M, 3) centres → (M, count) squared distances and places, nearest first.

    Of fewer points than asked for, places come again from the nearest. Raises ShapeError.
    """
    _require_points(points)
    have = min(count, len(points))
    again = torch.arange(count) % have
    parts = []
    for chunk in centres.split(max(1, CHUNK * 256 // len(points))):  # type: ignore[no-untyped-call]
        apart = torch.cdist(chunk, points, compute_mode="donot_use_mm_for_euclid_dist")
        parts.append(apart.topk(have, largest=False))
    distances = torch.cat([part.values for part in parts])
    places = torch.cat([part.indices for part in parts])
    return distances[:, again].square(), places[:, again]


def interpolate(points: Tensor, centres: Tensor, features: Tensor) -> Tensor:
    """(N, 3) points, (G, 3) centres with (G, C) features → (N, C): of the three nearest centres,
    weighted by 1 / (distance² + 1e-8). Raises ShapeError."""
    squares, places = neighbours(centres, points, min(3, len(centres)))
    weights = 1 / (squares + 1e-8)
    weights = weights / weights.sum(1, keepdim=True)
    total = torch.zeros(len(points), features.shape[1])
    for rank in range(places.shape[1]):
        total += weights[:, rank, None] * features[places[:, rank]]
    return total


def groups(points: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """(N, 3) → (count, 3) centres and (count, size, 3) nearest points, relative to their centre.

    Raises ShapeError.
    """
    centres = points[farthest_points(points, count)]
    _, places = neighbours(points, centres, size)
    return centres, points[places] - centres[:, None]


def _require_points(points: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ShapeError(
            f"points must be (N, 3), at least one, but are {tuple(points.shape)}."
            " Take a scan's points where its mask says they were seen."
        )


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
