"""The training loop: it learns, is repeatable, survives being killed, and says when it cannot."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

import blemish.train as room
from blemish.errors import DataError
from blemish.images import write_whole
from blemish.track import silent
from blemish.train import Batch, Plan, train

T = TypeVar("T")
STEPS = 12
PLAN = Plan(steps=STEPS, rate=0.05, decay=0.1, cosine=True, check=3, patience=9)


class KilledError(Exception):
    """What a test throws into a training."""


class Student(nn.Module):
    """A linear map behind a batch norm, whose running averages are a state of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.linear = nn.Linear(3, 3)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(self.norm(rows))
        return out


def rows_of(step: int, seed: int = 0) -> Batch:
    """Standard normal rows, and twice those."""
    rows = np.random.default_rng([seed, step]).normal(size=(64, 3)).astype(np.float32)
    return torch.from_numpy(rows), torch.from_numpy(2 * rows)


def squares(net: nn.Module) -> Callable[[Batch], torch.Tensor]:
    def loss(batch: Batch) -> torch.Tensor:
        out: torch.Tensor = (net(batch[0]) - batch[1]).square().mean()
        return out

    return loss


def run(plan: Plan = PLAN, **changed: Any) -> tuple[list[float], Student]:
    net = changed.pop("net", Student())
    loss, seed = squares(net), changed.pop("seed", 0)
    given: dict[str, Any] = {
        "batch_of": lambda step: rows_of(step, seed),
        "track": silent,
        "loss_unseen": lambda: float(loss(rows_of(0, 99))),
        **changed,
    }
    return train(net, loss, given.pop("batch_of"), plan, **given), net


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# it learns


def test_the_loss_falls_to_what_can_be_learnt() -> None:
    losses, net = run(Plan(steps=300, rate=0.05))
    assert len(losses) == 300
    assert losses[-1] < 0.05 * losses[0]
    assert torch.allclose(net.linear.weight, 2 * torch.eye(3), atol=0.3)
    assert not net.training
    assert net.linear.weight.device.type == "cpu"


def test_one_seed_gives_one_training() -> None:
    first, again, other = (run(seed=seed) for seed in (3, 3, 4))
    assert first[0] == again[0]
    assert same(first[1], again[1])
    assert first[0] != other[0]


@pytest.mark.parametrize("workers", [1, 5, 40])
def test_batches_are_learnt_in_order_however_many_are_made_at_once(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "cores", lambda: workers)
    seen: list[int] = []
    net = Student()

    def loss(batch: Batch) -> torch.Tensor:
        seen.append(int(batch[2]))
        return squares(net)(batch)

    train(net, loss, lambda step: (*rows_of(step), torch.tensor(step)), PLAN, track=silent)
    assert seen == list(range(STEPS))


def test_the_first_step_is_adams() -> None:
    _, net = run(Plan(steps=1, rate=0.01))
    assert torch.allclose(net.linear.weight.abs(), torch.full((3, 3), 0.01), rtol=1e-3)


def test_decay_shrinks_the_weights_by_the_rate() -> None:
    nets = [Student() for _ in range(2)]
    for net in nets:
        nn.init.ones_(net.linear.weight)
    for net, decay in zip(nets, (0.0, 0.5), strict=True):
        run(Plan(steps=1, rate=0.1, decay=decay), net=net)
    off = nets[0].linear.weight - nets[1].linear.weight
    assert torch.allclose(off, torch.full((3, 3), 0.1 * 0.5), atol=1e-6)


def test_progress_counts_the_steps() -> None:
    told: list[tuple[str, int, int]] = []

    def track(items: Any, doing: str, total: int, /) -> Any:
        seen = list(items)
        told.append((doing, total, len(seen)))
        return iter(seen)

    run(track=track)
    assert told == [("Training", STEPS, STEPS)]


# the rate


def test_without_a_schedule_the_rate_stays() -> None:
    assert {Plan(steps=50, rate=0.3).share_at(step) for step in range(50)} == {1.0}


