"""The training loop, read top to bottom: batches, loss, step, log, checkpoint, stop.

Every batch is a function of its step, so that a training which was killed goes on to the bit as if
nothing had happened.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blemish.cache import keep
from blemish.errors import DataError
from blemish.nets.features import cores
from blemish.track import Track

Batch = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast.

    steps: at most. rate: of AdamW, above 0. decay: of its weights, 0 or more (0 is Adam).
    cosine: whether the rate rises over the first tenth of the steps and falls to 0 at the last.
    check: steps between checkpoints, and between looks at `loss_unseen`. patience: looks
        without a new best after which training stops; 0 never stops and keeps the last step.
    """

    steps: int
    rate: float
    decay: float = 0.0
    cosine: bool = False
    check: int = 100
    patience: int = 0

    def rate_at(self, step: int) -> float:
        if not self.cosine:
            return self.rate
        rise = max(1, self.steps // 10)
        if step < rise:
            return self.rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.rate * 0.5 * (1 + math.cos(math.pi * done))


def train(
    net: nn.Module,
    loss_of: Callable[[Batch], Tensor],
    batch_of: Callable[[int], Batch],
    plan: Plan,
    *,
    track: Track,
    loss_unseen: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
) -> list[float]:
    """Trains in place; with patience, the step of least `loss_unseen` is kept, else the last.

    batch_of: step → batch, called ahead from other threads. loss_of: batch → scalar loss.
    checkpoint: file that is written as training goes on, taken up if it is there, and removed at
    the end. Returns the loss of each step. Raises DataError if the loss stops being a number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=plan.decay)
    losses: list[float] = []
    looks: list[float] = []
    best = _state(net)
    if checkpoint is not None and checkpoint.is_file():
        losses, looks, best = _take_up(checkpoint, net, optimiser)
    todo = range(len(losses), 0 if _tired(looks, plan) else plan.steps)
    for step, batch in track(_ahead(batch_of, todo), "Training", len(todo)):
        net.train()
        for group in optimiser.param_groups:
            group["lr"] = plan.rate_at(step)
        loss = loss_of(tuple(part.to(device) for part in batch))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        _refuse_no_number(losses[-1], step)
        if (step + 1) % plan.check and step + 1 < plan.steps:
            continue
        if plan.patience and loss_unseen is not None:
            looks.append(_look(net, loss_unseen))
            _refuse_no_number(looks[-1], step)
            if looks.index(min(looks)) == len(looks) - 1:
                best = _state(net)
        if checkpoint is not None:
            _write(checkpoint, net, optimiser, (losses, looks, best))
        if _tired(looks, plan):
            break
    if looks:
        net.load_state_dict(best)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    net.to("cpu").eval()
    return losses


def _look(net: nn.Module, loss_unseen: Callable[[], float]) -> float:
    net.eval()
    with torch.no_grad():
        return loss_unseen()


def _tired(looks: list[float], plan: Plan) -> bool:
    """Whether the last `patience` looks brought nothing better."""
    return bool(looks) and len(looks) - 1 - looks.index(min(looks)) >= plan.patience > 0


def _refuse_no_number(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"the training loss must stay a number, but became {loss} in step {step}."
            " Lower the rate (--set rate=…) or look for broken images."
        )


def _ahead(batch_of: Callable[[int], Batch], steps: range) -> Iterator[tuple[int, Batch]]:
    """Batches in order, some made while earlier ones are learnt from."""
    with ThreadPoolExecutor(cores()) as pool:
        waiting: deque[tuple[int, Future[Batch]]] = deque()
        try:
            for step in steps:
                waiting.append((step, pool.submit(batch_of, step)))
                if len(waiting) > cores():
                    first, made = waiting.popleft()
                    yield first, made.result()
            for first, made in waiting:
                yield first, made.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _write(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, so_far: Any) -> None:
    buffer = io.BytesIO()
    torch.save((net.state_dict(), optimiser.state_dict(), so_far), buffer)
    data = buffer.getvalue()
    keep(path, hashlib.sha256(data).digest() + data)  # torch reads flipped bits as they are


def _take_up(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> Any:
    """What an interrupted training had; a damaged file is as good as none."""
    kept = path.read_bytes()
    digest, data = kept[:32], kept[32:]
    if hashlib.sha256(data).digest() != digest:
        return [], [], _state(net)
    state, moments, so_far = torch.load(
        io.BytesIO(data), next(net.parameters()).device, weights_only=True
    )
    net.load_state_dict(state)
    optimiser.load_state_dict(moments)
    return so_far
