"""FBFT, forward-backward feature transfer: students carry features between two depths of a
frozen network, forward and backward; where they fail, a part is not as it was learnt.

Costanzino, Zama Ramirez, Lella, Ragaglia, Oliva, Lisanti, Di Stefano 2024, "Looking for Tiny
Defects via Forward-Backward Feature Transfer", arXiv 2407.04092 (later: "Learning to Be a
Transformer to Pinpoint Anomalies", IEEE Access 2025). Written from the paper; weights and licence
are the backbone's (nets/weights.py). Trials and deviations: docs/methods/fbft.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.errors import ConfigError
from blemish.frame import Frame
from blemish.methods.base import Config, Method, require_boxes
from blemish.methods.padim import pool
from blemish.nets.features import Features
from blemish.nets.gaussian import Places, Whitened, factorising, fit_places, whitening
from blemish.settings import require
from blemish.track import Track, silent
from blemish.train import Batch, Plan, train

EPS = 1e-6  # of the cosine, as in the released code
IDLE = {"linear": ("epochs", "batch", "rate"), "mlp": ("share", "penalty", "ridge")}  # settings


@dataclass(frozen=True, kw_only=True)
class FbftConfig(Config):
    """students: "linear" fits one pair of linear students a place in closed form; "mlp" trains
        the paper's pair of perceptrons for all places.
    share: side of the squares of shallow positions that share a linear student, 2, 4, 6 or 8;
        their means are their own.
    penalty: on the linear students, in observations of nothing, 0 or more.
    ridge: added to each variance of their residuals, as a share of its mean over all places.
    epochs, batch, rate: of the perceptrons' training (released code: 50, 4, 1e-4).
    boxes, top: of the frame, as in Frame; pad resizes as the paper does, too (paper: edge padding
        to a square, bicubic, five 5 x 5 and three 7 x 7 boxes, mean of the highest 0.1 % of
        pixels).
    """

    students: Literal["linear", "mlp"] = "linear"
    share: int = 2
    penalty: float = 100.0
    ridge: float = 0.01
    epochs: int = 50
    batch: int = 4
    rate: float = 1e-4
    boxes: tuple[tuple[int, int], ...] = ()
    top: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.taps) == 2, "taps", "two depths", self.taps)
        require(self.share in (2, 4, 6, 8), "share", "2, 4, 6 or 8 positions", self.share)
        require(self.penalty >= 0, "penalty", "0 or more", self.penalty)
        if self.students == "linear":
            near, far = self.taps
            require(far == 2 * near, "taps", "a stride and twice that stride", self.taps)
            cell = near * self.share
            require(self.size % cell == 0, "size", f"a multiple of {cell}", self.size)
        require(self.ridge > 0, "ridge", "above 0", self.ridge)
        require(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        require(self.batch >= 1, "batch", "1 image or more", self.batch)
        require(self.rate > 0, "rate", "above 0", self.rate)
        require(0 <= self.top <= 1, "top", "a share between 0 and 1", self.top)
        for name in IDLE[self.students]:
            default = getattr(FbftConfig, name)
            got = getattr(self, name)
            require(got == default, name, f"{default}: it does nothing to {self.students}", got)
        require_boxes(self.boxes)

    def frame(self) -> Frame:
        way: Literal["area", "bicubic"] = "bicubic" if self.pad else "area"
        return replace(super().frame(), interpolation=way, boxes=self.boxes, top=self.top)


class Student(nn.Sequential):
    """A per-patch perceptron between two depths: three linear layers, GELU between.

    (N, inside) → (N, outside); the hidden width is their mean, 768 in the paper.
    """

    def __init__(self, inside: int, outside: int) -> None:
        hidden = (inside + outside) // 2
        super().__init__(
            nn.Linear(inside, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, outside),
        )


class Transfer(nn.Module):
    """The paper's pair of students, and the product of their discrepancies."""

    def __init__(self, shallow: int, deep: int) -> None:
        super().__init__()
        self.ahead = Student(shallow, deep)
        self.back = Student(deep, shallow)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:  # (1, C, h, w) twice → (h, w)
        _, _, h, w = shallow.shape
        near, far = patches(shallow), patches(deep)  # (N, C)
        ahead = F.normalize(self.ahead(near), dim=1) - F.normalize(far, dim=1)
        back = F.normalize(self.back(far), dim=1) - F.normalize(near, dim=1)
        map: Tensor = (ahead.norm(dim=1) * back.norm(dim=1)).reshape(h, w)
        return map

    def loss(self, taps: tuple[Tensor, ...]) -> Tensor:
        """Sum of both mean cosine distances."""
        near, far = (patches(tap) for tap in taps)
        ahead = F.cosine_similarity(self.ahead(near), far, dim=1, eps=EPS).mean()
        back = F.cosine_similarity(self.back(far), near, dim=1, eps=EPS).mean()
        return (1 - ahead) + (1 - back)