def test_the_cosine_rises_over_a_tenth_and_falls_to_nothing() -> None:
    plan = Plan(steps=100, rate=0.5, cosine=True)
    rates = [0.5 * plan.share_at(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[55] == pytest.approx(0.25)  # half way down
    assert rates[99] == pytest.approx(0.25 * (1 + math.cos(math.pi * 89 / 90)))
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_short_trainings_have_a_rate_above_nothing_at_every_step(steps: int) -> None:
    plan = Plan(steps=steps, rate=0.5, cosine=True)
    assert all(0 < plan.share_at(step) <= 1 for step in range(steps))


def test_the_schedule_reaches_the_optimiser() -> None:
    # Adam's first step is the rate, here of the first of ten steps of rising; the first look is
    # kept, and the second, which is only as good, stops the training.
    plan = Plan(steps=100, rate=0.5, cosine=True, check=1, patience=1)
    losses, net = run(plan, loss_unseen=lambda: 0.0)
    assert len(losses) == 2
    assert torch.allclose(net.linear.weight.abs(), torch.full((3, 3), 0.05), rtol=1e-2)


# it says when it cannot


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training(value: float) -> None:
    net = Student()

    def loss(batch: Batch) -> torch.Tensor:
        return squares(net)(batch) * (value if int(batch[2]) == 4 else 1)

    with pytest.raises(DataError, match=rf"must stay a number, but became {value} in step 4"):
        train(net, loss, lambda step: (*rows_of(step), torch.tensor(step)), PLAN, track=silent)


def test_what_a_batch_raises_gets_through() -> None:
    def batch_of(step: int) -> Batch:
        if step == 7:
            raise DataError("a photograph is gone")
        return rows_of(step)

    with pytest.raises(DataError, match="a photograph is gone"):
        run(batch_of=batch_of)


# it survives being killed


def killed_before(step: int) -> Any:
    """A track that ends like a process that is interrupted while it waits for a step."""

    def track(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        for number, item in enumerate(items):
            if number == step:
                raise KilledError
            yield item

    return track


def killed_batch(step: int) -> Callable[[int], Batch]:
    def batch_of(asked: int) -> Batch:
        if asked == step:
            raise KilledError
        return rows_of(asked)

    return batch_of


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "not there yet" / "training.pt"


def check_goes_on(checkpoint: Path) -> None:
    """Goes on where the file says; ends as if nothing had happened."""
    expected, whole = run()
    losses, net = run(checkpoint=checkpoint)
    assert losses == expected
    assert same(net, whole)
    assert not checkpoint.exists()
    assert list(checkpoint.parent.iterdir()) == []


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("way", ["track", "batch_of"])
def test_a_killed_training_goes_on_to_the_bit(checkpoint: Path, step: int, way: str) -> None:
    how: dict[str, Any] = {"track": killed_before(step), "batch_of": killed_batch(step)}
    with pytest.raises(KilledError):
        run(checkpoint=checkpoint, **{way: how[way]})
    assert checkpoint.exists() == (step >= PLAN.check)
    check_goes_on(checkpoint)


def test_a_training_that_goes_on_takes_only_the_steps_that_are_left(checkpoint: Path) -> None:
    with pytest.raises(KilledError):
        run(checkpoint=checkpoint, track=killed_before(8))
    asked: list[int] = []

    def batch_of(step: int) -> Batch:
        asked.append(step)
        return rows_of(step)

    run(checkpoint=checkpoint, batch_of=batch_of)
    assert sorted(asked) == list(range(6, STEPS))


def test_a_training_may_be_killed_again_and_again(checkpoint: Path) -> None:
    for _ in range(2):
        with pytest.raises(KilledError):
            run(checkpoint=checkpoint, track=killed_before(5))  # steps 0 to 4, then 3 to 7
    check_goes_on(checkpoint)


@pytest.mark.parametrize("writing", [0, 1, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_training_killed_while_it_writes_goes_on_to_the_bit(
    checkpoint: Path, writing: int, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def keep(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count - 1 == writing and moment == "before":
            raise KilledError
        write_whole(path, data)
        if count - 1 == writing:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(room, "keep", keep)
        with pytest.raises(KilledError):
            run(checkpoint=checkpoint)
    if checkpoint.parent.exists():
        check_goes_on(checkpoint)


def test_a_training_killed_in_the_middle_of_a_write_goes_on_to_the_bit(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own call fails: the last whole file is still there."""
    names: list[Path] = []

    def replace(source: Any, target: Any) -> None:
        names.append(Path(target))
        if len(names) == 3:
            raise KilledError
        original(source, target)

    original = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KilledError):
            run(checkpoint=checkpoint)
    assert names == [checkpoint] * 3
    assert checkpoint.is_file()
    expected, whole = run()
    losses, net = run(checkpoint=checkpoint)
    assert losses == expected
    assert same(net, whole)
    assert not checkpoint.exists()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def every_byte(data: bytes) -> bytes:
    return bytes(byte ^ 0x01 for byte in data)


DAMAGE: list[Callable[[bytes], bytes]] = [
    cut,
    every_byte,
    lambda data: b"",
    lambda data: data[:31],
    lambda data: data + b"more",
    lambda data: b"not a checkpoint at all",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_as_good_as_none(
    checkpoint: Path, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(KilledError):
        run(checkpoint=checkpoint, track=killed_before(10))
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    check_goes_on(checkpoint)


def test_not_one_bit_of_a_damaged_checkpoint_is_learnt_from(checkpoint: Path) -> None:
    with pytest.raises(KilledError):
        run(checkpoint=checkpoint, track=killed_before(10))
    whole = checkpoint.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 25).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        checkpoint.write_bytes(bytes(changed))
        check_goes_on(checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DataError, match="must be writable"):
        run(checkpoint=tmp_path / "cache" / "training.pt")


# early stopping


def looked(plan: Plan, unseen: list[float], **given: Any) -> tuple[list[float], Student, list[Any]]:
    """Trains with these values for `loss_unseen`; also the states that were looked at."""
    states: list[Any] = []
    net = Student()

    def loss_unseen() -> float:
        assert not net.training
        assert not torch.is_grad_enabled()
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        return unseen[len(states) - 1]

    losses, _ = run(plan, net=net, loss_unseen=loss_unseen, **given)
    return losses, net, states


def test_the_best_look_is_kept_and_patience_stops() -> None:
    plan = Plan(steps=100, rate=0.05, check=2, patience=3)
    losses, net, states = looked(plan, [5.0, 4.0, 3.0, 3.5, 3.2, 3.1, 0.0, 0.0])
    assert len(states) == 6  # the third is the best, three more bring nothing
    assert len(losses) == 12
    for name, value in net.state_dict().items():
        assert torch.equal(value, states[2][name])
    assert not torch.equal(states[2]["linear.weight"], states[5]["linear.weight"])


def test_an_early_best_is_kept_when_the_steps_run_out() -> None:
    plan = Plan(steps=7, rate=0.05, check=2, patience=9)
    losses, net, states = looked(plan, [5.0, 1.0, 3.0, 2.0])
    assert (len(losses), len(states)) == (7, 4)  # the last step is looked at, too
    assert torch.equal(net.linear.weight, states[1]["linear.weight"])


def test_without_patience_nobody_looks_and_the_last_step_is_kept() -> None:
    plan = Plan(steps=6, rate=0.05, check=2)
    _, net, states = looked(plan, [])
    assert states == []
    assert same(net, run(plan)[1])


def test_a_training_that_was_stopped_stays_stopped(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its last checkpoint, before it could return."""
    plan = Plan(steps=100, rate=0.05, check=2, patience=2)
    unseen = [5.0, 1.0, 3.0, 2.0]
    expected, whole, _ = looked(plan, unseen)

    original = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == checkpoint:
            raise KilledError
        original(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KilledError):
            looked(plan, unseen, checkpoint=checkpoint)
    losses, net, states = looked(plan, [], checkpoint=checkpoint)
    assert states == []
    assert losses == expected
    assert same(net, whole)
    assert not checkpoint.exists()


# parts of a step, optimisers, precision


class Plain(nn.Linear):
    """No batch norm: a batch may be cut without a difference."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def quarter_of(number: int) -> Batch:
    rows, wanted = rows_of(number // 4)
    cut = slice(number % 4 * 16, (number % 4 + 1) * 16)
    return rows[cut], wanted[cut]


def test_parts_of_a_step_learn_what_the_whole_does() -> None:
    whole = run(Plan(steps=8, rate=0.05), net=Plain())
    parts = run(Plan(steps=8, rate=0.05, parts=4), net=Plain(), batch_of=quarter_of)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert torch.allclose(parts[1].weight, whole[1].weight, atol=1e-6)
    losses = [squares(Plain())(quarter_of(number)).item() for number in range(4)]
    assert parts[0][0] == pytest.approx(sum(losses) / 4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_keeps_whole_weights(precision: Any) -> None:
    seen: list[torch.dtype] = []

    class Seen(Plain):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            out = super().forward(rows)
            seen.append(out.dtype)
            return out

    losses, net = run(Plan(steps=100, rate=0.05, precision=precision), net=Seen())
    assert set(seen) == {getattr(torch, precision)}
    assert net.weight.dtype == torch.float32
    assert losses[-1] < 0.05 * losses[0]


def several(net: Student) -> tuple[torch.optim.Optimizer, ...]:
    weight, bias = net.linear.weight, net.linear.bias
    groups = [{"params": [bias], "lr": 0.1}]
    return torch.optim.Adam([weight], lr=0.02), torch.optim.SGD(groups, momentum=0.9)


def test_every_optimiser_has_its_parameters_and_its_rate() -> None:
    net = Student()
    nn.init.ones_(net.linear.bias)
    loss = squares(net)(rows_of(0))
    (gradient,) = torch.autograd.grad(loss, [net.linear.bias])
    plan = Plan(steps=20, rate=9.0, cosine=True, check=1, patience=1)  # half the rate in step 0
    run(plan, net=net, optimisers=several(net), loss_unseen=iter([0.0, 0.0]).__next__)
    assert torch.allclose(net.linear.weight.abs(), torch.full((3, 3), 0.01), rtol=1e-3)
    assert torch.allclose(net.linear.bias, 1 - 0.05 * gradient, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_parts_optimisers_and_scales_go_on_to_the_bit(checkpoint: Path, precision: Any) -> None:
    plan = Plan(steps=STEPS, rate=1.0, cosine=True, check=3, parts=2, precision=precision)

    def learn(**given: Any) -> tuple[list[float], Student]:
        net = Student()
        return run(plan, net=net, optimisers=several(net), **given)

    expected, whole = learn()
    with pytest.raises(KilledError):
        learn(checkpoint=checkpoint, track=killed_before(8))
    losses, net = learn(checkpoint=checkpoint)
    assert losses == expected
    assert same(net, whole)
