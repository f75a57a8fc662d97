"""What the threshold promises, against exhaustive counting and SciPy."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from blemish.calibrate import Calibration, Calibrator, calibrate, parts_needed, upper_rate
from blemish.errors import ConfigError, DataError

scores_with_ties = st.lists(st.integers(0, 8), min_size=1, max_size=40)
rates = st.one_of(st.floats(0.001, 0.999), st.integers(1, 99).map(lambda n: n / 100))


def calibration(
    scores: Any, rate: float = 0.01, how: Literal["held out", "cross-fitted"] = "held out"
) -> Calibration:
    ordered = tuple(sorted(float(score) for score in scores))
    return Calibration(scores=ordered, peaks=ordered, extent=0.0, false_alarms=rate, how=how)


def first_map(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full((4, 4), value, np.float32)


# ---------------------------------------------------------------- p-values


@settings(deadline=None)
@given(scores=st.lists(st.integers(0, 5), min_size=2, max_size=30))
def test_p_values_are_valid_whichever_part_is_the_new_one(scores: list[int]) -> None:
    """Exchangeable: each of n + 1 parts is the new one equally often. Exact, ties included."""
    p = [
        calibration(scores[:new] + scores[new + 1 :]).p_value(score)
        for new, score in enumerate(scores)
    ]
    for level in {*p, 0.01, 0.5}:
        assert sum(value <= level for value in p) / len(p) <= level + 1e-12


def test_p_values_without_ties_are_uniform() -> None:
    scores = [3.0, 1.0, 4.5, 9.25, 2.0]
    p = sorted(
        calibration(scores[:new] + scores[new + 1 :]).p_value(score)
        for new, score in enumerate(scores)
    )
    assert p == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_p_value_counts_as_high_or_higher() -> None:
    c = calibration([1, 2, 2, 3])
    assert [c.p_value(score) for score in (0, 1, 2, 2.5, 3, 4)] == [1, 1, 0.8, 0.4, 0.4, 0.2]


@settings(max_examples=300, deadline=None)
@given(scores=scores_with_ties, rate=rates, score=st.integers(-1, 9))
def test_threshold_and_p_value_are_one_rule(scores: list[int], rate: float, score: int) -> None:
    c = calibration(scores, rate)
    for close in (score, np.nextafter(score, 99), np.nextafter(score, -99)):
        assert (close > c.threshold) == (c.p_value(close) <= c.rate)


@settings(deadline=None)
@given(n=st.integers(1, 400), rate=rates)
def test_expected_rate_keeps_to_the_one_asked_for(n: int, rate: float) -> None:
    c = calibration(range(n), rate)
    assert c.rate <= max(rate + 1e-9, 1 / (n + 1))
    assert c.scores[0] <= c.threshold <= c.scores[-1]
    assert c.seed == c.threshold  # peaks are the scores here


@settings(deadline=None)
@given(scores=scores_with_ties, rates=st.lists(rates, min_size=2, max_size=9))
def test_more_false_alarms_allowed_never_raise_the_threshold(
    scores: list[int], rates: list[float]
) -> None:
    thresholds = [calibration(scores, rate).threshold for rate in sorted(rates)]
    assert thresholds == sorted(thresholds, reverse=True)


def test_the_rate_asked_for_is_used_up() -> None:
    assert calibration(range(299), 0.01).rate == pytest.approx(3 / 300)
    assert calibration(range(152), 0.01).threshold == 151
    assert calibration(range(99), 0.07).rate == pytest.approx(0.07)  # 0.07 * 100 > 7
    assert calibration(range(10), 0.01).rate == pytest.approx(1 / 11)
    assert calibration([7], 0.5).threshold == 7


# ---------------------------------------------------------------- promises


@pytest.mark.parametrize("n", [1, 2, 5, 29, 59, 100, 299, 598, 1234, 5000, 20_000])
def test_upper_rate_is_clopper_and_pearsons(n: int) -> None:
    for spare in {0, 1, 2, n // 100, n // 10, n // 2, n - 1}:
        if spare < n and spare <= 2000:
            expected = stats.beta.ppf(0.95, spare + 1, n - spare)
            assert upper_rate(n, spare) == pytest.approx(expected, rel=1e-7), spare


@pytest.mark.parametrize(
    ("rate", "parts"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)]
)
def test_parts_needed(rate: float, parts: int) -> None:
    assert parts_needed(rate) == parts
    assert upper_rate(parts, 0) <= rate < upper_rate(parts - 1, 0)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 600), rate=st.floats(0.005, 0.3))
def test_asking_for_what_the_note_names_makes_sure(n: int, rate: float) -> None:
    found = re.search(r"at most (\S+) %, ask for (\S+) %\.$", calibration(range(n), rate).note())
    assert (found is None) == (n < parts_needed(rate))
    if found:
        wanted, ask = float(found[1]) / 100, float(found[2]) / 100
        c = calibration(range(n), ask)
        assert c.promised <= rate
        assert c.promised > 0.7 * rate or n < 3 * parts_needed(rate)  # and not by a large margin
        assert wanted == pytest.approx(rate, rel=0.01)


def test_the_promise_holds_in_every_way_to_draw() -> None:
    """Of 12 parts 7 calibrate: how often is the share of the other 5 far above the bound?"""
    broken = total = 0
    for drawn in combinations(range(12), 7):
        c = calibration(drawn, 0.125)
        rest = [part for part in range(12) if part not in drawn]
        broken += sum(part > c.threshold for part in rest) / len(rest) > 0.6
        total += 1
    assert c.promised <= 0.35
    assert broken / total <= 0.05


def test_notes() -> None:
    assert calibration(range(299), 0.01).note() == (
        "Expect 1 % of good parts to be called defective, with 95 % confidence at most 2.09 %,"
        " from 299 held out ones. To be sure of at most 1 %, ask for 0.5 %."
    )
    assert calibration(range(120), 0.01).note() == (
        "Expect 0.826 % of good parts to be called defective, with 95 % confidence at most 2.47 %,"
        " from 120 held out ones. To be sure of at most 1 % takes 299 good parts for calibration."
    )
    assert calibration(range(29), 0.01).note() == (
        "29 held out good parts are too few for 1 % false alarms: expect 3.33 % of good parts to be"
        " called defective, with 95 % confidence at most 9.81 %."
        " Give at least 99 for calibration, 299 to be sure."
    )
    assert "with about 95 % confidence" in calibration(range(60), 0.05, "cross-fitted").note()


# ---------------------------------------------------------------- calibrate


def test_calibrate_sorts_and_reads_maps_one_at_a_time() -> None:
    maps = (first_map(value) for value in (3.0, 1.0, 2.0))
    c = calibrate(maps, lambda map: -float(map.max()), false_alarms=0.1, how="cross-fitted")
    assert c.scores == (-3.0, -2.0, -1.0)
    assert c.peaks == (1.0, 2.0, 3.0)
    assert 1.0 <= c.extent <= 3.0
    assert (c.false_alarms, c.how) == (0.1, "cross-fitted")


@pytest.mark.parametrize("size", [(700, 900), (4000, 50), (50, 4000), (1, 100_000), (7, 3)])
def test_extent_is_the_quantile_of_all_pixels(size: tuple[int, int]) -> None:
    """Pixels are thinned; a brighter side must not be missed or counted twice."""
    rng = np.random.default_rng(0)
    side = np.linspace(0, 1, size[1], dtype=np.float32)
    maps = [side + 0.1 * rng.random(size, np.float32) for _ in range(4)]
    c = calibrate(maps, lambda map: float(map.max()), false_alarms=0.1, how="held out")
    assert c.extent == pytest.approx(np.quantile(np.stack(maps), 0.998), abs=0.02)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 7.0, float("nan")])
def test_rates_outside_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="false_alarms must be between 0 and 1"):
        calibrate([first_map(1)], np.max, false_alarms=rate, how="held out")


@pytest.mark.parametrize("maps", [[], [first_map(1), first_map(np.nan)], [first_map(np.inf)]])
def test_nothing_to_calibrate_on_is_refused(maps: list[Any]) -> None:
    with pytest.raises(DataError, match=f"but got {len(maps)}, "):
        calibrate(maps, lambda map: float(map.max()), false_alarms=0.1, how="held out")


# ---------------------------------------------------------------- part by part


@settings(max_examples=25)
@given(seed=st.integers(0, 999), count=st.integers(1, 8), rate=rates, data=st.data())
def test_parts_may_come_one_by_one_and_in_any_order(
    seed: int, count: int, rate: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(5, 7)).astype(np.float32) for _ in range(count)]

    def middle(map: Any) -> float:
        return float(np.median(map))

    kept = Calibrator(middle, false_alarms=rate, how="cross-fitted")
    for place in data.draw(st.permutations(range(count))):
        kept.add(maps[place])
    expected = calibrate(maps, middle, false_alarms=rate, how="cross-fitted")
    assert kept.result() == kept.result() == expected
    assert expected.scores == tuple(sorted(middle(map) for map in maps))
    assert expected.peaks == tuple(sorted(float(map.max()) for map in maps))


def test_a_calibrator_goes_on_after_a_result() -> None:
    kept = Calibrator(lambda map: float(map.max()), false_alarms=0.1, how="held out")
    kept.add(first_map(1.0))
    assert kept.result().scores == (1.0,)
    kept.add(first_map(0.5))
    assert kept.result().scores == (0.5, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_calibrator_refuses_nothing_and_no_numbers(value: float) -> None:
    kept = Calibrator(lambda map: float(map.max()), false_alarms=0.1, how="held out")
    with pytest.raises(DataError, match="of at least one good part, but got 0"):
        kept.result()
    kept.add(first_map(value))
    with pytest.raises(DataError, match="but got 1, 0 of them finite"):
        kept.result()


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_a_calibrator_refuses_rates_outside_of_0_to_1(rate: float) -> None:
    with pytest.raises(ConfigError, match="false_alarms must be between 0 and 1"):
        Calibrator(lambda map: 0.0, false_alarms=rate, how="held out")


def test_large_maps_are_thinned_for_the_extent_alone() -> None:
    map = np.arange(400 * 300, dtype=np.float32).reshape(300, 400)
    kept = Calibrator(lambda map: float(map.max()), false_alarms=0.1, how="held out")
    kept.add(map)
    found = kept.result()
    assert (found.scores, found.peaks) == ((119999.0,), (119999.0,))
    assert found.extent == pytest.approx(np.quantile(map, 0.998), rel=0.01)
