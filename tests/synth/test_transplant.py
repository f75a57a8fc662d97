"""Transplants: Poisson's equation solved, pieces that grow in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises import check_promises, check_where, images, textured
from scipy.sparse import diags, identity, kron
from scipy.sparse.linalg import spsolve

from blemish.errors import ConfigError, ShapeError, SynthError
from blemish.synth.base import own_range
from blemish.synth.transplant import Transplant, poisson, transplant


@given(image=images(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_promises(image: npt.NDArray[Any], seed: int) -> None:
    check_promises(transplant, image, seed, Transplant(least=0.01))


@given(
    size=st.tuples(st.integers(3, 14), st.integers(3, 14)),
    seed=st.integers(0, 2**32 - 1),
    mixed=st.booleans(),
)
def test_poisson_is_what_a_sparse_solver_finds(
    size: tuple[int, int], seed: int, mixed: bool
) -> None:
    rng = np.random.default_rng(seed)
    before, piece = rng.random((2, *size, 3)).astype(np.float32)
    share = rng.random(size).astype(np.float32)
    found = poisson(before, piece, share, mixed)
    ring = np.ones(size, np.bool_)
    ring[1:-1, 1:-1] = False
    assert np.array_equal(found[ring], before[ring])
    right = np.zeros((*size, 3))
    for y in range(1, size[0] - 1):
        for x in range(1, size[1] - 1):
            for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                old, new = before[v, u] - before[y, x], piece[v, u] - piece[y, x]
                if mixed:
                    new = np.where(np.abs(old) > np.abs(new), old, new)
                right[y, x] += (share[y, x] + share[v, u]) / 2 * (new - old)
    down, across = (
        diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(side - 2, side - 2)) for side in size
    )
    matrix = kron(down, identity(size[1] - 2)) + kron(identity(size[0] - 2), across)
    for channel in range(3):
        wanted = spsolve(matrix.tocsc(), right[1:-1, 1:-1, channel].ravel())
        change = (found - before)[1:-1, 1:-1, channel].ravel()
        assert np.abs(change - wanted).max() < 1e-4


def test_a_piece_of_the_like_changes_nothing() -> None:
    before = textured((30, 40, 3)).astype(np.float32)
    share = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    assert np.abs(poisson(before, before + 17, share) - before).max() < 1e-3  # only its level
    assert np.abs(poisson(before, before[::-1], 0 * share) - before).max() < 1e-3


def test_where_is_for_the_middle() -> None:
    check_where(transplant, textured(), Transplant(radius=(0.1, 0.12)), reach=24)


def test_pieces_come_from_the_source() -> None:
    image = np.full((96, 96, 3), 120, np.uint8)
    source = np.full((64, 80, 3), 120, np.uint8)
    source[::4, :, 0] = 250  # red stripes
    source[1::4, :, 0] = 250
    done = transplant(image, None, np.random.default_rng(0), source=source)
    moved = np.abs(done.image[done.mask].astype(int) - 120)
    assert moved[:, 0].max() > 20
    assert moved[:, 1:].max() <= 1
    with pytest.raises(SynthError, match="a transplant must visibly change"):
        transplant(image, None, np.random.default_rng(0))  # an even image has nothing to give


def test_what_changes_too_little_is_drawn_again() -> None:
    image = np.clip(textured((96, 96, 1)) // 8 + 100, 0, 255)
    for seed in range(5):
        done = transplant(image, None, np.random.default_rng(seed), config=Transplant(least=0.1))
        moved = np.abs(done.image[done.mask].astype(int) - image[done.mask]).mean()
        assert moved >= 0.1 * own_range(image)


def test_the_source_must_fit() -> None:
    image = textured()
    for source in (image[..., :1], image.astype(np.uint16)):
        with pytest.raises(ShapeError, match="source must be uint8 of 3 channels"):
            transplant(image, None, np.random.default_rng(0), source=source)
    with pytest.raises(ShapeError, match="an image must be"):
        transplant(image, None, np.random.default_rng(0), source=image[:9])


@pytest.mark.parametrize(
    ("name", "value"),
    [("radius", (0, 0.1)), ("scale", (0.1, 1)), ("gain", (1, 9)), ("least", 0.9)],
)
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"transplant.{name} must be"):
        Transplant(**{name: value})
