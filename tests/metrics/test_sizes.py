"""The benchmark by size: bins, robustness and detection against their definitions done slowly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.isotonic import IsotonicRegression
from test_regions import brute_area, brute_pro

from blemish.errors import ConfigError
from blemish.metrics import Scored, detection, evaluate, robustness, size_bins
from blemish.metrics.defects import Regions
from blemish.metrics.sizes import CUMULATIVE, DISJOINT, LIMITS
from blemish.records import Map, Mask, Sample

Case = tuple[list[Map], list[Mask]]


def case(seed: int, levels: int = 1000) -> Case:
    """Four small images; the first is good, the others have defects of several sizes."""
    rng = np.random.default_rng(seed)
    maps = [rng.integers(0, levels, (14, 17)).astype(np.float32) for _ in range(4)]
    masks = [np.zeros((14, 17), dtype=bool)] + [rng.random((14, 17)) < 0.2 for _ in range(3)]
    return maps, masks


def measured(maps: list[Map], masks: list[Mask]) -> dict[str, dict[str, float]]:
    items = [
        Scored(
            sample=Sample(
                image=Path(f"{i}.png"), split="test", defect_type="x" if mask.any() else "good"
            ),
            score=float(i),
            map=map,
            mask=mask,
        )
        for i, (map, mask) in enumerate(zip(maps, masks, strict=True))
    ]
    sizes = evaluate(items, threshold=0.5, bootstrap=0).sizes
    assert sizes is not None
    return sizes.bins


@settings(max_examples=10)  # brute force is slow
@given(st.integers(0, 10_000), st.sampled_from([3, 1000]))
def test_a_bin_is_aupro_without_the_other_defects(seed: int, levels: int) -> None:
    maps, masks = case(seed, levels)
    bins = measured(maps, masks)
    eight = np.ones((3, 3))
    labelled = [ndimage.label(mask, structure=eight) for mask in masks]
    areas = [np.bincount(found.ravel(), minlength=n + 1)[1:] for found, n in labelled]
    quartiles = np.quantile(np.concatenate(areas), (0, 0.25, 0.5, 0.75, 1))
    ranges = {f"Q{i}": (0, quartiles[i]) for i in (1, 2, 3, 4)}
    ranges |= {f"D{i}": (quartiles[i - 1], quartiles[i]) for i in (2, 3, 4)}
    ranges["D1"] = (0, quartiles[1])
    for name, (low, high) in ranges.items():
        kept, ignored = [], []
        for (found, _), area in zip(labelled, areas, strict=True):
            inside = np.append(False, (area > low) & (area <= high))[found]
            kept.append(inside)
            ignored.append((found > 0) & ~inside)
        # what is ignored is taken out: one row a map, so that no defects touch that did not
        if not any(mask.any() for mask in kept):
            assert bins[name] == {"defects": 0, **dict.fromkeys(LIMITS)}
            continue
        curve = slow_pro(maps, labelled, kept, ignored)
        for figure, limit in LIMITS.items():
            assert bins[name][figure] == pytest.approx(brute_area(*curve, limit))


def slow_pro(maps, labelled, kept, ignored):  # type: ignore[no-untyped-def]
    """brute_pro of maps that hold the good pixels and each kept defect as a separate row."""
    rows, marks = [], []
    for map, (found, n), inside, out in zip(maps, labelled, kept, ignored, strict=True):
        good = ~inside & ~out
        rows.append(map[good][None])
        marks.append(np.zeros((1, int(good.sum())), dtype=bool))
        for label in range(1, n + 1):
            if (inside & (found == label)).any():
                rows.append(map[found == label][None])
                marks.append(np.ones(rows[-1].shape, dtype=bool))
    return brute_pro(rows, marks)


@given(st.integers(0, 10_000))
def test_disjoint_bins_make_up_the_whole(seed: int) -> None:
    bins = measured(*case(seed))
    for figure in LIMITS:
        parts = [(bins[d]["defects"], bins[d][figure] or 0.0) for d in DISJOINT]
        whole = sum(n * value for n, value in parts) / sum(n for n, _ in parts)
        assert bins["Q4"][figure] == pytest.approx(whole)
    assert bins["Q1"] == bins["D1"]
    assert sum(n for n, _ in parts) == bins["Q4"]["defects"]


@given(st.integers(0, 10_000), st.integers(2, 3))
def test_larger_pixels_change_areas_only(seed: int, factor: int) -> None:
    maps, masks = case(seed)
    large = np.ones((factor, factor))
    scaled = measured(
        [np.kron(map, large).astype(np.float32) for map in maps],
        [np.kron(mask, large).astype(bool) for mask in masks],
    )
    for name, row in measured(maps, masks).items():
        assert scaled[name]["defects"] == row["defects"]
        for figure in LIMITS:
            assert scaled[name][figure] == pytest.approx(row[figure])


def test_both_ends_of_a_bin_belong_to_it() -> None:
    sizes = np.array([1, 2, 3, 4, 5])  # quartiles 2, 3, 4
    bins = {name: sizes[chosen].tolist() for name, chosen in size_bins(sizes)}
    assert [bins[name] for name in CUMULATIVE] == [[1, 2], [1, 2, 3], [1, 2, 3, 4], sizes.tolist()]
    assert [bins[name] for name in DISJOINT] == [[1, 2], [3], [4], [5]]


def test_robustness_by_hand() -> None:
    by_bin = {"Q1": 0.8, "Q2": 0.6, "Q3": 0.6, "Q4": 0.4}
    assert robustness(by_bin) == pytest.approx(0.6 * 0.5)
    assert robustness(by_bin, mean="all") == pytest.approx(0.4 * 0.5)
    assert robustness(dict.fromkeys(CUMULATIVE, 0.0)) == 0.0
    with pytest.raises(ConfigError, match="'median'"):
        robustness(by_bin, mean="median")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Q1, Q2, Q3, Q4.*no bins"):
        robustness({})


def regions(size: list[int], peak: list[float], image: list[int] | None = None) -> Regions:
    n = len(size)
    return Regions(
        size=np.array(size),
        peak=np.array(peak, dtype=float),
        image=np.array(image if image is not None else range(n)),
        kind=np.ones(n, dtype=np.int64),
    )


def test_the_level_lets_so_many_good_images_alarm() -> None:
    good = np.arange(300.0)
    found = detection(regions([9], [297.5]), good)
    assert (found.level, found.alarms, found.good) == (296.0, 3, 300)
    few = detection(regions([9], [98.5]), good[:99])
    assert (few.level, few.alarms) == (98.0, 0)  # one of 99 would be more than 1 %
    tied = detection(regions([9], [1.0]), np.ones(500))
    assert (tied.level, tied.alarms) == (1.0, 0)
    assert tied.curve[0].found == 0


def test_smallest_area_by_hand() -> None:
    size, level = list(range(1, 21)), np.zeros(100)
    peak = [-1.0] * 8 + [1.0] * 12
    assert detection(regions(size, peak), level).area_px == 9
    assert detection(regions(size, [-1.0] * 20), level).area_px is None
    assert detection(regions(size, [1.0] * 20), level).area_px == 1
    peak[15] = -1.0  # 11 of 12 from 9 on, but only 4 of 5 from 16 on and 7 of 8 up to it
    assert detection(regions(size, peak), level).area_px == 17
    assert detection(regions(size, peak), level, share=0.8).area_px == 9


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 0.9]))
def test_smallest_area_is_where_isotonic_regression_gets_there(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 40, 60)
    found = rng.random(60) < size / 30
    said = detection(
        regions(size.tolist(), np.where(found, 1.0, -1.0).tolist()),
        np.zeros(5),
        share=share,
    )
    fitted = IsotonicRegression().fit(size, found.astype(float)).predict(np.unique(size))
    enough = np.unique(size)[fitted >= share - 1e-9]
    assert said.area_px == (int(enough[0]) if enough.size else None)
    assert sum(point.count for point in said.curve) == 60
    assert sum(point.found for point in said.curve) == found.sum()
    for point in said.curve:
        assert 0 <= point.low <= point.found / point.count <= point.high <= 1


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Detection rises as 1 - exp(-area / 20): nine in ten at 46 pixels.
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        size = np.exp(rng.uniform(0, np.log(400), 300)).astype(int)
        peak = np.where(rng.random(300) < 1 - np.exp(-size / 20), 1.0, -1.0)
        image = np.arange(300) // 2
        found = detection(
            regions(size.tolist(), peak.tolist(), image.tolist()),
            np.zeros(50),
        )
        low, high = found.interval
        inside += low <= 46 <= (np.inf if high is None else high)
    assert inside >= 90  # 95 expected of 100


def test_intervals_are_narrow_where_it_is_clear_and_open_where_nothing_is_found() -> None:
    sharp = regions(list(range(1, 101)), [-1.0] * 50 + [1.0] * 50)
    low, high = detection(sharp, np.zeros(50)).interval
    assert 45 <= low <= 51 <= (high or 1000) <= 75
    never = detection(regions([5, 6, 7] * 9, [-9.0] * 27), np.zeros(50))
    assert never.interval == (7, None)
    always = detection(regions([5, 6, 7] * 9, [9.0] * 27), np.zeros(50))
    assert always.interval[0] == 5


@pytest.mark.parametrize("wrong", [{"false_alarms": 0.0}, {"share": 1.0}])
def test_shares_outside_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        detection(regions([1], [1.0]), np.zeros(3), **wrong)
