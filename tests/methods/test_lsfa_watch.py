"""How LSFA tells when adaptation has gone far enough, and which adaptors it keeps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blemish.data import open_data
from blemish.fitting import backbone_graph, choose, look, sight_of
from blemish.methods.lsfa import LsfaConfig
from blemish.methods.lsfa_head import Parts, patches_of, weigh
from blemish.methods.lsfa_learn import Learner, adapt
from blemish.methods.lsfa_watch import Watch
from blemish.nets.adaptor import Adaptor
from blemish.nets.features import Features
from blemish.track import silent

SETTINGS: dict[str, Any] = {"size": 96, "grid": 12, "joint": 8, "heads": 2}
SPARED, LEARNT = [0, 5, 10], [1, 2, 3, 4, 6, 7, 8, 9, 11]


def config_of(**settings: Any) -> LsfaConfig:
    config = choose("lsfa", "embedded", {**SETTINGS, **settings})[1]
    assert isinstance(config, LsfaConfig)
    return config


@pytest.fixture(scope="module")
def features(demo3d: Path) -> Features:
    config = config_of()
    train = open_data(demo3d).train
    sight = sight_of(config, train, False)
    good = look(
        train, backbone_graph(config), config.frame(), sight, track=silent, warn=lambda _: None
    )
    return good.features


@pytest.fixture(scope="module")
def parts(features: Features) -> Parts:
    made = Parts(config_of(), features.origin.sight)
    weigh(made, features, LEARNT, even=True)
    return made


@pytest.fixture(scope="module")
def watch(features: Features, parts: Parts) -> Watch:
    return watching(features, parts)


def watching(features: Features, parts: Parts, seed: int = 0) -> Watch:
    return Watch(features, SPARED, LEARNT, lambda given: parts(*given), seed)


class Collapsed(nn.Module):
    """Every patch becomes the same."""

    def forward(self, patches: Tensor) -> Tensor:
        return patches * 0 + 3


class Scrambled(nn.Module):
    """Every patch becomes noise, another one each time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, patches: Tensor) -> Tensor:
        return torch.randn(patches.shape, generator=self.generator)


# watch


def test_made_up_defects_stand_out_in_raw_features(watch: Watch) -> None:
    raw = watch.losses([nn.Identity(), nn.Identity()])
    assert len(raw) == 2  # the photograph's, the scan's
    assert all(loss < 0.45 for loss in raw)


def test_collapsed_features_tell_nothing(watch: Watch) -> None:
    assert watch.losses([Collapsed(), Collapsed()]) == [0.5, 0.5]
    # a few dozen marked patches of three parts: by chance .1 off each time
    noise = [watch.losses([Scrambled(seed), Scrambled(seed)]) for seed in range(12)]
    assert np.mean(noise, axis=0) == pytest.approx([0.5, 0.5], abs=0.1)


def test_modalities_are_judged_by_themselves(watch: Watch) -> None:
    raw = watch.losses([nn.Identity(), nn.Identity()])
    assert watch.losses([nn.Identity(), Collapsed()]) == [raw[0], 0.5]
    assert watch.losses([Collapsed(), nn.Identity()]) == [0.5, raw[1]]


def test_defects_are_made_in_each_modality_of_each_spared_part(watch: Watch) -> None:
    for (clean, seen), (spoilt, _), marks in zip(
        watch.clean, watch.spoilt, watch.marks, strict=True
    ):
        assert clean.shape == spoilt.shape
        assert clean.shape[:2] == seen.shape == marks.shape == (len(SPARED), 144)
        assert (marks.sum(1) > 0).sum() >= 2  # one too small for a cell may be among them
        assert marks.float().mean() < 0.5
        far = (clean - spoilt).norm(dim=2)
        assert far[marks].mean() > 2 * far[~marks].mean()


