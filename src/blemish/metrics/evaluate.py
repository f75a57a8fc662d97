"""Scored test images, one by one → every figure, overall, by type and by size of defect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from blemish.errors import ConfigError, DataError
from blemish.metrics.evaluation import (
    IMAGE_FIGURES,
    PIXEL_FIGURES,
    Evaluation,
    Scored,
    Sizes,
)
from blemish.metrics.pool import Budget
from blemish.metrics.ranking import Floats, Numbers, rank, roc_curve
from blemish.metrics.regions import GOOD, AllPixels, drawn_curve, overlap, thin
from blemish.metrics.sizes import (
    CUMULATIVE,
    LIMITS,
    detection,
    edges,
    robustness,
    size_bins,
)
from blemish.records import Map, Mask, Sample
from blemish.track import Track, silent

PRO_LIMIT = 0.3  # how far the PRO curve is kept for drawing
INTERVAL = (2.5, 97.5)  # percentiles

# Figures of a type of defect, None for all of them, and of a bin of sizes, None for all of them.
Rows = dict[tuple[str | None, str | None], dict[str, float]]


class Evaluator:
    """Takes scored images one by one and keeps what the figures need, not the maps.

    Exact as long as the test set has few pixels, see pool.Budget; beyond that memory stays bounded
    and the result tells how far its figures may be from the exact ones.
    """

    def __init__(
        self, *, pixel_threshold: float | None = None, budget: Budget | None = None
    ) -> None:
        """pixel_threshold: map values above it are called defect for seg_f1. budget: of memory;
        pool.EVERYTHING is exact whatever it costs."""
        self.pixel_threshold = pixel_threshold
        self._pixels = AllPixels(budget or Budget())
        self._images: list[Scored] = []
        self._counts = dict.fromkeys(("good", "defect", "without_mask", "empty_mask"), 0)
        self._good_peaks: list[float] = []
        self._right = self._called = self._marked = 0

    def add(
        self,
        sample: Sample,
        score: float,
        map: Map | None = None,
        mask: Mask | None = None,
        seen: Mask | None = None,
    ) -> None:
        """Takes one image; the arguments are those of Scored. No reference to map or mask is kept.

        seen: (H, W) bool, which pixels count; None: all.

        Raises DataError on a score that is not finite, on a good image whose mask marks pixels, on
        NaN in the map, on a mask that is not boolean; ShapeError on a map not of its mask's size.
        """
        if mask is not None and seen is not None:
            mask = mask & seen
        marked = mask is not None and bool(mask.any())
        _check(sample, score, mask if marked else None)
        self._counts["defect" if sample.is_defect else "good"] += 1
        self._counts["without_mask"] += sample.is_defect and mask is None
        self._counts["empty_mask"] += sample.is_defect and mask is not None and not marked
        self._images.append(Scored(sample=sample, score=float(score)))
        if map is None or (sample.is_defect and mask is None):
            return
        self._pixels.add(map, mask, sample.defect_type, len(self._images), seen)
        if not sample.is_defect:
            self._good_peaks.append(float((map if seen is None else map[seen]).max()))
        if self.pixel_threshold is not None:
            called = map > self.pixel_threshold
            called = called if seen is None else called & seen
            self._called += int(np.count_nonzero(called))
            if mask is not None and marked:
                self._right += int(np.count_nonzero(called & mask))
                self._marked += int(np.count_nonzero(mask))

    def result(
        self,
        threshold: float,
        *,
        bootstrap: int = 1000,
        seed: int = 0,
        n_thresholds: int | None = None,
    ) -> Evaluation:
        """All figures; arguments and errors as evaluate. More images may be added afterwards."""
        _check_result(self._images, threshold, bootstrap)
        good = [item for item in self._images if not item.sample.is_defect]
        defects = [item for item in self._images if item.sample.is_defect]
        types = sorted({item.sample.defect_type for item in defects})
        rows, bound, pro = self._pixel_figures(n_thresholds)
        by_type: dict[str, dict[str, float | int | None]] = {}
        for kind in types:
            members = [item for item in defects if item.sample.defect_type == kind]
            by_type[kind] = {
                **_image_figures(_scores(members), _scores(good)),
                **(rows.get((kind, None)) or dict.fromkeys(PIXEL_FIGURES)),
                "count": len(members),
                "detection_rate": _rate_above(members, threshold),
            }
        return Evaluation(
            figures={
                **_image_figures(_scores(defects), _scores(good)),
                **(rows.get((None, None)) or dict.fromkeys(PIXEL_FIGURES)),
            },
            by_type=by_type,
            intervals=_intervals(_scores(defects), _scores(good), bootstrap, seed),
            counts=dict(self._counts),
            threshold=float(threshold),
            false_alarm_rate=_rate_above(good, threshold),
            detection_rate=_rate_above(defects, threshold),
            mode="exact" if self._pixels.exact else "bounded",
            error_bound=bound,
            n_thresholds=n_thresholds,
            seg_f1=self._seg_f1(),
            pixel_threshold=self.pixel_threshold,
            sizes=self._sizes(rows),
            roc=_roc(defects, good),
            pro=pro,
        )

    def _pixel_figures(
        self, n_thresholds: int | None
    ) -> tuple[Rows, float, tuple[Floats, Floats] | None]:
        """(figures, how far they may be from the exact ones, PRO curve)."""
        pixels = self._pixels
        pixels.sort()
        if not pixels.has_both(pixels.kinds):
            return {}, 0.0, None
        with ThreadPoolExecutor(1) as beside:
            # Both cases at once take twice the memory: only where defect pixels are few.
            few = pixels.defects.exact and not pixels.exact
            other = beside.submit(_side, pixels, False, n_thresholds) if few else None
            best = _side(pixels, True, n_thresholds)
            pro = drawn_curve(pixels, pixels.kinds, PRO_LIMIT)
            if pixels.exact:
                return best, 0.0, pro
            worst = other.result() if other else _side(pixels, False, n_thresholds)
        rows: Rows = {}
        bound = 0.0
        for group, row in best.items():
            low = worst[group]
            rows[group] = {name: (value + low[name]) / 2 for name, value in row.items()}
            bound = max(bound, *(abs(value - low[name]) / 2 for name, value in row.items()))
        return rows, bound, pro

    def _seg_f1(self) -> float | None:
        if self.pixel_threshold is None or not self._marked:
            return None
        return 2 * self._right / (self._called + self._marked)

    def _sizes(self, rows: Rows) -> Sizes | None:
        regions = self._pixels.defects.regions()
        if (None, None) not in rows:
            return None
        bins: dict[str, dict[str, float | int | None]] = {}
        for name, chosen in size_bins(regions.size):
            figures = rows.get((None, name)) or dict.fromkeys(LIMITS)
            bins[name] = {"defects": int(chosen.sum()), **figures}
        low, middle, high = edges(regions.size).tolist()
        peaks = np.array(self._good_peaks)
        return Sizes(
            edges=(low, middle, high),
            bins=bins,
            robustness=robustness({name: rows[None, name]["aupro_30"] for name in CUMULATIVE}),
            detection=detection(regions, peaks) if peaks.size else None,
        )


def evaluate(
    items: Sequence[Scored],
    *,
    threshold: float,
    bootstrap: int = 1000,
    seed: int = 0,
    n_thresholds: int | None = None,
    pixel_threshold: float | None = None,
    budget: Budget | None = None,
    track: Track = silent,
) -> Evaluation:
    """Measures a test set: figures, verdicts at the threshold, intervals, the benchmark by size.

    threshold: finite; a score above it is a verdict "defect".
    bootstrap: number of resamples, drawn among good and among defective images separately so that
        their numbers stay; 0 gives no intervals. seed: of their random numbers.
    n_thresholds: as of regions.aupro. pixel_threshold, budget: as of Evaluator.
    Raises DataError without images, on a score that is not finite, on a good image whose mask marks
    pixels, on NaN in a map; ShapeError on a map that is not of its mask's size; ConfigError on a
    threshold that is not finite, a negative number of resamples or less than 2 thresholds.
    """
    evaluator = Evaluator(pixel_threshold=pixel_threshold, budget=budget)
    for item in track(items, "Measuring", len(items)):
        evaluator.add(item.sample, item.score, item.map, item.mask)
    return evaluator.result(threshold, bootstrap=bootstrap, seed=seed, n_thresholds=n_thresholds)


def _check(sample: Sample, score: float, marked: Mask | None) -> None:
    if not math.isfinite(score):
        raise DataError(
            f"the score of '{sample.image}' must be a finite number, but is {score}."
            " Look for a broken image or a diverged model."
        )
    if not sample.is_defect and marked is not None:
        raise DataError(
            f"'{sample.image}' lies among the good images, so its mask must be empty, but"
            f" it marks {int(marked.sum())} pixels. Move the image or drop the mask."
        )


def _check_result(images: Sequence[Scored], threshold: float, bootstrap: int) -> None:
    if not images:
        raise DataError("a test set must have images, but it is empty. Check the folder.")
    if not math.isfinite(threshold) or bootstrap < 0:
        raise ConfigError(
            "threshold must be a finite score and bootstrap a number of resamples >= 0, but they"
            f" are {threshold} and {bootstrap}."
        )


def _side(pixels: AllPixels, optimistic: bool, n_thresholds: int | None) -> Rows:
    """Every pixel figure in the best or in the worst case."""
    rows: Rows = {}
    regions = pixels.defects.regions()
    types = pixels.kinds[1:]
    for name in (None, *types):
        kinds = pixels.kinds if name is None else [GOOD, name]
        if not pixels.has_both(kinds):
            continue
        if len(types) == 1 and name is not None:  # all there is
            rows[name, None] = rows[None, None]
            continue
        ranking = pixels.ranking(kinds, optimistic)
        areas = overlap(
            pixels, kinds, [*LIMITS.values()], optimistic=optimistic, n_thresholds=n_thresholds
        )
        own = np.isin(regions.kind, [pixels.kinds.index(kind) for kind in kinds])
        values = (ranking.auroc(), ranking.average_precision(), ranking.f1_max()[0])
        rows[name, None] = dict(zip(PIXEL_FIGURES, values, strict=False)) | _mean(areas[own])
        for size, chosen in size_bins(regions.size) if name is None else ():
            if chosen.any():
                rows[None, size] = _mean(areas[chosen])
    return rows


def _mean(areas: Floats) -> dict[str, float]:
    """AUPRO of a group of defects, from (R, L) areas of each."""
    return dict(zip(LIMITS, areas.mean(axis=0).tolist(), strict=True))


def _scores(items: Iterable[Scored]) -> Numbers:
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
