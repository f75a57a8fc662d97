"""STLM for two cores: the plain stream is the frozen teacher itself, the denoising one a light
network behind it. Two networks of the teacher's size would learn for hours there.

What the two differ by is judged as FractalAD's embedded preset judges what is odd. Why, and what
was tried: docs/methods/stlm.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from blemish.methods.base import checkpoint, seeded
from blemish.methods.fractalad import Fractalad, FractaladConfig, attending, streams
from blemish.nets.denoise import Denoiser, White, differences
from blemish.nets.features import Features
from blemish.nets.places import Attention
from blemish.settings import require
from blemish.track import Track
from blemish.train import Batch, Plan, train


@dataclass(frozen=True, kw_only=True)
class StlmEmbeddedConfig(FractaladConfig):
    """As FractalAD's with student=places, and:

    denoising: steps in which the denoising stream learns, of `batch` pictures each.
    channels: inside it.
    """

    denoising: int = 300
    channels: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.student == "places",
            "student",
            "places, behind which the streams are",
            self.student,
        )
        for name in ("denoising", "channels"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))


class StlmEmbedded(Fractalad):
    """A fit in two parts: the denoising stream, then the head that judges the difference."""

    config: StlmEmbeddedConfig

    def _attention(
        self, features: Features, seed: int, track: Track
    ) -> tuple[Attention, list[Attention]]:
        c = self.config
        whole, pair = super()._attention(features, seed, track)
        see = [attending(features, White(one)) for one in pair]
        shown = replace(streams(features, c, seed)[0], seed=(seed, 2))
        denoiser = seeded(seed, lambda: Denoiser(whole.surprise.width, c.channels))

        def batch_of(step: int) -> Batch:
            pictures = [shown.picture(step * c.batch + i) for i in range(c.batch)]
            both = ([getattr(one, name) for one in pictures] for name in ("altered", "good"))
            own = [see[features.of(one.source) % 2] for one in pictures]
            return tuple(
                torch.cat([one(i)[0] for one, i in zip(own, images, strict=True)])
                for images in both
            )

        def loss_of(batch: Batch) -> Tensor:
            altered, good = batch
            return F.mse_loss(denoiser(altered), good)

        plan = Plan(steps=c.denoising, rate=c.rate, decay=c.decay, cosine=c.cosine)
        kept = checkpoint(c, features, seed)
        own = kept.with_name(f"{kept.stem}-denoising.pt")
        train(denoiser, loss_of, batch_of, plan, track=track, checkpoint=own)
        with torch.no_grad():
            return differences(features, whole, pair, denoiser)
