"""FractalAD's student, its attention, and the heads that are shown what it attends to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.nets.pretrained import BACKBONES
from blemish.nets.sfnet import SFNet, enlarge

Taps = Sequence[Tensor]  # (B, C, h', w') each


class StudentNetwork(nn.Module):
    """The teacher's architecture with weights of its own, drawn at random; (B, 3, h, w) in [0, 1]
    → (B, C, h', w') for each tap. Its batch norms are trained, too."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, taps: tuple[int, ...]) -> None:
        super().__init__()
        known = BACKBONES[backbone]
        self.register_buffer("mean", torch.tensor(known.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(known.std).view(1, 3, 1, 1))
        info: Any = timm.create_model(known.name, features_only=True).feature_info
        chosen = tuple(list(info.reduction()).index(tap) for tap in taps)
        self.net: Any = timm.create_model(known.name, features_only=True, out_indices=chosen)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net((image - self.mean) / self.std))


def apart(teacher: Tensor, student: Tensor) -> Tensor:
    """1 - cosine of the channels at each position, 0 to 2: (B, C, h, w) twice → (B, 1, h, w)."""
    return 1 - F.cosine_similarity(teacher, student, dim=1)[:, None]


def distance(teacher: Taps, student: Taps) -> Tensor:
    """L_KD: the mean of `apart` at each tap, summed over taps."""
    return torch.stack([apart(t, s).mean() for t, s in zip(teacher, student, strict=True)]).sum()


def attend(teacher: Taps, student: Taps) -> tuple[Tensor, ...]:
    """CSAM: the student's features where teacher and student are apart, 0 where they agree.

    Detached: what the head learns never reaches the student.
    """
    return tuple((apart(t, s) / 2 * s).detach() for t, s in zip(teacher, student, strict=True))


class Distilled(nn.Module):
    """Student and head; forward is (1, 3, h, w) and the teacher's taps of it → (h, w) in 0 to 1."""

    def __init__(self, student: StudentNetwork, head: SFNet) -> None:
        super().__init__()
        self.student, self.head = student, head

    def logits(self, image: Tensor, *taps: Tensor) -> Tensor:
        """(B, 1, h_0, w_0) on the finest tap's grid."""
        return cast(Tensor, self.head(*attend(taps, self.student(image))))

    def forward(self, image: Tensor, *taps: Tensor) -> Tensor:
        logits = enlarge(self.logits(image, *taps), image.shape[2:])
        return torch.sigmoid(logits)[0, 0]


class Plain(nn.Module):
    """The head alone, on the teacher's features; forward is taps of one image → (h, w), 0 to 1."""

    def __init__(self, head: SFNet, size: tuple[int, int]) -> None:
        super().__init__()
        self.head, self.size = head, size

    def logits(self, *taps: Tensor) -> Tensor:
        return cast(Tensor, self.head(*taps))

    def forward(self, *taps: Tensor) -> Tensor:
        return torch.sigmoid(enlarge(self.logits(*taps), self.size))[0, 0]
