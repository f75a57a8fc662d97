"""The training loop, read top to bottom: batches, loss, step, log, checkpoint, stop.

Every batch is a function of its number, so that a training which was killed goes on to the bit as
if nothing had happened, and so that processes (ddp.py) can share a step without talking about it.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blemish.cache import keep
from blemish.ddp import Company, company
from blemish.engines import cores
from blemish.errors import ConfigError, DataError
from blemish.track import Track, silent

Batch = tuple[Tensor, ...]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast.

    steps: at most. rate: of AdamW, above 0. decay: of its weights, 0 or more (0 is Adam).
    cosine: whether the rate rises over the first tenth of the steps and falls to 0 at the last.
    check: steps between checkpoints, and between looks at `loss_unseen`. patience: looks
        without a new best after which training stops; 0 never stops and keeps the last step.
    parts: batches of a step, 1 or more: their losses are averaged, and processes share them.
        As many pictures in more parts need less memory; only batch norms see the difference.
    precision: what is multiplied in, where torch deems it safe; weights stay in float32.
    """

    steps: int
    rate: float
    decay: float = 0.0
    cosine: bool = False
    check: int = 100
    patience: int = 0
    parts: int = 1
    precision: Precision = "float32"

    def share_at(self, step: int) -> float:
        """Of the full rate, 0 to 1."""
        if not self.cosine:
            return 1.0
        rise = max(1, self.steps // 10)
        if step < rise:
            return (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return 0.5 * (1 + math.cos(math.pi * done))


def train(
    net: nn.Module,
    loss_of: Callable[[Batch], Tensor],
    batch_of: Callable[[int], Batch],
    plan: Plan,
    *,
    track: Track,
    loss_unseen: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
    optimisers: Sequence[Optimizer] = (),
) -> list[float]:
    """Trains in place; with patience, the step of least `loss_unseen` is kept, else the last.

    batch_of: number → batch, called ahead from other threads; step s learns from numbers
    s * parts to (s + 1) * parts - 1. loss_of: batch → scalar loss.
    checkpoint: file that is written as training goes on, taken up if it is there, and removed at
    the end. optimisers: of net's parameters, each group with its own full rate; none is AdamW.
    Returns the loss of each step. Raises DataError if the loss stops being a number, ConfigError
    if there are more processes than parts, or no equal share for each.
    """
    here = company()
    _refuse_unequal_shares(plan, here)
    net.to(here.device)
    default = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=plan.decay)
    learner = Learner(net, loss_of, optimisers or (default,), plan.precision, here)
    losses: list[float] = []
    looks: list[float] = []
    best = _state(net)
    if checkpoint is not None and checkpoint.is_file():
        losses, looks, best = _take_up(checkpoint, net, learner)
    here.wait()
    todo = range(len(losses), 0 if _tired(looks, plan) else plan.steps)

    def parts_of(step: int) -> list[Batch]:
        whole = range(step * plan.parts, (step + 1) * plan.parts)
        return [batch_of(number) for number in whole[here.rank :: here.size]]

    shown = track if here.rank == 0 else silent
    for step, parts in shown(_ahead(parts_of, todo), "Training", len(todo)):
        losses.append(learner.step(parts, plan.share_at(step)))
        _refuse_no_number(losses[-1], step)
        if (step + 1) % plan.check and step + 1 < plan.steps:
            continue
        if plan.patience and loss_unseen is not None:
            looks.append(here.led(learner.look(loss_unseen)))
            _refuse_no_number(looks[-1], step)
            if looks.index(min(looks)) == len(looks) - 1:
                best = _state(net)
        if checkpoint is not None and here.rank == 0:
            _write(checkpoint, net, learner, (losses, looks, best))
        if _tired(looks, plan):
            break
    if looks:
        net.load_state_dict(best)
    learner.finish()
    if checkpoint is not None and here.rank == 0:
        checkpoint.unlink(missing_ok=True)
    net.to("cpu").eval()
    return losses


class Learner:
    """What a step does to a network, in its precision and together with the other processes."""

    def __init__(
        self,
        net: nn.Module,
        loss_of: Callable[[Batch], Tensor],
        optimisers: Sequence[Optimizer],
        precision: Precision,
        here: Company,
    ) -> None:
        self.net, self.here, self.optimisers = net, here, optimisers
        self.norms = here.join_norms(net)
        self.loss = here.share(_Loss(net, loss_of))
        self.type = getattr(torch, precision)
        # Gradients of half precision vanish unless the loss is scaled up; others pass through.
        self.scaler = torch.amp.GradScaler(here.device.type, enabled=precision == "float16")
        self.rates = [[group["lr"] for group in one.param_groups] for one in optimisers]

    def step(self, parts: Sequence[Batch], share: float) -> float:
        """Learns from the parts together. share: of each group's full rate. Returns their loss."""
        self.net.train()
        for optimiser, rates in zip(self.optimisers, self.rates, strict=True):
            optimiser.zero_grad()
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * share
        total = torch.zeros((), device=self.here.device)
        for number, part in enumerate(parts):
            last = number + 1 == len(parts)  # gradients travel once a step
            with nullcontext() if last else self.here.alone(self.loss):
                with self._cast():
                    loss = self.loss(tuple(one.to(self.here.device) for one in part)) / len(parts)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        return self.here.mean(total)

    def look(self, loss_unseen: Callable[[], float]) -> float:
        self.net.eval()
        with torch.no_grad(), self._cast():
            return loss_unseen()

    def state(self) -> Any:
        return [one.state_dict() for one in self.optimisers], self.scaler.state_dict()

    def take_up(self, state: Any) -> None:
        moments, scale = state
        for optimiser, one in zip(self.optimisers, moments, strict=True):
            optimiser.load_state_dict(one)
        self.scaler.load_state_dict(scale)

    def finish(self) -> None:
        """All processes end with the leader's network, as it was made."""
        self.here.part_norms(self.net, self.norms)
        self.here.follow(self.net)

    def _cast(self) -> torch.autocast:
        kind = self.here.device.type
        half = self.type is not torch.float32
        return torch.autocast(kind, dtype=self.type if half else None, enabled=half)


class _Loss(nn.Module):
    """The loss as a module of net's parameters, so that processes can share it."""

    def __init__(self, net: nn.Module, loss_of: Callable[[Batch], Tensor]) -> None:
        super().__init__()
        self.net, self.loss_of = net, loss_of

    def forward(self, batch: Batch) -> Tensor:
        return self.loss_of(batch)


def _refuse_unequal_shares(plan: Plan, here: Company) -> None:
    if plan.parts % here.size:
        raise ConfigError(
            f"parts must be a multiple of the {here.size} processes that share a step, but is"
            f" {plan.parts}. Change it with --set parts={here.size}, or start fewer processes."
        )


def _tired(looks: list[float], plan: Plan) -> bool:
    """Whether the last `patience` looks brought nothing better."""
    return bool(looks) and len(looks) - 1 - looks.index(min(looks)) >= plan.patience > 0


def _refuse_no_number(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"the training loss must stay a number, but became {loss} in step {step}."
            " Lower the rate (--set rate=…) or look for broken images."
        )


def _ahead(
    parts_of: Callable[[int], list[Batch]], steps: range
) -> Iterator[tuple[int, list[Batch]]]:
    """Batches in order, some made while earlier ones are learnt from."""
    with ThreadPoolExecutor(cores()) as pool:
        waiting: deque[tuple[int, Future[list[Batch]]]] = deque()
        try:
            for step in steps:
                waiting.append((step, pool.submit(parts_of, step)))
                if len(waiting) > cores():
                    first, made = waiting.popleft()
                    yield first, made.result()
            for first, made in waiting:
                yield first, made.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _write(path: Path, net: nn.Module, learner: Learner, so_far: Any) -> None:
    buffer = io.BytesIO()
    torch.save((net.state_dict(), learner.state(), so_far), buffer)
    data = buffer.getvalue()
    keep(path, hashlib.sha256(data).digest() + data)  # torch reads flipped bits as they are


def _take_up(path: Path, net: nn.Module, learner: Learner) -> Any:
    """What an interrupted training had; a damaged file is as good as none."""
    kept = path.read_bytes()
    digest, data = kept[:32], kept[32:]
    if hashlib.sha256(data).digest() != digest:
        return [], [], _state(net)
    state, learnt, so_far = torch.load(
        io.BytesIO(data), next(net.parameters()).device, weights_only=True
    )
    net.load_state_dict(state)
    learner.take_up(learnt)
    return so_far