class Ahead(nn.Module):
    """What the forward students see, on the deep tap's grid: (shallow, deep) side by side.

    A deep cell of these networks lies on the second of the two shallow cells it covers along
    each side, because they are padded on the right and below only.
    """

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        return torch.cat([shallow[:, :, 1::2, 1::2], deep], dim=1)


class Back(nn.Module):
    """What the backward students see, on the shallow tap's grid: (deep, shallow) side by side.

    Their target is pooled 3 x 3: a deep feature says what is nearby, not at which pixel.
    """

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        return torch.cat([F.interpolate(deep, scale_factor=2.0), pool(shallow)], dim=1)


class LinearTransfer(nn.Module):
    """Forward and backward linear students for every place, and the root of the product of their
    discrepancies, each in units of its usual size on good parts."""

    def __init__(self, ahead: Whitened, back: Whitened) -> None:
        super().__init__()
        self.sees_ahead, self.sees_back = Ahead(), Back()
        self.ahead, self.back = ahead, back

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:  # → (h, w) of the shallow tap
        ahead = self.ahead(self.sees_ahead(shallow, deep))
        back = self.back(self.sees_back(shallow, deep))
        fine = F.interpolate(ahead[None, None], scale_factor=2.0, mode="bilinear")[0, 0]
        map: Tensor = (fine * back).sqrt().sqrt()
        return map


def whitened_residual(places: Places, source: int, *, penalty: float, ridge: float) -> Whitened:
    """Linear students from the first `source` features of a place to the others.

    Of (x, y) with covariance blocks Cxx, Cxy, Cyy a student is A = (Cxx + p I)^-1 Cxy; its
    residual y - x A has covariance S, and the discrepancy is |(y - x A) S^-1/2|^2 / dim(y).
    A and S^-1/2 fold into one matrix a place. penalty: p in units of Cxx's mean variance, as that
    many observations of nothing. ridge: of S, as in whitening.
    """
    c = places.covariance
    cxx, cxy, cyy = c[:, :source, :source], c[:, :source, source:], c[:, source:, source:]
    level = cxx.diagonal(dim1=1, dim2=2).mean(1)  # (P,)
    calm = (penalty / places.rows * level)[:, None, None] * torch.eye(source)
    with factorising():
        student = torch.linalg.solve(cxx + calm, cxy)  # (P, source, K)
    explained = student.mT @ cxy
    residual = cyy - explained - explained.mT + student.mT @ cxx @ student
    whiten = whitening((residual + residual.mT) / 2, ridge) / (c.shape[1] - source) ** 0.5
    return Whitened(places, torch.cat([-student @ whiten, whiten], dim=1))


class Fbft(Method):
    """See the module's head. Presets: "embedded" on Lite0 strides, "paper" on a DINOv2 ViT."""

    name = "fbft"
    presets: ClassVar[dict[str, Config]] = {
        "embedded": FbftConfig(),
        "paper": FbftConfig(
            size=1036,
            backbone="vit_base_patch14_reg4_dinov2",
            taps=(7, 11),
            students="mlp",
            pad=True,
            boxes=((5, 5), (7, 3)),
            top=0.001,
        ),
    }
    config: FbftConfig

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Fbft:
        """Fits linear students in closed form, or trains the paper's."""
        fit = self._linear if self.config.students == "linear" else self._mlp
        self.head_ = fit(features, seed, track)
        return self

    def _linear(self, features: Features, seed: int, track: Track) -> nn.Module:
        c = self.config
        (shallow, *_), (deep, *_) = features.shapes
        near = fit_places(features.grids(Ahead(), track), c.share // 2)
        far = fit_places(features.grids(Back(), track), c.share)
        return LinearTransfer(
            whitened_residual(near, shallow, penalty=c.penalty, ridge=c.ridge),
            whitened_residual(far, deep, penalty=c.penalty, ridge=c.ridge),
        )

    def _mlp(self, features: Features, seed: int, track: Track) -> nn.Module:
        c = self.config
        (shallow, *near), (deep, *far) = features.shapes
        if near != far:
            raise ConfigError(
                f"students=mlp needs two taps of the same grid, but got {near} and {far}."
                " Choose two blocks of a ViT, or students=linear."
            )
        with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global one
            torch.manual_seed(seed)
            net = Transfer(shallow, deep)
        steps = -(-len(features) // c.batch)  # an epoch

        def batch_of(step: int) -> Batch:
            epoch, turn = divmod(step, steps)
            order = np.random.default_rng([seed, epoch]).permutation(len(features))
            chosen = order[turn * c.batch : (turn + 1) * c.batch].tolist()
            return tuple(torch.from_numpy(tap) for tap in features.batch(chosen))

        plan = Plan(steps=c.epochs * steps, rate=c.rate)
        train(net, net.loss, batch_of, plan, track=track)
        return net


def patches(tap: Tensor) -> Tensor:
    """(B, C, h, w) → (B * h * w, C)"""
    return tap.flatten(2).transpose(1, 2).flatten(0, 1)
