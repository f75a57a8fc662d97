"""From scored images to the figures: each against the plain functions, edge cases, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from blemish.errors import ConfigError, DataError, ShapeError
from blemish.metrics import (
    FIGURES,
    Scored,
    aupro,
    auroc,
    average_precision,
    evaluate,
    f1_max,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
)
from blemish.records import Sample


def scored(kind: str, score: float, *, seed: int = 0, masked: bool = True) -> Scored:
    """An image of (12, 15) pixels; a defective one has a bright square that its mask marks."""
    rng = np.random.default_rng(seed)
    map = rng.normal(size=(12, 15)).astype(np.float32)
    mask = np.zeros(map.shape, dtype=bool)
    if kind != "good":
        row, column = rng.integers(0, 9, 2)
        mask[row : row + 3, column : column + 3] = True
        map[mask] += 1
    sample = Sample(image=Path(f"test/{kind}/{seed}.png"), split="test", defect_type=kind)
    return Scored(sample=sample, score=score, map=map, mask=mask if masked else None)


def mixed_set() -> list[Scored]:
    rng = np.random.default_rng(7)
    shift = {"good": 0.0, "crack": 2.0, "dent": 0.5}
    return [
        scored(kind, float(rng.normal(shift[kind])), seed=seed)
        for kind, count in (("good", 20), ("crack", 8), ("dent", 11))
        for seed in range(count)
    ]


def expected_figures(items: list[Scored]) -> dict[str, float]:
    scores = [item.score for item in items]
    labels = [item.sample.is_defect for item in items]
    maps, masks = [item.map for item in items], [item.mask for item in items]
    return {
        "image_auroc": auroc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "image_f1_max": f1_max(scores, labels)[0],
        "pixel_auroc": pixel_auroc(maps, masks),
        "pixel_ap": pixel_ap(maps, masks),
        "pixel_f1_max": pixel_f1_max(maps, masks)[0],
        "aupro_30": aupro(maps, masks, 0.30),
        "aupro_10": aupro(maps, masks, 0.10),
        "aupro_05": aupro(maps, masks, 0.05),
        "aupro_01": aupro(maps, masks, 0.01),
    }


def test_figures_are_those_of_the_plain_functions() -> None:
    items = mixed_set()
    evaluation = evaluate(items, threshold=1.0)
    assert evaluation.figures == pytest.approx(expected_figures(items))
    for kind, row in evaluation.by_type.items():
        chosen = [item for item in items if item.sample.defect_type in ("good", kind)]
        assert {name: row[name] for name in FIGURES} == pytest.approx(expected_figures(chosen))
    assert {kind: row["count"] for kind, row in evaluation.by_type.items()} == {
        "crack": 8,
        "dent": 11,
    }


def test_rates_follow_the_rule_of_verdicts() -> None:
    items = [scored("good", s) for s in (0, 1, 2, 3)] + [scored("x", s) for s in (2, 5)]
    evaluation = evaluate(items, threshold=2)
    assert evaluation.false_alarm_rate == 0.25  # a score equal to the threshold is good
    assert evaluation.detection_rate == 0.5
    assert evaluation.by_type["x"]["detection_rate"] == 0.5


def test_intervals_hold_the_figure_and_repeat_with_the_seed() -> None:
    items = mixed_set()
    first = evaluate(items, threshold=1.0, bootstrap=300, seed=1)
    for name, interval in first.intervals.items():
        value = first.figures[name]
        assert interval is not None
        assert value is not None
        assert 0 <= interval[0] < value < interval[1] <= 1
    assert evaluate(items, threshold=1.0, bootstrap=300, seed=1).intervals == first.intervals
    assert evaluate(items, threshold=1.0, bootstrap=300, seed=2).intervals != first.intervals
    assert set(evaluate(items, threshold=1.0, bootstrap=0).intervals.values()) == {None}


def test_intervals_are_as_wide_as_theory_says() -> None:
    """Hanley and McNeil's standard error of an AUROC, for two normal distributions."""
    rng = np.random.default_rng(5)
    items = [scored("good", float(s)) for s in rng.normal(0, 1, 120)]
    items += [scored("x", float(s)) for s in rng.normal(1, 1, 80)]
    evaluation = evaluate(items, threshold=0)
    area = evaluation.figures["image_auroc"]
    interval = evaluation.intervals["image_auroc"]
    assert area is not None
    assert interval is not None
    both, twice = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 79 * (both - area**2) + 119 * (twice - area**2)
    expected = 2 * 1.96 * np.sqrt(variance / (120 * 80))
    assert interval[1] - interval[0] == pytest.approx(expected, rel=0.2)


def test_defects_without_a_mask_count_for_images_only() -> None:
    items = mixed_set()
    unmarked = scored("crack", 9.0, seed=99, masked=False)
    evaluation = evaluate([*items, unmarked], threshold=1.0)
    expected = expected_figures(items)
    for name in FIGURES[3:]:
        assert evaluation.figures[name] == pytest.approx(expected[name])
    image_scores = [item.score for item in items] + [9.0]
    labels = [item.sample.is_defect for item in items] + [True]
    assert evaluation.figures["image_auroc"] == pytest.approx(auroc(image_scores, labels))
    assert evaluation.counts == {"good": 20, "defect": 20, "without_mask": 1, "empty_mask": 0}


