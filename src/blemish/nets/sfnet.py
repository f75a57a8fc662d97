"""SFNet's decoder as FractalAD released it: a feature pyramid whose coarse levels are warped before
they are added to finer ones.

Li, You, Zhu, Zhao, Yang, Yang, Tan, Tong 2020, "Semantic Flow for Fast and Accurate Scene Parsing",
arXiv 2002.10120, as used by arXiv 2301.12739. Two things are as released and not as in the SFNet
paper: the flow is shrunk to the coarse grid and warps there, and its coordinates are counted from
corner to corner while sampling counts from edge to edge, which moves a level by up to half a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def unit(inside: int, outside: int, side: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, side, padding=side // 2),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


def enlarge(grid: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(grid, size=tuple(size), mode="bilinear")


class FlowAlign(nn.Module):
    """Warps a coarse level (B, C, h, w) by a flow seen from it and the finer one (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.flow = nn.Conv2d(2 * width, 2, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        _, _, h, w = coarse.shape
        seen = torch.cat([fine, enlarge(coarse, fine.shape[2:])], dim=1)
        flow = enlarge(self.flow(seen), (h, w))  # (B, 2, h, w): x, y in coarse cells
        rows = torch.arange(h, dtype=flow.dtype, device=flow.device).view(1, h, 1)
        columns = torch.arange(w, dtype=flow.dtype, device=flow.device).view(1, 1, w)
        x = 2 * (flow[:, 0] + columns) / max(w - 1, 1) - 1
        y = 2 * (flow[:, 1] + rows) / max(h - 1, 1) - 1
        return F.grid_sample(coarse, torch.stack([x, y], dim=3), align_corners=False)


class SFNet(nn.Module):
    """Features of ascending strides → one logit for each cell of the finest.

    channels: of each level, finest first; the width is the finest level's, 64 on ResNet-18, which
    makes 328,519 parameters.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        width = channels[0]
        self.lateral = nn.ModuleList(unit(inside, width, 1) for inside in channels)
        self.align = nn.ModuleList(FlowAlign(width) for _ in channels[1:])
        self.smooth = nn.ModuleList(unit(width, width, 3) for _ in channels[1:])
        self.fuse = unit(len(channels) * width, width, 3)
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, *levels: Tensor) -> Tensor:  # (B, C_i, h_i, w_i) → (B, 1, h_0, w_0)
        pyramid = [side(level) for side, level in zip(self.lateral, levels, strict=True)]
        steps = list(zip(self.align, self.smooth, strict=True))
        for i in reversed(range(len(steps))):
            align, smooth = steps[i]
            warped = enlarge(align(pyramid[i], pyramid[i + 1]), pyramid[i].shape[2:])
            pyramid[i] = smooth(pyramid[i] + warped)
        size = pyramid[0].shape[2:]
        logits: Tensor = self.last(
            self.fuse(torch.cat([enlarge(level, size) for level in pyramid], dim=1))
        )
        return logits
