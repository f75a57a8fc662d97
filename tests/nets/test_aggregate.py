"""STLM's aggregation: its size, what it is shown, and batch norms on few pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from blemish.nets.aggregate import Aggregation, PoolNorm, agreement, settle


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_its_parameters_are_those_of_the_paper() -> None:
    net = Aggregation(512)
    count = [sum(w.numel() for w in part.parameters()) for part in (net.body, net.head)]
    assert count == [1_099_008, 771_457]
    assert sum(w.numel() for w in net.parameters()) == 1_870_465


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 7)])
def test_the_grid_keeps_its_size(size: tuple[int, int]) -> None:
    assert Aggregation(6, 8).eval()(noise(2, 6, *size)).shape == (2, 1, *size)


# batch norms on few pictures


def test_one_picture_can_be_learnt_from() -> None:
    net = Aggregation(6, 8).train()
    net(noise(1, 6, 4, 4)).sum().backward()
    whole = net.head[0].whole
    assert whole[1].weight.grad is not None
    assert torch.equal(whole[2].running_mean, torch.zeros(8))
    assert torch.equal(whole[2].running_var, torch.ones(8))


def test_one_picture_is_normalised_in_training_as_in_inspection() -> None:
    norm, pooled = PoolNorm(5), noise(1, 5, 1, 1)
    norm.running_mean += 3
    norm.running_var *= 4
    assert torch.equal(norm.train()(pooled), norm.eval()(pooled))


def test_two_pictures_are_normalised_as_usual() -> None:
    ours, usual, pooled = PoolNorm(5), nn.BatchNorm2d(5), noise(2, 5, 1, 1)
    assert torch.equal(ours(pooled), usual(pooled))
    assert torch.equal(ours.running_var, usual.running_var)


def test_settling_takes_the_averages_of_these_batches_anew() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    batches = [5 + noise(2, 3, 4, 4, seed=seed) for seed in range(6)]
    weights = [one.clone() for one in net.parameters()]
    for _ in range(3):  # averages of another time
        net(noise(2, 3, 4, 4, seed=99))
    settle(net, batches)
    means = np.stack([batch.numpy().mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = np.stack([batch.numpy().var((0, 2, 3), ddof=1) for batch in batches]).mean(0)
    assert np.allclose(net[0].running_mean, means, atol=1e-5)
    assert np.allclose(net[0].running_var, variances, atol=1e-5)
    assert not net.training
    assert net[0].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters(), strict=True))


# what it is shown


def test_agreement_sums_to_minus_the_cosine() -> None:
    first = [noise(2, 8, 4, 4, seed=1), noise(2, 5, 4, 4, seed=2)]
    second = [noise(2, 8, 4, 4, seed=3), noise(2, 5, 4, 4, seed=4)]
    shown = agreement(first, second)
    assert shown.shape == (2, 13, 4, 4)
    for part, p, d in zip(shown.split([8, 5], dim=1), first, second, strict=True):
        assert torch.allclose(part.sum(1), -F.cosine_similarity(p, d, dim=1), atol=1e-6)
    for part in agreement(first, [-tap for tap in first]).split([8, 5], dim=1):
        assert torch.allclose(part.sum(1), torch.ones(2, 4, 4))


def test_coarser_taps_come_to_the_first_ones_grid() -> None:
    first, second = [noise(1, 4, 8, 8), noise(1, 6, 2, 2)], [noise(1, 4, 8, 8), noise(1, 6, 2, 2)]
    shown = agreement(first, second)
    assert shown.shape == (1, 10, 8, 8)
    assert shown[:, 4:, 0, 0].allclose(-F.normalize(first[1], dim=1).square()[:, :, 0, 0])


def test_features_of_nothing_agree_with_nothing() -> None:
    nothing = [torch.zeros(1, 3, 2, 2)]
    assert torch.equal(agreement(nothing, nothing), torch.zeros(1, 3, 2, 2))
