"""The training loop: it learns, it is repeatable, it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blemish.errors import DataError
from blemish.nets.features import Features
from blemish.track import silent
from blemish.train import train


@pytest.fixture
def features(tmp_path: Path) -> Features:
    """Six images of one tap; its second half is twice its first."""
    rng = np.random.default_rng(0)
    for number in range(6):
        half = rng.normal(size=(3, 2, 2)).astype(np.float32)
        np.concatenate([half, 2 * half]).tofile(tmp_path / f"{number}.f32")
    return Features(files=tuple(tmp_path / f"{n}.f32" for n in range(6)), shapes=((6, 2, 2),))


def student() -> nn.Linear:
    net = nn.Linear(3, 3)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    return net


def run(features: Features, **changed: Any) -> tuple[list[float], nn.Linear]:
    net = student()

    def loss(taps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        rows = taps[0].flatten(2).mT.flatten(0, 1)
        return (net(rows[:, :3]) - rows[:, 3:]).square().mean()

    given = {"epochs": 5, "batch": 4, "rate": 0.05, "seed": 0, "track": silent, **changed}
    return train(net, loss, features, **given), net


def test_the_loss_falls_to_what_can_be_learnt(features: Features) -> None:
    losses, net = run(features, epochs=150)
    assert len(losses) == 150
    assert losses[-1] < 0.01 * losses[0]
    assert torch.allclose(net.weight, 2 * torch.eye(3), atol=0.1)
    assert not net.training
    assert net.weight.device.type == "cpu"


def test_one_seed_gives_one_training(features: Features) -> None:
    first, again, other = (run(features, seed=seed) for seed in (3, 3, 4))
    assert first[0] == again[0]
    assert torch.equal(first[1].weight, again[1].weight)
    assert first[0] != other[0]


def test_an_epoch_sees_every_image_once(features: Features) -> None:
    seen: list[list[float]] = []
    net = student()

    def loss(taps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        seen.append(taps[0][:, 0, 0, 0].tolist())
        return net(taps[0].flatten(2).mT[..., :3]).square().mean()

    train(net, loss, features, epochs=2, batch=4, rate=0.1, seed=0, track=silent)
    assert [len(batch) for batch in seen] == [4, 2, 4, 2]  # the last, smaller batch is kept
    expected = sorted(features.batch(range(6))[0][:, 0, 0, 0].tolist())
    for epoch in (seen[:2], seen[2:]):
        assert sorted(value for batch in epoch for value in batch) == expected
    assert seen[:2] != seen[2:]  # shuffled


def test_the_first_step_is_adams(features: Features) -> None:
    _, net = run(features, epochs=1, batch=6, rate=0.01)
    assert torch.allclose(net.weight.abs(), torch.full((3, 3), 0.01), rtol=1e-3)


def test_a_loss_that_is_no_number_stops_the_training(features: Features) -> None:
    net = student()
    with pytest.raises(DataError, match=r"must stay a number, but became nan in epoch 0"):
        train(
            net,
            lambda taps: net(taps[0].flatten(2).mT[..., :3]).sum() * float("nan"),
            features,
            epochs=2,
            batch=4,
            rate=0.1,
            seed=0,
            track=silent,
        )


def test_progress_counts_the_steps(features: Features) -> None:
    told: list[tuple[str, int, int]] = []

    def track(items: Any, doing: str, total: int, /) -> Any:
        seen = list(items)
        told.append((doing, total, len(seen)))
        return iter(seen)

    run(features, epochs=3, batch=4, track=track)
    assert told == [("Training", 6, 6)]