def test_what_is_spared_is_not_what_is_known(watch: Watch, features: Features) -> None:
    assert [len(patches) for patches, _ in watch.known] == [len(LEARNT)] * 2
    photographs, _ = watch.known[0]
    clean, _ = watch.clean[0]
    assert not any(torch.equal(one, other) for one in photographs for other in clean)


def test_one_seed_makes_the_same_defects(watch: Watch, features: Features, parts: Parts) -> None:
    same, other = watching(features, parts), watching(features, parts, seed=1)
    for number in range(2):
        assert torch.equal(same.spoilt[number][0], watch.spoilt[number][0])
        assert torch.equal(same.marks[number], watch.marks[number])
        assert not torch.equal(other.spoilt[number][0], watch.spoilt[number][0])
        assert torch.equal(other.clean[number][0], watch.clean[number][0])


def test_watching_changes_no_file_and_no_generator(
    features: Features, parts: Parts, demo3d: Path
) -> None:
    def state() -> tuple[Any, ...]:
        files = {p: p.read_bytes() for p in demo3d.rglob("*.png")}
        return files, torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = state()
    watching(features, parts, seed=2)
    assert state() == before


# learner


def learner(**settings: Any) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Learner(config_of(**settings), [6, 4], 3)


def weights(net: nn.Module) -> list[Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def nudge(net: nn.Module, by: float) -> None:
    with torch.no_grad():
        for value in net.parameters():
            value.add_(by)


def test_of_each_modality_the_best_is_kept_by_itself() -> None:
    net = learner()
    first = [weights(one) for one in net.adaptors]
    assert net.keep([0.4, 0.3]) == pytest.approx(0.35)
    nudge(net.adaptors, 1.0)
    second = [weights(one) for one in net.adaptors]
    assert net.keep([0.2, 0.5]) == pytest.approx(0.25)  # the scan's got worse
    assert same(weights(net.kept[0]), second[0])
    assert same(weights(net.kept[1]), first[1])
    nudge(net.adaptors, 1.0)
    assert net.keep([0.2, 0.3]) == pytest.approx(0.25)  # as good is not better
    assert same(weights(net.kept[0]), second[0])
    assert same(weights(net.kept[1]), first[1])
    assert not same(weights(net.adaptors[0]), second[0])  # learning itself goes on


def test_what_is_hardly_better_is_not_kept() -> None:
    net = learner()
    net.keep([0.4, 0.4])
    first = weights(net.kept)
    nudge(net.adaptors, 1.0)
    assert net.keep([0.385, 0.39]) == pytest.approx(0.4)
    assert same(weights(net.kept), first)
    assert net.keep([0.375, 0.39]) == pytest.approx((0.375 + 0.4) / 2)


def test_what_is_kept_goes_with_the_checkpoint() -> None:
    net, again = learner(), learner()
    net.keep([0.4, 0.3])
    nudge(net.adaptors, 1.0)
    net.keep([0.5, 0.1])
    again.load_state_dict(copy.deepcopy(net.state_dict()))
    assert same(weights(again.kept), weights(net.kept))
    assert again.keep([0.37, 0.2]) == net.keep([0.37, 0.2]) == pytest.approx((0.37 + 0.1) / 2)


def batch(seed: int = 0, count: int = 2) -> tuple[Tensor, ...]:
    """Patches and seen of a photograph, and of a scan with holes."""
    rng = torch.Generator().manual_seed(seed)
    holes = torch.rand(count, 9, generator=rng) > 0.3
    whole = torch.ones(count, 9, dtype=torch.bool)
    shape = torch.randn(count, 9, 4, generator=rng) * holes[..., None]
    return torch.randn(count, 9, 6, generator=rng), whole, shape, holes


def test_the_loss_is_a_number_with_gradients_for_every_adaptor() -> None:
    net = learner(still=False)
    net(*batch())  # fills the queues
    loss = net(*batch(1))
    loss.backward()
    assert float(loss.detach()) > 0
    for adaptor in net.adaptors:
        assert isinstance(adaptor, Adaptor)
        assert adaptor.fc2.weight.grad is not None
        assert adaptor.fc2.weight.grad.abs().max() > 0
    assert all(one.grad is None for one in net.kept.parameters())


def test_only_what_was_seen_is_learnt_from() -> None:
    *photograph, shape, holes = batch(1)
    wild = torch.where(holes[..., None], shape, torch.full_like(shape, 7.0))
    losses = []
    for given in (shape, wild):
        net = learner()  # still: no patch looks at another yet
        net(*batch())
        losses.append(float(net(*photograph, given, holes).detach()))
    assert losses[0] == losses[1]


def test_queues_hold_what_was_seen() -> None:
    net, given = learner(), batch()
    net(*given)
    assert torch.equal(net.queues[0].rows, given[0].flatten(0, 1))  # type: ignore[union-attr]
    assert torch.equal(net.queues[1].rows, given[2][given[3]])  # type: ignore[union-attr]
    assert [len(one.rows) for one in net.wholes] == [2, 2]  # type: ignore[arg-type,union-attr]


def test_one_modality_has_nothing_to_agree_with() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Learner(config_of(agree=1.0), [6], 3)
    first = net(*batch()[:2])
    assert float(first.detach()) == 0  # the queues are empty
    assert float(net(*batch(1)[:2]).detach()) > 0


@pytest.mark.parametrize(
    ("setting", "value"), [("agree", 0.0), ("compact", 0.0), ("compared", 2), ("temperature", 0.9)]
)
def test_weights_of_the_loss_change_it(setting: str, value: float) -> None:
    losses = []
    for settings in ({}, {setting: value}):
        net = learner(**settings)
        net(*batch())
        losses.append(float(net(*batch(1)).detach()))
    assert losses[0] != losses[1]


# adapt


def adapted(features: Features, parts: Parts, **settings: Any) -> nn.ModuleList:
    return adapt(config_of(**settings), features, parts, SPARED, LEARNT, 0, silent)


def test_without_steps_the_linear_map_alone_adapts(features: Features, parts: Parts) -> None:
    nets = adapted(features, parts, steps=0, patience=0, ridge=0.5, shape_ridge=0.5)
    for net, (patches, seen) in zip(nets, patches_of(features, parts, LEARNT), strict=True):
        assert isinstance(net, Adaptor)
        plain = Adaptor(patches.shape[2], 2, True)
        plain.begin(patches, seen, 0.5)
        assert torch.equal(net.map, plain.map)
        with torch.no_grad():
            torch.testing.assert_close(net(patches), (patches - net.middle) @ net.map)


def test_a_map_with_which_defects_stand_out_less_is_left_out(
    features: Features, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for losses, mapped in (
        ([[0.3, 0.3], [0.2, 0.4]], [True, False]),
        ([[0.3, 0.3]] * 2, [False] * 2),
    ):
        told = iter(losses)
        monkeypatch.setattr(Watch, "losses", lambda self, nets, told=told: next(told))
        for net, has_map in zip(
            adapted(features, parts, steps=0, ridge=0.5, shape_ridge=0.5), mapped, strict=True
        ):
            assert isinstance(net, Adaptor)
            plain = torch.equal(net.map, torch.eye(len(net.map)) * net.map[0, 0])
            assert plain is not has_map


@pytest.mark.parametrize("rate", [0.003, 0.5])
def test_what_is_kept_is_no_worse_than_where_it_began(
    features: Features, parts: Parts, watch: Watch, rate: float
) -> None:
    runs: list[dict[str, Any]] = [
        {"steps": 0},
        {"steps": 6, "patience": 3},
        {"steps": 6, "patience": 0},
    ]
    before, kept, last = (
        watch.losses(adapted(features, parts, check=2, batch=4, rate=rate, **run)) for run in runs
    )
    assert all(late <= early for early, late in zip(before, kept, strict=True))
    if rate > 0.1:  # which spoils what it learns
        assert last[0] > before[0] + 0.02
