"""Losses against scikit-learn and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from blemish.nets.losses import dice_loss, focal_loss


def example(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a mask of both truths, (2, 1, 5, 6)."""
    rng = np.random.default_rng(seed)
    mask = rng.random((2, 1, 5, 6)) < 0.3
    mask[0, 0, 0, :2] = (True, False)
    logits = 3 * rng.normal(size=mask.shape)
    return torch.from_numpy(logits), torch.from_numpy(mask.astype(np.float64))


@given(seed=st.integers(0, 2**16))
def test_without_a_focus_it_is_the_log_loss(seed: int) -> None:
    logits, mask = example(seed)
    expected = log_loss(mask.ravel().numpy(), torch.sigmoid(logits).ravel().numpy())
    assert focal_loss(logits, mask, 0.0).item() == pytest.approx(expected)


@given(seed=st.integers(0, 2**16), focus=st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_a_focus_weighs_by_twice_the_error(seed: int, focus: float) -> None:
    logits, mask = example(seed)
    p = 1 / (1 + np.exp(-logits.numpy()))
    truth = np.where(mask.numpy() == 1, p, 1 - p)
    expected = ((2 * (1 - truth)) ** focus * -np.log(truth)).mean()
    assert focal_loss(logits, mask, focus).item() == pytest.approx(expected)


@pytest.mark.parametrize("focus", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_an_undecided_pixel_weighs_one(focus: float, truth: float) -> None:
    found = focal_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), truth), focus)
    assert found.item() == pytest.approx(np.log(2))


def test_a_small_focus_is_almost_none() -> None:
    logits, mask = example(0)
    plain = focal_loss(logits, mask, 0.0)
    assert focal_loss(logits, mask, 1e-6).item() == pytest.approx(plain.item(), rel=1e-4)


@pytest.mark.parametrize("focus", [0.0, 2.0])
def test_sure_pixels_give_finite_losses_and_gradients(focus: float) -> None:
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0.0, 1.0, 1.0, 0.0]), focus)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_dice_by_hand() -> None:
    logits = torch.log(torch.tensor([[[[3.0, 1.0]]], [[[1 / 3, 1.0]]]]))  # p = 3/4, 1/2, 1/4, 1/2
    mask = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    expected = 1 - (2 * (3 / 4 + 1 / 4 + 1 / 2) + 1) / (2 + 3 + 1)
    assert dice_loss(logits, mask).item() == pytest.approx(expected)


def test_dice_is_over_the_whole_batch_at_once() -> None:
    logits, mask = example(1)
    alone = [dice_loss(logits[i], mask[i]).item() for i in range(2)]
    assert dice_loss(logits, mask).item() != pytest.approx(np.mean(alone), abs=1e-3)
    assert dice_loss(logits, mask).item() == pytest.approx(
        dice_loss(logits.ravel(), mask.ravel()).item()
    )


def test_dice_goes_from_nothing_to_one() -> None:
    mask = torch.zeros(1, 1, 100, 100)
    mask[:, :, :50] = 1
    assert dice_loss(100 * (2 * mask - 1), mask).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(100 * (1 - 2 * mask), mask).item() == pytest.approx(1, abs=1e-3)
    nothing = torch.zeros(1, 1, 3, 3)
    assert dice_loss(nothing - 100, nothing).item() == pytest.approx(0)
