"""Scored test images → every figure, overall and by defect type, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blemish.errors import ConfigError, DataError
from blemish.metrics.ranking import Floats, Numbers, rank, roc_curve
from blemish.metrics.regions import (
    RankedPixels,
    SplitPixels,
    join_pixels,
    rank_pixels,
    split_pixels,
    thin,
)
from blemish.records import Map, Mask, Sample
from blemish.track import Track, silent

IMAGE_FIGURES = ("image_auroc", "image_ap", "image_f1_max")
PIXEL_FIGURES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_30", "aupro_05")
FIGURES = IMAGE_FIGURES + PIXEL_FIGURES
PRO_LIMIT = 0.3  # how far the PRO curve is kept for drawing
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One test image and what the model says about it.

    score: finite image score. map: (H, W) native map; without one the image counts for the image
    figures only. mask: (H, W) bool, True on the defect; None for a good image, and for a defective
    one whose pixels nobody marked: that one counts for the image figures only.
    """

    sample: Sample
    score: float
    map: Map | None = None
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Every figure of one test set. Figures are in [0, 1], None where they have no meaning.

    figures: the eight of FIGURES. by_type: for each type of defect the same eight, of its images
        against all good ones, with "count" and "detection_rate".
    intervals: for each image figure 95 % of the values that bootstrap resamples of the images
        give, as (low, high).
    counts: images: "good", "defect", and of the defective ones how many are "without_mask" and how
        many have an "empty_mask", one that marks no pixel.
    threshold: scores above it are verdicts "defect". false_alarm_rate: share of good images above
        it. detection_rate: share of defective images above it.
    roc: (fpr, tpr) of the images. pro: (fpr, pro) of the pixels up to a fpr of 0.3. Both thinned
        for drawing.
    """

    figures: dict[str, float | None]
    by_type: dict[str, dict[str, float | int | None]]
    intervals: dict[str, tuple[float, float] | None]
    counts: dict[str, int]
    threshold: float
    false_alarm_rate: float | None
    detection_rate: float | None
    roc: tuple[Floats, Floats] | None
    pro: tuple[Floats, Floats] | None

    def to_json(self) -> dict[str, Any]:
        """Plain Python values, laid out as `blemish evaluate --json` prints them; no NaN."""
        return {
            **self.figures,
            "by_type": {kind: dict(row) for kind, row in self.by_type.items()},
            "counts": dict(self.counts),
            "threshold": self.threshold,
            "false_alarm_rate": self.false_alarm_rate,
            "detection_rate": self.detection_rate,
            "intervals": {name: pair and list(pair) for name, pair in self.intervals.items()},
        }


def evaluate(
    items: Sequence[Scored],
    *,
    threshold: float,
    bootstrap: int = 1000,
    seed: int = 0,
    track: Track = silent,
) -> Evaluation:
    """Measures a test set: the figures of FIGURES, the verdicts at the threshold, intervals.

    threshold: finite; a score above it is a verdict "defect".
    bootstrap: number of resamples, drawn among good and among defective images separately so that
        their numbers stay; 0 gives no intervals. seed: of their random numbers.
    Raises DataError without images, on a score that is not finite, on a good image whose mask marks
    pixels, on NaN in a map; ShapeError on a map that is not of its mask's size; ConfigError on a
    threshold that is not finite or a negative number of resamples.
    """
    _check(items, threshold, bootstrap)
    good = [item for item in items if not item.sample.is_defect]
    defects = [item for item in items if item.sample.is_defect]
    types = {
        name: [item for item in defects if item.sample.defect_type == name]
        for name in sorted({item.sample.defect_type for item in defects})
    }
    good_pixels = _split(good)
    type_pixels = {name: _split(members) for name, members in types.items()}
    ranked = _ranked([good_pixels, *type_pixels.values()])
    return Evaluation(
        figures={**_image_figures(_scores(defects), _scores(good)), **_pixel_figures(ranked)},
        by_type={
            name: {
                **_image_figures(_scores(members), _scores(good)),
                **_pixel_figures(_ranked([good_pixels, type_pixels[name]])),
                "count": len(members),
                "detection_rate": _rate_above(members, threshold),
            }
            for name, members in track(types.items(), "Measuring", len(types))
        },
        intervals=_intervals(_scores(defects), _scores(good), bootstrap, seed),
        counts=_counts(good, defects),
        threshold=float(threshold),
        false_alarm_rate=_rate_above(good, threshold),
        detection_rate=_rate_above(defects, threshold),
        roc=_roc(defects, good),
        pro=ranked.pro_curve(PRO_LIMIT) if ranked else None,
    )


def _check(items: Sequence[Scored], threshold: float, bootstrap: int) -> None:
    if not items:
        raise DataError("a test set must have images, but it is empty. Check the folder.")
    if not math.isfinite(threshold) or bootstrap < 0:
        raise ConfigError(
            "threshold must be a finite score and bootstrap a number of resamples >= 0, but they"
            f" are {threshold} and {bootstrap}."
        )
    for item in items:
        if not math.isfinite(item.score):
            raise DataError(
                f"the score of '{item.sample.image}' must be a finite number, but is {item.score}."
                " Look for a broken image or a diverged model."
            )
        if not item.sample.is_defect and item.mask is not None and item.mask.any():
            raise DataError(
                f"'{item.sample.image}' lies among the good images, so its mask must be empty, but"
                f" it marks {int(item.mask.sum())} pixels. Move the image or drop the mask."
            )


def _counts(good: Sequence[Scored], defects: Sequence[Scored]) -> dict[str, int]:
    return {
        "good": len(good),
        "defect": len(defects),
        "without_mask": sum(item.mask is None for item in defects),
        "empty_mask": sum(item.mask is not None and not item.mask.any() for item in defects),
    }


def _scores(items: Sequence[Scored]) -> Numbers:
    return np.sort(np.array([item.score for item in items], dtype=np.float64))


def _rate_above(items: Sequence[Scored], threshold: float) -> float | None:
    return sum(item.score > threshold for item in items) / len(items) if items else None


def _roc(defects: Sequence[Scored], good: Sequence[Scored]) -> tuple[Floats, Floats] | None:
    if not defects or not good:
        return None
    labels = [True] * len(defects) + [False] * len(good)
    return thin(*roc_curve([item.score for item in [*defects, *good]], labels))


def _image_figures(defects: Numbers, good: Numbers) -> dict[str, float | None]:
    """The image figures of rising scores."""
    if not defects.size or not good.size:
        return dict.fromkeys(IMAGE_FIGURES)
    ranking = rank(defects, good)
    values = (ranking.auroc(), ranking.average_precision(), ranking.f1_max()[0])
    return dict(zip(IMAGE_FIGURES, values, strict=True))


def _split(items: Sequence[Scored]) -> SplitPixels:
    known = [
        (item.map, item.mask)
        for item in items
        if item.map is not None and (item.mask is not None or not item.sample.is_defect)
    ]
    return split_pixels([map for map, _ in known], [mask for _, mask in known])


def _ranked(parts: Sequence[SplitPixels]) -> RankedPixels | None:
    pixels = join_pixels(parts)
    return rank_pixels(pixels) if pixels.defects.size and pixels.good else None


def _pixel_figures(ranked: RankedPixels | None) -> dict[str, float | None]:
    if ranked is None:
        return dict.fromkeys(PIXEL_FIGURES)
    values = (
        ranked.ranking.auroc(),
        ranked.ranking.average_precision(),
        ranked.ranking.f1_max()[0],
        ranked.aupro(0.30),
        ranked.aupro(0.05),
    )
    return dict(zip(PIXEL_FIGURES, values, strict=True))


def _intervals(
    defects: Numbers, good: Numbers, bootstrap: int, seed: int
) -> dict[str, tuple[float, float] | None]:
    """Percentile bootstrap (Efron and Tibshirani 1993, chapter 13), stratified by kind."""
    if not defects.size or not good.size or not bootstrap:
        return dict.fromkeys(IMAGE_FIGURES)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(bootstrap):
        drawn = [np.sort(rng.integers(0, kind.size, kind.size)) for kind in (defects, good)]
        rows.append(list(_image_figures(defects[drawn[0]], good[drawn[1]]).values()))
    bounds = np.percentile(np.array(rows, dtype=np.float64), INTERVAL, axis=0)
    return {
        name: (float(bounds[0, i]), float(bounds[1, i])) for i, name in enumerate(IMAGE_FIGURES)
    }
