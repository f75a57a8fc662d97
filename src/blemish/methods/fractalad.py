"""FractalAD: a head learns to segment made-up defects, guided by where a student fails to see what
its teacher sees.

"FractalAD: A simple industrial anomaly detection method using fractal anomaly generation and
backbone knowledge distillation", 2023, arXiv 2301.12739. Written from facts about its released
code; weights and licence are the backbone's (nets/weights.py). Which function is which equation,
deviations and trials: docs/methods/fractalad.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blemish.engines import entries, open_engine
from blemish.export import join, to_onnx
from blemish.frame import Frame
from blemish.methods.base import Config, Method, checkpoint, seeded, tap_names
from blemish.nets.features import Features
from blemish.nets.losses import dice_loss, focal_loss
from blemish.nets.places import Attention, Judge, PlacesHead, crossed, strongest
from blemish.nets.sfnet import SFNet, enlarge
from blemish.nets.student import Distilled, Plain, StudentNetwork, distance
from blemish.settings import require
from blemish.synth import maker
from blemish.synth.stream import KINDS, Picture, Stream
from blemish.track import Track, silent
from blemish.train import Batch, Plan, train

UNSEEN = 11  # every so many images one is for validation only; odd, so that both halves give some
UNSEEN_PICTURES = 64  # made of these
IDLE = {  # settings that do nothing to a student
    "places": (),
    "network": ("width", "directions", "ridge", "noise", "weight"),
    "none": ("width", "directions", "ridge", "noise", "weight"),
}


@dataclass(frozen=True, kw_only=True)
class FractaladConfig(Config):
    """student: "places" is known in closed form, a Gaussian for each place; "network" is the
        paper's, distilled (released code: kd=1, objects); "none" shows the head the teacher's
        features alone (kd=0, textures).
    kinds: of made-up defects, each as often (released code: fractal).
    clean: share of training pictures without a defect, 0 to below 1 (released code: 0).
    detail: shorter side of larger photographs while defects are made on them, in sides of the
        model's frame; 0 leaves them as they are (released code).
    steps, batch, rate, decay: of AdamW: steps of pictures, learning rate, weight decay (released
        code: 1200 of 32, 1e-3, 1e-3; with student=none 1e-2).
    cosine: whether the rate rises at first and falls to 0 at the end.
    focus: of the cross-entropy on what is not yet sure, 0 or more; 0 is plain (released code).
    patience: validations on made-up defects, one every 100 steps, without a new best, after which
        training stops; 0 takes the last step (released code).
    mean: whether an image's score is the mean of its map (released code), or its highest pixel.
    width: channels of the head on "places".
    directions: of the deepest tap that its Gaussian keeps.
    ridge: added to each feature's variance, as a share of its mean over all places.
    noise: added to each group of attention while training, standard deviations.
    weight: of the mean attention beside the head's logit.
    """

    taps: tuple[int, ...] = (4, 8, 16, 32)
    student: Literal["places", "network", "none"] = "places"
    kinds: tuple[str, ...] = KINDS
    clean: float = 0.25
    detail: float = 1.5
    steps: int = 800
    batch: int = 16
    rate: float = 2e-3
    decay: float = 1e-3
    cosine: bool = True
    focus: float = 2.0
    patience: int = 5
    mean: bool = False
    width: int = 16
    directions: int = 25
    ridge: float = 0.2
    noise: float = 0.7
    weight: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        strides = self.taps == tuple(self.taps[0] * 2**i for i in range(4))
        require(strides, "taps", "four strides, each twice the one before", self.taps)
        require(len(self.kinds) > 0, "kinds", "at least one kind of defect", self.kinds)
        for kind in self.kinds:
            maker(kind)
        require(0 <= self.clean < 1, "clean", "a share from 0 to below 1", self.clean)
        for name in ("steps", "batch", "width", "directions"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        for name in ("rate", "ridge"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("decay", "focus", "detail", "patience", "noise", "weight"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in IDLE[self.student]:
            default, got = getattr(FractaladConfig, name), getattr(self, name)
            require(got == default, name, f"{default}: it does nothing to {self.student}", got)

    def frame(self) -> Frame:
        return replace(super().frame(), top=1.0 if self.mean else 0.0)


class Fractalad(Method):
    """See the module's head. Presets: "embedded" on Lite0 and closed-form places, "paper" on
    ResNet-18 with a distilled student."""

    name = "fractalad"
    presets: ClassVar[dict[str, Config]] = {
        "embedded": FractaladConfig(),
        "paper": FractaladConfig(
            backbone="resnet18",
            student="network",
            kinds=("fractal",),
            clean=0.0,
            detail=0.0,
            steps=1200,
            batch=32,
            rate=1e-3,
            cosine=False,
            focus=0.0,
            patience=0,
            mean=True,
        ),
    }
    trained = True
    config: FractaladConfig

    @property
    def takes(self) -> list[str]:
        return ["image"] * (self.config.student == "network") + tap_names(self.config)

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Fractalad:
        """Trains on made-up defects. A training that was killed goes on where it was."""
        learn = {"places": self._places, "network": self._network, "none": self._none}
        self.head_ = learn[self.config.student](features, seed, track)
        return self

    def _places(self, features: Features, seed: int, track: Track) -> nn.Module:
        c = self.config
        whole, pair = self._attention(features, seed, track)
        see = [attending(features, attention) for attention in pair]
        judge = seeded(seed, lambda: Judge(whole.groups, c.width))

        def batch_of(pictures: list[Picture], rng: np.random.Generator) -> Batch:
            seen = [see[features.of(one.source) % 2](one.altered) for one in pictures]
            grid = torch.cat([grid for (grid,) in seen])
            return masks(pictures), grid + c.noise * shifts(rng, grid)

        def loss_of(batch: Batch) -> Tensor:
            mask, grid = batch
            return self._segmentation(judge(grid), mask)

        self._train(judge, loss_of, batch_of, features, seed, track)
        return PlacesHead(whole, judge, c.weight)

    def _attention(
        self, features: Features, seed: int, track: Track
    ) -> tuple[Attention, list[Attention]]:
        """Of all parts, and of either half for the other."""
        with torch.no_grad():
            return crossed(features, strongest(features, self.config.directions), self.config.ridge)

    def _network(self, features: Features, seed: int, track: Track) -> nn.Module:
        c, teacher = self.config, attending(features, None)

        def build() -> Distilled:
            return Distilled(StudentNetwork(c.backbone, c.taps), SFNet(widths(features)))

        net = seeded(seed, build)

        def batch_of(pictures: list[Picture], rng: np.random.Generator) -> Batch:
            good, altered = ([getattr(p, name) for p in pictures] for name in ("good", "altered"))
            before = [torch.cat(tap) for tap in zip(*map(teacher, good), strict=True)]
            after = [torch.cat(tap) for tap in zip(*map(teacher, altered), strict=True)]
            shown = (torch.from_numpy(np.concatenate(images)) for images in (good, altered))
            return (masks(pictures), *shown, *before, *after)

        def loss_of(batch: Batch) -> Tensor:
            mask, good, altered, *taps = batch
            distilled = distance(taps[:4], net.student(good))
            return distilled + self._segmentation(net.logits(altered, *taps[4:]), mask)

        self._train(net, loss_of, batch_of, features, seed, track)
        return net

    def _none(self, features: Features, seed: int, track: Track) -> nn.Module:
        c, teacher = self.config, attending(features, None)
        net = seeded(seed, lambda: Plain(SFNet(widths(features)), (c.size, c.size)))

        def batch_of(pictures: list[Picture], rng: np.random.Generator) -> Batch:
            seen = [teacher(one.altered) for one in pictures]
            return (masks(pictures), *(torch.cat(tap) for tap in zip(*seen, strict=True)))

        def loss_of(batch: Batch) -> Tensor:
            mask, *taps = batch
            return self._segmentation(net.logits(*taps), mask)

        self._train(net, loss_of, batch_of, features, seed, track)
        return net

    def _segmentation(self, logits: Tensor, mask: Tensor) -> Tensor:
        full = enlarge(logits, mask.shape[2:])
        return focal_loss(full, mask, self.config.focus) + dice_loss(full, mask)

    def _train(
        self,
        net: nn.Module,
        loss_of: Callable[[Batch], Tensor],
        batch_of: Callable[[list[Picture], np.random.Generator], Batch],
        features: Features,
        seed: int,
        track: Track,
    ) -> None:
        c = self.config
        shown, unseen = streams(features, c, seed)

        def batch(step: int) -> Batch:
            pictures = [shown.picture(step * c.batch + i) for i in range(c.batch)]
            return batch_of(pictures, np.random.default_rng([seed, step, 1]))

        def loss_unseen() -> float:
            device = next(net.parameters()).device
            return float(loss_of(tuple(part.to(device) for part in held)))

        plan = Plan(steps=c.steps, rate=c.rate, decay=c.decay, cosine=c.cosine, patience=c.patience)
        held: Batch = ()
        if c.patience:
            pictures = [unseen.picture(i) for i in range(UNSEEN_PICTURES)]
            held = batch_of(pictures, np.random.default_rng([seed, 0, 2]))
        train(
            net,
            loss_of,
            batch,
            plan,
            track=track,
            loss_unseen=loss_unseen,
            checkpoint=checkpoint(c, features, seed),
        )


def streams(features: Features, config: FractaladConfig, seed: int) -> tuple[Stream, Stream]:
    """Pictures to learn from, and pictures of other parts to validate on."""
    origin, everything = features.origin, range(len(features))
    spared = {index for index in everything if features.of(index) % UNSEEN == 0}
    held = tuple(sorted(spared)) if config.patience else ()
    chosen = tuple(index for index in everything if not held or index not in spared)

    def stream(indices: tuple[int, ...], salt: int) -> Stream:
        return Stream(
            read=origin.read,
            chosen=indices,
            frame=origin.frame,
            kinds=config.kinds,
            clean=config.clean,
            detail=config.detail,
            seed=(seed, salt),
        )

    return stream(chosen, 0), stream(held, 1)


def attending(
    features: Features, attention: nn.Module | None
) -> Callable[[npt.NDArray[np.float32]], tuple[Tensor, ...]]:
    """(1, 3, h, w) → the teacher's taps, or what a module makes of them, by the runtime."""
    graph = features.origin.graph
    if attention is not None:
        taps = tuple(torch.from_numpy(tap) for tap in features.batch([0]))
        names = [tap.name for tap in features.origin.engine().outputs]
        graph = join(graph, to_onnx(attention, taps, names, ["attention"], {}))
    engine = open_engine(graph, features.origin.runtime, threads=1)
    (entry,) = entries(engine).values()
    return lambda image: tuple(map(torch.from_numpy, engine.run({entry: image})))


def shifts(rng: np.random.Generator, grid: Tensor) -> Tensor:
    """One normal number a picture and channel: (B, C, 1, 1)."""
    return torch.from_numpy(rng.standard_normal((*grid.shape[:2], 1, 1)).astype(np.float32))


def masks(pictures: list[Picture]) -> Tensor:  # → (B, 1, h, w)
    return torch.from_numpy(np.stack([one.mask for one in pictures])[:, None].astype(np.float32))


def widths(features: Features) -> list[int]:
    return [shape[0] for shape in features.shapes]
