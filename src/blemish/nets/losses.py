"""What a segmentation is judged by while it learns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - (2 |PM| + 1) / (|P| + |M| + 1), over the whole batch at once, as FractalAD released it.

    logits: any shape, any real range. mask: of the same shape, 0 or 1. From 0 to 1.
    """
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)


def focal_loss(logits: Tensor, mask: Tensor, focus: float) -> Tensor:
    """Binary cross-entropy, weighted by (2 (1 - p))^focus, p the probability of the truth.

    focus 0 is the plain one. An undecided pixel weighs 1 whatever the focus, unlike in Lin et
    al. 2017, "Focal Loss for Dense Object Detection", equation 4.
    """
    plain = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    if focus == 0:
        return plain.mean()
    wrong = torch.where(mask > 0.5, torch.sigmoid(-logits), torch.sigmoid(logits))
    return ((2 * wrong).pow(focus) * plain).mean()
