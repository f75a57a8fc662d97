"""STLM: two light streams are taught by a large frozen network, one to see a part as it is, one to
see it as if it had no defect; where they differ, there is one.

"SAM-guided Two-stream Lightweight Model for Anomaly Detection", 2024, arXiv 2402.19145, ACM TOMM
2025. Written from facts about its released code; weights and licences are in
nets/weights.py. Which function is which equation, and what differs: docs/methods/stlm.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blemish.frame import Frame
from blemish.methods.base import Config, Method, checkpoint, seeded, tap_names
from blemish.methods.stlm_embedded import StlmEmbedded, StlmEmbeddedConfig
from blemish.nets.aggregate import Aggregation, agreement, settle
from blemish.nets.features import Features
from blemish.nets.frozen import Frozen
from blemish.nets.losses import focal_loss
from blemish.nets.sam_decoder import SamDecoder, from_sam
from blemish.nets.student import StudentNetwork, Taps, distance
from blemish.nets.teachers import FrozenTeacher, SamTeacher, Teacher, load, sam
from blemish.nets.tinyvit import TinyViT, from_mobilesam
from blemish.nets.weights import find_weights, read_state
from blemish.settings import require
from blemish.synth import Maker, maker
from blemish.synth.perlin import Perlin, perlin
from blemish.synth.stream import KINDS, Picture, Rotation, Stream
from blemish.track import Track, silent
from blemish.train import Batch, Plan, Precision, train

SAMS = ("sam_vit_h", "mobile_sam")
STRIDE = 16  # of SAM's embeddings, pixels
BETAS = (0.5, 0.999)  # of Adam; momentum and decay of SGD: released code
MOMENTUM, DECAY = 0.9, 1e-4


@dataclass(frozen=True, kw_only=True)
class StlmConfig(Config):
    """backbone: the teacher, a CNN by its timm name, or sam_vit_h (released code) or mobile_sam
        (an earlier state of it), which have no taps; weights: its file.
    start: what the students begin with. Of a SAM teacher "decoder": MobileSAM's decoder behind
        random encoders (released code), "all": its encoders, too (the paper does not say),
        "nothing": all random. Of a CNN "nothing", or "all": copies of the teacher.
    mobilesam: file of MobileSAM, if students begin with it and it is not the teacher.
    rotation: of photographs: "none", "little" (up to 5 degrees), "quarters" (multiples of 90
        degrees, then a little); the released code chooses it by category.
    kinds: of made-up defects, each as often (released code: perlin).
    own_texture: how often Perlin's blobs are filled with the image's own texture, 0 to 1
        (released code: 0). textures: folder of pictures that fill them else (released code: DTD);
        None draws them.
    clean: share of training pictures without a defect, 0 to below 1 (released code: 0.5).
    detail: as in FractalAD: shorter side of larger photographs while defects are made, in sides of
        the model's frame; 0 leaves them as they are (released code: 1).
    steps: of training, or epochs: times as many steps as all parts take (released code: 200
        epochs); the other is 0.
    batch: pictures a step (released code: 2). parts: how often it is cut, to save memory or to
        share it among processes; a divisor.
    precision: "float32" (released code), "bfloat16" or "float16": of multiplication in training.
    rate: of Adam on students and decoder (released code: 5e-4). body_rate, head_rate: of SGD on
        the aggregation (released code: 0.1, 0.01).
    cosine: whether rates rise at first and fall to 0 at the end (released code: they stay).
    focus: of the focal loss, 0 or more (released code: 4).
    width: channels of the aggregation (released code: 128).
    settled: batches over which the averages of batch norms are taken anew after training, 0 or
        more; 0 keeps the running ones (released code).
    top: share of the native pixels, the highest, whose mean is the image's score, 0 to 1; 0 is
        the highest alone (released code: 100 pixels of 1024 x 1024).
    """

    taps: tuple[int, ...] = (4, 8, 16)
    start: Literal["nothing", "decoder", "all"] = "all"
    mobilesam: str | None = None
    rotation: Rotation = "none"
    kinds: tuple[str, ...] = KINDS
    own_texture: float = 0.5
    textures: str | None = None
    clean: float = 0.5
    detail: float = 1.5
    steps: int = 1200
    epochs: int = 0
    batch: int = 8
    parts: int = 1
    precision: Precision = "float32"
    rate: float = 5e-4
    body_rate: float = 0.1
    head_rate: float = 0.01
    cosine: bool = True
    focus: float = 4.0
    width: int = 64
    settled: int = 20
    top: float = 0.0

    fewest_taps = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone in SAMS:
            require(not self.taps, "taps", "none, []: SAM has two of its own", self.taps)
            require(self.size % STRIDE == 0, "size", f"a multiple of {STRIDE}", self.size)
            reads = self.start != "nothing" and self.backbone != "mobile_sam"
            unread = self.mobilesam is None or reads
            require(unread, "mobilesam", "no file: nothing else starts from it", self.mobilesam)
        else:
            require(len(self.taps) > 0, "taps", "at least one, of a CNN", self.taps)
            require(self.start != "decoder", "start", "nothing or all, of a CNN", self.start)
            require(self.mobilesam is None, "mobilesam", "no file, of a CNN", self.mobilesam)
        require(len(self.kinds) > 0, "kinds", "at least one kind of defect", self.kinds)
        for kind in self.kinds:
            maker(kind)
        self._require_ranges()

    def _require_ranges(self) -> None:
        require(0 <= self.own_texture <= 1, "own_texture", "a share, 0 to 1", self.own_texture)
        require(0 <= self.clean < 1, "clean", "a share from 0 to below 1", self.clean)
        require(0 <= self.top <= 1, "top", "a share between 0 and 1", self.top)
        for name in ("batch", "parts", "width"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        for name in ("rate", "body_rate", "head_rate"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("detail", "focus", "settled", "steps", "epochs"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        one = (self.steps == 0) != (self.epochs == 0)
        require(one, "steps", "above 0 if epochs is 0, and 0 if not", self.steps)
        divides = self.batch % self.parts == 0
        require(divides, "parts", f"a divisor of the batch, {self.batch}", self.parts)

    def pretrained(self, scans: bool = True) -> dict[str, str | None]:
        files = super().pretrained(scans)
        if self.backbone in SAMS and self.start != "nothing":
            files.setdefault("mobile_sam", self.mobilesam)
        return files

    def frame(self) -> Frame:
        pillow = self.backbone in SAMS  # released code
        way: Literal["area", "bilinear"] = "bilinear" if pillow else "area"
        return replace(super().frame(), interpolation=way, top=self.top)


class Streams(nn.Module):
    """Two students behind one decoder, and what is made of their difference.

    (1, 3, h, w) in [0, 1] → (h', w') from 0 to 1, on the first tap's grid. plain learns what the
    teacher sees of the picture it is shown, denoising what it would see without the defect.
    """

    def __init__(
        self, plain: nn.Module, denoising: nn.Module, decoder: nn.Module, aggregate: Aggregation
    ) -> None:
        super().__init__()
        self.plain, self.denoising = plain, denoising
        self.decoder, self.aggregate = decoder, aggregate

    def taps(self, image: Tensor) -> tuple[Taps, Taps]:
        return self.decoder(self.plain(image)), self.decoder(self.denoising(image))

    def logits(self, plain: Taps, denoised: Taps) -> Tensor:  # → (B, 1, h', w')
        return cast(Tensor, self.aggregate(agreement(plain, denoised)))

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(*self.taps(image)))[0, 0]


class Stlm(Method):
    """See the module's head. Presets: "embedded" behind Lite0 (stlm_embedded.py), "paper" taught by
    SAM ViT-H."""

    name = "stlm"
    presets: ClassVar[dict[str, Config]] = {
        "embedded": StlmEmbeddedConfig(),
        "paper": StlmConfig(
            size=1024,
            backbone="sam_vit_h",
            taps=(),
            start="decoder",
            kinds=("perlin",),
            own_texture=0.0,
            detail=1.0,
            steps=0,
            epochs=200,
            batch=2,
            cosine=False,
            width=128,
            settled=0,
            top=100 / 1024**2,
        ),
    }
    trained = True
    config: StlmConfig | StlmEmbeddedConfig

    @property
    def takes(self) -> list[str]:
        embedded = isinstance(self.config, StlmEmbeddedConfig)
        return tap_names(self.config) if embedded else ["image"]

    def fit(self, features: Features, *, seed: int = 0, track: Track = silent) -> Stlm:
        """Trains on made-up defects. A training that was killed goes on where it was."""
        c = self.config
        if isinstance(c, StlmEmbeddedConfig):
            self.head_: nn.Module = StlmEmbedded(c).fit(features, seed=seed, track=track).head()
            return self
        net, teacher = seeded(seed, lambda: build(c, features))
        stream = pictures(c, features, seed)
        each = c.batch // c.parts

        def shown_in(number: int) -> list[Picture]:
            return [stream.picture(number * each + i) for i in range(each)]

        def batch_of(number: int) -> Batch:
            shown = shown_in(number)
            return (masks(shown), altered(shown), *teacher.prepare(shown))

        def loss_of(batch: Batch) -> Tensor:
            mask, image, *prepared = batch
            return loss(c, net, teacher.taps(tuple(prepared)), image, mask)

        plan = Plan(
            steps=c.steps or c.epochs * max(1, len(features) // c.batch),
            rate=c.rate,
            cosine=c.cosine,
            parts=c.parts,
            precision=c.precision,
        )
        kept = checkpoint(c, features, seed)
        own = optimisers(net, c)
        train(net, loss_of, batch_of, plan, track=track, checkpoint=kept, optimisers=own)
        if c.settled:
            settle(net, (altered(shown_in(number)) for number in range(c.settled)))
        self.head_ = net
        return self


def loss(
    config: StlmConfig, net: Streams, teacher: tuple[Taps, Taps], image: Tensor, mask: Tensor
) -> Tensor:
    """L_plain + L_den + L_focal + L_l1; nothing is detached: the map teaches the streams."""
    (shown, good), (plain, denoised) = teacher, net.taps(image)
    logits = net.logits(plain, denoised)
    target = F.interpolate(mask, size=logits.shape[2:], mode="bilinear")
    target = (target >= 0.5).float()
    # focal_loss weighs an undecided cell by 1, the released code by 1 / 2^focus
    focal = focal_loss(logits, target, config.focus) / 2**config.focus
    l1 = (torch.sigmoid(logits) - target).abs().mean()
    return distance(shown, plain) + distance(good, denoised) + focal + l1


def build(config: StlmConfig, features: Features) -> tuple[Streams, Teacher]:
    """Students and their teacher. Raises WeightsError unless a file is there and fits."""
    of = _of_sam if config.backbone in SAMS else _of_cnn
    return of(config, features)


def _of_sam(config: StlmConfig, features: Features) -> tuple[Streams, Teacher]:
    name = config.backbone
    whole = read_state(find_weights(name, config.weights))
    teacher = SamTeacher(sam(name, whole), fixed=config.rotation == "none")
    plain, denoising, decoder = TinyViT(), TinyViT(), SamDecoder()
    if config.start != "nothing":
        if name != "mobile_sam":
            whole = read_state(find_weights("mobile_sam", config.mobilesam, "mobilesam"))
        load(decoder, from_sam(whole), "mobile_sam")
        for student in (plain, denoising) if config.start == "all" else ():
            load(student, from_mobilesam(whole), "mobile_sam")
    return Streams(plain, denoising, decoder, Aggregation(512, config.width)), teacher


def _of_cnn(config: StlmConfig, features: Features) -> tuple[Streams, Teacher]:
    plain, denoising = (StudentNetwork(config.backbone, config.taps) for _ in range(2))
    if config.start == "all":
        weights = find_weights(config.backbone, config.weights)
        frozen = Frozen(config.backbone, config.taps, (config.size, config.size), weights)
        for student in (plain, denoising):
            student.net.load_state_dict(frozen.net.state_dict())
    channels = sum(shape[0] for shape in features.shapes)
    streams = Streams(plain, denoising, nn.Identity(), Aggregation(channels, config.width))
    return streams, FrozenTeacher(features.origin.engine(), fixed=config.rotation == "none")


def optimisers(net: Streams, config: StlmConfig) -> Sequence[torch.optim.Optimizer]:
    """Adam on the two streams and their decoder, SGD on the aggregation."""
    parts = (net.plain, net.denoising, net.decoder)
    adam = torch.optim.Adam(
        [weight for part in parts for weight in part.parameters()], lr=config.rate, betas=BETAS
    )
    groups: list[dict[str, Any]] = [
        {"params": net.aggregate.body.parameters(), "lr": config.body_rate},
        {"params": net.aggregate.head.parameters(), "lr": config.head_rate},
    ]
    return adam, torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=DECAY)


def pictures(config: StlmConfig, features: Features, seed: int) -> Stream:
    """Good parts, some with a made-up defect, without end."""
    blobs = Perlin(own_texture=config.own_texture, textures=config.textures)

    def made_by(kind: str) -> Maker:
        return partial(perlin, config=blobs) if kind == "perlin" else maker(kind)

    return Stream(
        read=features.origin.read,
        chosen=tuple(range(len(features))),
        frame=features.origin.frame,
        kinds=config.kinds,
        clean=config.clean,
        detail=config.detail,
        seed=(seed, 0),
        rotation=config.rotation,
        made_by=made_by,
    )


def altered(shown: list[Picture]) -> Tensor:  # → (B, 3, h, w)
    return torch.from_numpy(np.concatenate([one.altered for one in shown]))


def masks(shown: list[Picture]) -> Tensor:  # → (B, 1, h, w)
    return torch.from_numpy(np.stack([one.mask for one in shown])[:, None].astype(np.float32))
