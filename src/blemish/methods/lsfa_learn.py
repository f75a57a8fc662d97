"""How LSFA's adaptors learn, and which of them are kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from blemish.methods.base import checkpoint, seeded
from blemish.methods.lsfa_head import Parts, patches_of, some
from blemish.methods.lsfa_turned import turned_features
from blemish.methods.lsfa_watch import Watch
from blemish.nets.adaptor import Adaptor
from blemish.nets.consistency import Queue, compactness, contrast, pairs, prototypes
from blemish.nets.features import Features
from blemish.track import Track
from blemish.train import Batch, Plan, train

if TYPE_CHECKING:
    from blemish.methods.lsfa import LsfaConfig


GAIN = 0.05  # share of the lowest loss that must come off it, for an adaptor to be the better one
SHARE = 6  # every so manieth patch is compared with that of a turned photograph (released code)


class Learner(nn.Module):
    """Adaptors, what their features are compared in, queues of what was seen, and the adaptors with
    which made-up defects stood out most so far.

    widths: of the modalities' features. parts: how many are learnt from.
    """

    least: Tensor

    def __init__(self, config: LsfaConfig, widths: list[int], parts: int) -> None:
        super().__init__()
        self.config = config
        self.adaptors = nn.ModuleList(Adaptor(w, config.heads, config.still) for w in widths)
        self.kept = copy.deepcopy(self.adaptors)
        self.register_buffer("least", torch.full((len(widths),), torch.inf))
        self.heads = nn.ModuleList(nn.Linear(width, config.joint) for width in widths)
        most = min(config.queue, parts * config.grid**2)
        self.queues = nn.ModuleList(Queue(most, width) for width in widths)
        self.wholes = nn.ModuleList(Queue(min(config.images, parts), width) for width in widths)

    def forward(self, *batch: Tensor) -> Tensor:
        """(B, N, D) patches and (B, N) seen of each modality in turn, and maybe patches of each
        photograph when turned (lsfa_turned.py) → scalar loss."""
        c, total = self.config, batch[0].sum() * 0
        told, turned = batch[: 2 * len(self.adaptors)], batch[2 * len(self.adaptors) :]
        seen = told[1::2]
        adapted = [net(patches) for net, patches in zip(self.adaptors, told[::2], strict=True)]
        wholes = [prototypes(*pair, c.prototype) for pair in zip(adapted, seen, strict=True)]
        if len(adapted) > 1 and c.agree:
            both = torch.stack(list(seen)).all(0)
            joint = [h(p[both]) for h, p in zip(self.heads, adapted, strict=True)]
            images = [h(one) for h, one in zip(self.heads, wholes, strict=True)]
            for one, other in pairs(joint):
                both_ways = contrast(self._some(one), self._some(other), c.temperature)
                total = total + c.agree * both_ways
            for one, other in pairs(images):
                total = total + c.agree * c.alike * contrast(one, other, c.temperature)
        for number, patches in enumerate(turned):
            pair = adapted[number], self.adaptors[number](patches)
            one, other = (self.heads[number](side.flatten(0, 1)[::SHARE]) for side in pair)
            total = total + c.turned * contrast(self._some(one), self._some(other), c.temperature)
        for number, patches in enumerate(adapted):
            inside = patches[seen[number]]
            queues = cast(Queue, self.queues[number]), cast(Queue, self.wholes[number])
            total = total + c.compact * compactness(self._some(inside), queues[0], c.cap)
            total = total + c.compact * c.whole * compactness(wholes[number], queues[1], c.cap)
            queues[0].put(inside)
            queues[1].put(wholes[number])
        return total

    def _some(self, patches: Tensor) -> Tensor:
        """Evenly spread rows: the contrast of all is a matrix of all by all."""
        most = self.config.compared or len(patches)
        return patches[:: -(-len(patches) // most) if len(patches) else 1]

    def keep(self, losses: Sequence[float]) -> float:
        """Keeps each adaptor whose loss is lower than the lowest so far by more than chance (GAIN);
        the mean of the lowest."""
        for number, loss in enumerate(losses):
            if loss < (1 - GAIN) * self.least[number]:
                self.least[number] = loss
                self.kept[number].load_state_dict(self.adaptors[number].state_dict())
        return float(self.least.mean())


def adapt(
    config: LsfaConfig,
    features: Features,
    parts: Parts,
    spared: Sequence[int],
    learnt: Sequence[int],
    seed: int,
    track: Track,
) -> nn.ModuleList:
    """An adaptor for each modality, learnt from the parts `learnt` and judged by the others."""
    known = patches_of(features, parts, some(learnt))
    widths = [patches.shape[2] for patches, _ in known]
    net = seeded(seed, lambda: Learner(config, widths, len(learnt)))
    watch = None
    if config.patience:
        watch = Watch(features, spared, learnt, lambda given: parts(*given), seed)
    ridges = [config.ridge] * parts.pictures + [config.shape_ridge] * parts.points
    for start in ([0.0] * len(ridges), ridges) if watch else (ridges,):
        for adaptor, one, ridge in zip(net.adaptors, known, start, strict=True):
            cast(Adaptor, adaptor).begin(*one, ridge)
        if watch:
            net.keep(watch.losses(net.adaptors))
    if watch:
        net.adaptors.load_state_dict(net.kept.state_dict())
    if config.steps:
        _learn(net, features, parts, learnt, watch, seed, track)
    return net.kept if watch else net.adaptors


def _learn(
    net: Learner,
    features: Features,
    parts: Parts,
    learnt: Sequence[int],
    watch: Watch | None,
    seed: int,
    track: Track,
) -> None:
    c = net.config
    engine = features.origin.engine() if c.turned else None

    def batch_of(step: int) -> Batch:
        rng = np.random.default_rng([seed, step, 4])
        chosen = rng.choice(learnt, min(c.batch, len(learnt)), replace=False).tolist()
        given = [torch.from_numpy(one) for one in features.batch(chosen)]
        made = tuple(one for pair in parts(*given) for one in pair)
        if engine is None:
            return made
        origin, taps = features.origin, parts.taps
        every = [turned_features(engine, origin, index, taps, rng) for index in chosen]
        given[:taps] = [torch.from_numpy(np.stack(tap)) for tap in zip(*every, strict=True)]
        return (*made, *(patches for patches, _ in parts(*given)[: parts.pictures]))

    train(
        net,
        lambda batch: cast(Tensor, net(*batch)),
        batch_of,
        Plan(
            steps=c.steps,
            rate=c.rate,
            decay=c.decay,
            cosine=True,
            check=c.check,
            patience=c.patience,
        ),
        track=track,
        loss_unseen=(lambda: net.keep(watch.losses(net.adaptors))) if watch else None,
        checkpoint=checkpoint(c, features, seed),
    )