def test_empty_masks_are_counted_and_their_pixels_are_good() -> None:
    items = mixed_set()
    clean = scored("good", 0.0, seed=50)
    sample = Sample(image=Path("test/dent/50.png"), split="test", defect_type="dent")
    empty = Scored(sample=sample, score=3.0, map=clean.map, mask=clean.mask)
    evaluation = evaluate([*items, empty], threshold=1.0)
    assert evaluation.counts["empty_mask"] == 1
    expected = expected_figures([*items, clean])
    assert evaluation.figures["aupro_30"] == pytest.approx(expected["aupro_30"])


def test_good_images_need_no_mask() -> None:
    items = mixed_set()
    bare = [
        Scored(sample=item.sample, score=item.score, map=item.map)
        if not item.sample.is_defect
        else item
        for item in items
    ]
    assert evaluate(bare, threshold=1.0).figures == evaluate(items, threshold=1.0).figures


def test_what_has_no_meaning_is_none() -> None:
    good = [scored("good", 0.0), scored("good", 1.0)]
    bad = [scored("x", 2.0), scored("y", 3.0)]
    only_good = evaluate(good, threshold=0.5)
    assert set(only_good.figures.values()) == {None}
    assert (only_good.false_alarm_rate, only_good.detection_rate) == (0.5, None)
    assert only_good.by_type == {}
    assert only_good.roc is None
    assert only_good.pro is None

    only_bad = evaluate(bad, threshold=0.5)
    assert only_bad.figures["image_auroc"] is None
    assert only_bad.intervals["image_auroc"] is None
    assert only_bad.false_alarm_rate is None
    assert only_bad.figures["aupro_30"] is not None  # their masks leave good pixels, too

    unmarked = [Scored(sample=item.sample, score=item.score) for item in good + bad]
    no_pixels = evaluate(unmarked, threshold=0.5)
    assert no_pixels.figures["image_auroc"] == 1.0
    assert {no_pixels.figures[name] for name in FIGURES[3:]} == {None}
    assert no_pixels.by_type["x"]["pixel_ap"] is None


@pytest.mark.parametrize("kinds", [("good",), ("x",), ("good", "x")])
def test_json_is_plain_and_complete(kinds: tuple[str, ...]) -> None:
    items = [scored(kind, float(k), seed=k) for kind in kinds for k in range(3)]
    evaluation = evaluate(items, threshold=np.float64(0.5), bootstrap=20)
    told = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert told == evaluation.to_json()
    assert set(told) == {
        *FIGURES,
        "by_type",
        "counts",
        "threshold",
        "false_alarm_rate",
        "detection_rate",
        "intervals",
        "mode",
        "error_bound",
        "n_thresholds",
        "seg_f1",
        "pixel_threshold",
        "sizes",
    }
    for row in told["by_type"].values():
        assert set(row) == {*FIGURES, "count", "detection_rate"}
    assert set(told["intervals"]) == {"image_auroc", "image_ap", "image_f1_max"}


def test_bad_input_is_refused() -> None:
    good, bad = scored("good", 0.0), scored("x", 1.0)
    with pytest.raises(DataError, match="empty"):
        evaluate([], threshold=0.5)
    with pytest.raises(ConfigError, match="nan and 1000"):
        evaluate([good, bad], threshold=float("nan"))
    with pytest.raises(ConfigError, match="-1"):
        evaluate([good, bad], threshold=0.5, bootstrap=-1)
    with pytest.raises(DataError, match=r"0\.png.*finite.*inf"):
        evaluate([scored("good", float("inf")), bad], threshold=0.5)
    marked = Scored(sample=good.sample, score=0.0, map=good.map, mask=bad.mask)
    with pytest.raises(DataError, match=r"0\.png.*marks 9 pixels"):
        evaluate([marked, bad], threshold=0.5)
    small = Scored(sample=bad.sample, score=1.0, map=np.zeros((6, 7), np.float32), mask=bad.mask)
    with pytest.raises(ShapeError, match=r"\(12, 15\).*\(6, 7\)"):
        evaluate([good, small], threshold=0.5)


def test_seg_f1_is_the_f1_of_all_pixels_at_the_given_level() -> None:
    items = mixed_set()
    scores = np.concatenate([item.map.ravel() for item in items if item.map is not None])
    labels = np.concatenate([item.mask.ravel() for item in items if item.mask is not None])
    told = evaluate(items, threshold=1.0, bootstrap=0, pixel_threshold=0.8).to_json()
    assert told["seg_f1"] == pytest.approx(reference.f1_score(labels, scores > 0.8))
    assert told["pixel_threshold"] == 0.8
    assert evaluate(items, threshold=1.0, bootstrap=0).seg_f1 is None
    good = [item for item in items if not item.sample.is_defect]
    assert evaluate(good, threshold=1.0, bootstrap=0, pixel_threshold=0.8).seg_f1 is None


def test_coarse_figures_say_so() -> None:
    items = mixed_set()
    maps, masks = [item.map for item in items], [item.mask for item in items]
    coarse = evaluate(items, threshold=1.0, bootstrap=0, n_thresholds=99)
    assert coarse.to_json()["n_thresholds"] == 99
    assert coarse.figures["aupro_01"] == pytest.approx(aupro(maps, masks, 0.01, 99))
    assert coarse.figures["aupro_01"] != evaluate(items, threshold=1.0).figures["aupro_01"]
    with pytest.raises(ConfigError, match="at least 2"):
        evaluate(items, threshold=1.0, n_thresholds=1)
