"""What LSFA learns from, against torch's own losses, brute force and the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn import functional as F

from blemish.nets.consistency import Queue, compactness, contrast, pairs, prototypes


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


# contrast


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_contrast_is_cross_entropy_both_ways(count: int, temperature: float) -> None:
    one, other = drawn(count, 6), drawn(count, 6, seed=1)
    likeness = F.cosine_similarity(one[:, None], other[None], dim=2) / temperature
    right = torch.arange(count)
    both = (F.cross_entropy(likeness, right) + F.cross_entropy(likeness.T, right)) / 2
    torch.testing.assert_close(contrast(one, other, temperature), 2 * temperature * both)


def test_contrast_is_the_sum_as_it_is_printed() -> None:
    one, other = drawn(5, 3).numpy(), drawn(5, 3, seed=1).numpy()
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    total = 0.0
    for j in range(5):
        total -= np.log(np.exp(a[j] @ b[j]) / sum(np.exp(a[j] @ b[k]) for k in range(5))) / 5
        total -= np.log(np.exp(a[j] @ b[j]) / sum(np.exp(a[k] @ b[j]) for k in range(5))) / 5
    found = contrast(torch.from_numpy(one), torch.from_numpy(other), 1.0)
    assert float(found) == pytest.approx(total, rel=1e-5)


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100))
def test_lengths_do_not_count_and_sides_are_alike(seed: int, scale: float) -> None:
    one, other = drawn(6, 4, seed=seed), drawn(6, 4, seed=seed + 1)
    first = contrast(one, other, 0.2)
    torch.testing.assert_close(contrast(scale * one, other, 0.2), first)
    torch.testing.assert_close(contrast(other, one, 0.2), first)


def test_agreement_is_least() -> None:
    one = drawn(12, 8)
    assert contrast(one, one, 0.1) < contrast(one, drawn(12, 8, seed=1), 0.1)
    assert contrast(one, one, 0.1) < contrast(one, one.roll(1, 0), 0.1)


def test_every_two_are_compared_once() -> None:
    three = [drawn(2, 2, seed=seed) for seed in range(3)]
    found = [(one, other) for one, other in pairs(three)]
    places = [tuple(next(i for i, x in enumerate(three) if x is y) for y in pair) for pair in found]
    assert places == [(0, 1), (0, 2), (1, 2)]
    assert pairs(three[:1]) == []


# prototypes


def test_the_mean_is_of_what_was_seen() -> None:
    patches, seen = (
        drawn(3, 9, 4),
        torch.rand(3, 9, generator=torch.Generator().manual_seed(1)) > 0.4,
    )
    found = prototypes(patches, seen, "mean")
    for image, there, one in zip(patches, seen, found, strict=True):
        torch.testing.assert_close(one, image[there].mean(0))


@pytest.mark.parametrize("how", ["mean", "kmeans"])
def test_what_was_not_seen_changes_no_prototype(how: str) -> None:
    patches, seen = drawn(2, 20, 4), torch.arange(20)[None].repeat(2, 1) % 3 > 0
    wild = torch.where(seen[..., None], patches, torch.full_like(patches, 1e6))
    assert torch.equal(prototypes(patches, seen, how), prototypes(wild, seen, how))


@pytest.mark.parametrize("how", ["mean", "kmeans"])
def test_an_image_of_which_nothing_was_seen_has_one_all_the_same(how: str) -> None:
    patches = torch.ones(1, 6, 3)
    found = prototypes(patches, torch.zeros(1, 6, dtype=torch.bool), how)
    torch.testing.assert_close(found, torch.ones(1, 3))


def test_kmeans_is_not_outvoted_by_the_background() -> None:
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    part = ((rows > 7) & (rows < 20) & (columns > 7) & (columns < 20)).flatten()
    patches = (part[:, None] * torch.tensor([9.0, 9]) + 0.1 * drawn(784, 2))[None]
    seen = torch.ones(1, 784, dtype=torch.bool)
    whole, mean = (prototypes(patches, seen, how)[0] for how in ("kmeans", "mean"))
    torch.testing.assert_close(whole, torch.tensor([4.5, 4.5]), atol=0.2, rtol=0)
    torch.testing.assert_close(mean, torch.full((2,), 9 * part.float().mean()), atol=0.1, rtol=0)


@given(count=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_kmeans_lies_among_the_patches(count: int, seed: int) -> None:
    patches = drawn(1, count, 3, seed=seed)
    found = prototypes(patches, torch.ones(1, count, dtype=torch.bool), "kmeans")[0]
    assert (found <= patches[0].amax(0) + 1e-5).all()
    assert (found >= patches[0].amin(0) - 1e-5).all()
    if count <= 4:  # each patch is a centre
        torch.testing.assert_close(found, patches[0].mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("how", ["mean", "kmeans"])
def test_prototypes_carry_gradients(how: str) -> None:
    patches = drawn(1, 12, 3).requires_grad_()
    prototypes(patches, torch.ones(1, 12, dtype=torch.bool), how).sum().backward()
    assert patches.grad is not None
    assert patches.grad.abs().min() > 0
    torch.testing.assert_close(patches.grad.sum(), torch.tensor(3.0))  # a move of all moves it so


# queue


@settings(max_examples=60)
@given(most=st.integers(1, 8), counts=st.lists(st.integers(0, 12), max_size=8))
def test_the_queue_holds_the_last_that_came(most: int, counts: list[int]) -> None:
    queue, came = Queue(most, 1), []
    for count in counts:
        fresh = [float(len(came) + place) for place in range(count)]
        queue.put(torch.tensor(fresh)[:, None])
        came += fresh
        last = came[-most:]
        assert sorted(queue.rows[:, 0].tolist()) == last
    assert len(queue.kept) == most


def test_the_queue_keeps_no_gradients_and_survives_a_checkpoint() -> None:
    queue = Queue(3, 2)
    one = drawn(2, 2).requires_grad_()
    queue.put(one * 2)
    assert not queue.rows.requires_grad
    again = Queue(3, 2)
    again.load_state_dict(queue.state_dict())
    assert torch.equal(again.rows, queue.rows)
    for each in (queue, again):
        each.put(drawn(2, 2, seed=5))
    assert torch.equal(again.rows, queue.rows)


# compactness


def filled(rows: Tensor) -> Queue:
    queue = Queue(len(rows), rows.shape[1])
    queue.put(rows)
    return queue


def test_compactness_is_the_mean_distance_to_the_nearest() -> None:
    features, rows = drawn(9, 4), drawn(20, 4, seed=1)
    expected = cdist(features, rows).min(1).mean()
    assert float(compactness(features, filled(rows), 0.0)) == pytest.approx(expected, rel=1e-5)


def test_an_empty_queue_or_no_features_are_nothing() -> None:
    features = drawn(3, 2).requires_grad_()
    nothing = compactness(features, Queue(5, 2), 0.0)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert features.grad is not None
    assert not features.grad.any()
    assert float(compactness(drawn(0, 2), filled(drawn(3, 2)), 1.0)) == 0


def test_beyond_the_cap_there_is_no_gradient() -> None:
    queue = filled(torch.zeros(1, 2))
    features = torch.tensor([[1.0, 0], [0, 3], [4, 0]], requires_grad=True)
    loss = compactness(features, queue, 9.5)  # 1 and 9 lie below it, 16 above
    assert float(loss.detach()) == pytest.approx((1 + 3 + 9.5**0.5) / 3)
    loss.backward()
    expected = torch.tensor([[1.0, 0], [0, 1], [0, 0]]) / 3
    torch.testing.assert_close(features.grad, expected)


def test_without_a_cap_everything_is_drawn_in_alike() -> None:
    features = torch.tensor([[1.0, 0], [4e3, 0]], requires_grad=True)
    compactness(features, filled(torch.zeros(1, 2)), 0.0).backward()
    torch.testing.assert_close(features.grad, torch.tensor([[0.5, 0], [0.5, 0]]))


def test_what_lies_on_a_row_has_a_finite_gradient() -> None:
    features = torch.zeros(1, 2, requires_grad=True)
    compactness(features, filled(torch.zeros(2, 2)), 0.0).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
