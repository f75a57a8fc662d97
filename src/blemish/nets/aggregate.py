"""STLM's feature aggregation: how far two streams are apart at each place and channel → a map.

As in the code released with arXiv 2402.19145, after the segmentation network of DeSTSeg (Zhang,
Li, Li, Jing, Tao, Zheng 2023, arXiv 2211.11317): residual blocks, then ASPP (Chen et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.sfnet import enlarge


class PoolNorm(nn.BatchNorm2d):
    """Batch norm of maps that are pooled to one cell, (B, C, 1, 1).

    One picture has nothing to be normalised by: there the running averages are used, in training
    as in inspection, and stay as they are. The released code cannot train on one picture.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def unit(inside: int, outside: int, side: int, *, apart: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; the size stays. apart: of the cells it sees."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, side, padding=side // 2 * apart, dilation=apart, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = unit(inside, outside, 3)
        self.second = unit(outside, outside, 3)[:2]
        same = inside == outside
        self.shortcut = nn.Identity() if same else unit(inside, outside, 1)[:2]

    def forward(self, grid: Tensor) -> Tensor:
        return F.relu(self.second(self.first(grid)) + self.shortcut(grid))


class Pyramid(nn.Module):
    """ASPP: the whole picture, each cell, and cells three apart, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width, 1, bias=False),
            PoolNorm(width),
            nn.ReLU(inplace=True),
        )
        self.near = unit(width, width, 1)
        self.far = unit(width, width, 3, apart=3)
        self.fuse = unit(3 * width, width, 3)

    def forward(self, grid: Tensor) -> Tensor:
        whole = self.whole(grid).expand(-1, -1, *grid.shape[2:])
        fused: Tensor = self.fuse(torch.cat([whole, self.near(grid), self.far(grid)], dim=1))
        return fused


class Aggregation(nn.Module):
    """Channels that say how far two streams agree, (B, C, h, w) → logits (B, 1, h, w).

    1,870,465 parameters with 512 channels inside: 1,099,008 in `body` and 771,457 in `head`, which
    learn at different rates.
    """

    def __init__(self, inside: int, width: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(Residual(inside, width), Residual(width, width))
        self.head = nn.Sequential(Pyramid(width), unit(width, width, 3), nn.Conv2d(width, 1, 1))
        for part in self.body.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, grid: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(grid))
        return logits


def agreement(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """-P * D of each tap, of unit length over channels, on the first tap's grid, side by side.

    (B, C, h, w) for each tap, twice → (B, sum of C, h, w), which sums to -cosine over the channels
    of a tap.
    """
    apart = [-_unit(p) * _unit(d) for p, d in zip(first, second, strict=True)]
    return torch.cat([apart[0], *(enlarge(one, apart[0].shape[2:]) for one in apart[1:])], dim=1)


def _unit(tap: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(tap, dim=1, keepdim=True)
    return tap / (length + 1e-12)


def settle(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Takes the averages of all batch norms anew, over these batches, with the weights as they are.

    In a training on two pictures at a time the running averages are of few pictures and of weights
    that have changed since, and inspection goes by them (Wu and Johnson 2021, "Rethinking 'Batch'
    in BatchNorm", arXiv 2105.07576, section 3).
    """
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    net.train()
    with torch.no_grad():
        for batch in batches:
            net(batch)
    for norm in norms:
        norm.momentum = 0.1
    net.eval()
