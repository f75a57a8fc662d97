"""Counts of thinned pixels: the truth lies between the bounds, whatever the scores are."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.metrics.pool import Budget, Pool, join, sparse, thin

Scores = npt.NDArray[np.float32]
SHAPES = ("normal", "ties", "one value", "huge", "tiny", "narrow", "two far", "infinite")


def draw(shape: str, n: int, seed: int) -> Scores:
    """n scores of a kind that histograms with fixed bins get wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    made = {
        "normal": x,
        "ties": rng.integers(-2, 3, n).astype(float),
        "one value": np.full(n, -7.5),
        "huge": x * 1e37,
        "tiny": x * 1e-42,  # subnormal
        "narrow": 1000 + x * 1e-3,
        "two far": np.where(rng.random(n) < 0.5, x * 1e-6, 1e30),
        "infinite": np.where(rng.random(n) < 0.2, np.inf * np.sign(x), x),
    }
    return made[shape].astype(np.float32)


@given(st.sampled_from(SHAPES), st.integers(1, 1000), st.integers(0, 99), st.integers(1, 40))
def test_the_truth_lies_between(shape: str, n: int, seed: int, per_mille: int) -> None:
    share = per_mille / 1000
    scores = np.sort(draw(shape, n, seed))
    knots = thin(scores, share)
    ends = np.array([np.inf, -np.inf], np.float32)
    levels = np.concatenate([scores, draw("normal", 50, seed + 1), ends])
    above = (scores[None] > levels[:, None]).sum(axis=1)
    reached = (scores[None] >= levels[:, None]).sum(axis=1)
    least, most = knots.count(levels, True), knots.count(levels, False)
    for low, true, high in zip(least, (above, reached), most, strict=True):
        assert (low <= true).all()
        assert (true <= high).all()
        assert (high - low <= np.ceil(share * low) + 1).all()


@given(st.sampled_from(SHAPES), st.integers(1, 500), st.integers(0, 99), st.booleans())
def test_at_or_above_is_above_the_next_smaller(shape: str, n: int, seed: int, fewest: bool) -> None:
    scores = np.sort(draw(shape, n, seed))
    knots = thin(scores, 0.02)
    levels = np.concatenate([scores, knots.levels, draw("normal", 50, seed + 1)])
    levels = levels[np.isfinite(levels)]
    for asked in (levels, levels.astype(np.float64)):
        below = np.nextafter(asked, asked.dtype.type(-np.inf))
        assert np.array_equal(knots.count(asked, fewest)[1], knots.count(below, fewest)[0])


@given(st.lists(st.sampled_from(SHAPES), min_size=2, max_size=5), st.integers(0, 99))
def test_joined_runs_add_up_and_stay_bounds(shapes: list[str], seed: int) -> None:
    runs = [np.sort(draw(shape, 500, seed + i)) for i, shape in enumerate(shapes)]
    whole = np.concatenate(runs)
    knots = join([thin(run, 0.01) for run in runs])
    coarse = sparse(knots, 0.05)
    assert coarse.kept <= knots.kept
    true = (whole[None] > whole[:, None]).sum(axis=1)
    for one, share in ((knots, 0.01), (coarse, 0.06)):
        low, high = (one.count(whole, fewest)[0] for fewest in (True, False))
        assert (low <= true).all()
        assert (true <= high).all()
        assert (high - low <= share * low + len(runs)).all()


def test_few_knots_tell_of_many_pixels() -> None:
    knots = thin(np.sort(draw("normal", 1_000_000, 0)), 1e-3)
    assert knots.kept < 15_000


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pool_stays_within_its_budget(shape: str) -> None:
    budget = Budget(chunk=1000, good=3000, knots=4000, share=0.01)
    pool = Pool(budget)
    parts = {kind: [draw(shape, 700, 10 * i + j) for i in range(30)] for j, kind in enumerate("ab")}
    for first, second in zip(*parts.values(), strict=True):
        pool.add("a", first)
        pool.add("b", second)
        assert pool._kept() <= budget.knots  # what is waiting or being sorted is counted later
    pool.sort()
    assert not pool.exact
    for kind, arrays in parts.items():
        scores = np.concatenate(arrays)
        assert pool.size(kind) == scores.size
        true = (scores[None] > scores[:500, None]).sum(axis=1)
        assert (pool.count(kind, scores[:500], True)[0] <= true).all()
        assert (pool.count(kind, scores[:500], False)[0] >= true).all()


def test_no_thread_stays_behind() -> None:
    before = threading.active_count()
    pools = [Pool(Budget(chunk=10)) for _ in range(5)]
    for pool in pools:
        pool.add("x", np.arange(25, dtype=np.float32))
        pool.sort()
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_few_pixels_are_all_kept_and_their_own() -> None:
    pool = Pool(Budget(chunk=10))
    mine = np.arange(25, dtype=np.float32)[::-1].copy()
    pool.add("x", mine)
    mine[:] = 99
    pool.sort()
    assert pool.exact
    counts = pool.count("x", np.array([-1.0, 3.0, 3.5, 30.0], np.float32), True)
    assert [c.tolist() for c in counts] == [[25, 21, 21, 0], [25, 22, 21, 0]]


def test_whole_numbers_and_doubles_are_not_rounded() -> None:
    scores = np.arange(5000) + 2**30
    knots = thin(scores, 0.01)
    assert knots.count(np.array([2**30 + 4999]), True)[1] == 1
    mixed = Pool(Budget(chunk=4, good=4, share=0.5))
    mixed.add("x", np.array([1, 2, 3, 4, 5], np.float32))
    mixed.add("x", np.array([1, 1 + 1e-12, 1 + 2e-12]))
    mixed.sort()
    low, high = (mixed.count("x", np.array([1 + 2e-12]), fewest)[1] for fewest in (True, False))
    assert low <= 5 <= high
