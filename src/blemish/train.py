"""The training loop, read top to bottom: batches, loss, step, log, stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from blemish.errors import DataError
from blemish.nets.features import Array, Features
from blemish.track import Track


def train(
    net: nn.Module,
    loss_of: Callable[[tuple[Tensor, ...]], Tensor],
    features: Features,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    track: Track,
) -> list[float]:
    """Trains with Adam at a constant rate, in place; the last epoch is kept.

    loss_of: (B, C, h', w') taps → scalar loss. Returns the mean loss of each epoch.
    Raises DataError if the loss stops being a number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net.to(device).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    order = np.random.default_rng(seed)
    losses: list[list[float]] = [[] for _ in range(epochs)]
    steps = epochs * -(-len(features) // batch)
    for epoch, taps in track(_shuffled(features, epochs, batch, order), "Training", steps):
        loss = loss_of(tuple(torch.from_numpy(tap).to(device) for tap in taps))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses[epoch].append(loss.item())
        if not np.isfinite(losses[epoch][-1]):
            raise DataError(
                f"the training loss must stay a number, but became {loss.item()} in epoch {epoch}."
                " Lower the rate (--set rate=…) or look for broken images."
            )
    net.to("cpu").eval()
    return [float(np.mean(epoch)) for epoch in losses]


def _shuffled(
    features: Features, epochs: int, batch: int, order: np.random.Generator
) -> Iterator[tuple[int, tuple[Array, ...]]]:
    for epoch in range(epochs):
        indices = order.permutation(len(features))
        for start in range(0, len(indices), batch):
            yield epoch, features.batch(indices[start : start + batch].tolist())
