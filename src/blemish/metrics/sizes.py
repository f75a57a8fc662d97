"""How the size of a defect decides whether it is found: AUPRO by size, robustness, detection.

Sizes are areas in native pixels of 8-connected defects. The bins are those of Costanzino et al.,
"Learning to Be a Transformer to Pinpoint Anomalies", IEEE Access 2025, as its released code cuts
them. docs/metrics.md tells what is the paper's and what is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.metrics.defects import Regions
from blemish.metrics.ranking import Counts, Floats, starts

Chosen = npt.NDArray[np.bool_]

LIMITS = {"aupro_30": 0.30, "aupro_10": 0.10, "aupro_05": 0.05, "aupro_01": 0.01}
QUARTERS = (0.25, 0.5, 0.75)
CUMULATIVE = ("Q1", "Q2", "Q3", "Q4")
DISJOINT = ("D1", "D2", "D3", "D4")
POINTS, LEAST = 10, 5  # of the curve: at most so many, each of at least so many defects
FALSE_ALARMS, SHARE = 0.01, 0.9
Z = 1.959964  # 97.5 % of a normal distribution
RATIO = 2.26916  # 95 % of Banerjee and Wellner's limit of the likelihood ratio
PLACES = 200  # that are tried, of the distinct areas


def edges(sizes: Counts) -> Floats:
    """(3,) quartiles of (R,) sizes in native pixels, interpolated straight, R at least 1.

    >>> edges(np.array([1, 2, 3, 4, 100]))
    array([2., 3., 4.])
    """
    return np.asarray(np.quantile(sizes, QUARTERS, method="linear"), np.float64)


def size_bins(sizes: Counts) -> Iterator[tuple[str, Chosen]]:
    """(R,) True for the defects in each bin, R at least 1, by name.

    Q1, Q2, Q3: sizes up to the quartiles, inclusive; Q4: all: cumulative, as released. D1 … D4: the
    same quarters without the smaller ones. With equal sizes a quarter may be empty.
    """
    rank = np.searchsorted(edges(sizes), sizes, side="left")  # 0: up to the first quartile
    for i, name in enumerate(CUMULATIVE):
        yield name, rank <= i
    for i, name in enumerate(DISJOINT):
        yield name, rank == i


def robustness(by_bin: Mapping[str, float], mean: Literal["bins", "all"] = "bins") -> float:
    """rho, RECONSTRUCTED: mean AUPRO times the lesser over the greater of Q1's and Q4's, in [0, 1].

    by_bin: AUPRO at one limit of the cumulative bins Q1 … Q4. mean: "bins" takes the mean of the
    four, "all" takes Q4. The paper's formula is known only from a reviewer's question, which leaves
    both the mean and the limit open; the released code does not have it. 0 where Q1 and Q4 are.
    Raises ConfigError on another mean or if a bin is missing.

    >>> robustness({"Q1": 0.4, "Q2": 0.6, "Q3": 0.7, "Q4": 0.8})
    0.3125
    """
    if mean not in ("bins", "all") or not set(CUMULATIVE) <= set(by_bin):
        raise ConfigError(
            "robustness needs mean 'bins' or 'all' and the bins Q1, Q2, Q3, Q4, but got"
            f" {mean!r} and {', '.join(by_bin) or 'no bins'}. Pass the four cumulative bins."
        )
    small, whole = by_bin["Q1"], by_bin["Q4"]
    average = sum(by_bin[name] for name in CUMULATIVE) / 4 if mean == "bins" else whole
    return average * min(small, whole) / max(small, whole) if max(small, whole) > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Some defects of similar area. smallest, largest: native pixels. low, high: Wilson's 95 %
    interval of the share found."""

    smallest: int
    largest: int
    count: int
    found: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Which defects are found at a stated rate of false alarms.

    A defect is found if the map's peak within it is above `level`; that is the lowest level that
    the map's peak exceeds in at most the share false_alarms of good images: in `alarms` of `good`.
    area_px: the smallest area from which on the share of defects found is at least `share`,
    where that share is taken to grow with the area (isotonic regression); None if it is never
    reached. interval: the areas that a likelihood-ratio test at 95 % does not rule out, for this
    level and defects independent of each other; None stands for an area beyond the largest.
    """

    false_alarms: float
    level: float
    alarms: int
    good: int
    share: float
    area_px: int | None
    interval: tuple[int, int | None]
    curve: tuple[CurvePoint, ...]


def detection(
    regions: Regions,
    good_peaks: Floats,
    *,
    false_alarms: float = FALSE_ALARMS,
    share: float = SHARE,
) -> Detection:
    """The curve of detection against area, and the smallest area found `share` of the time.

    regions: at least one. good_peaks: (N,) greatest score in each good image's map, N at least 1.
    Raises ConfigError unless both shares are in (0, 1).
    """
    if not 0 < false_alarms < 1 or not 0 < share < 1:
        raise ConfigError(
            "false_alarms and share must be between 0 and 1, but are"
            f" {false_alarms} and {share}. 0.01 and 0.9 are usual."
        )
    level = _level(good_peaks, false_alarms)
    order = np.argsort(regions.size, kind="stable")
    area, found = regions.size[order], (regions.peak > level)[order]
    begins = starts(area)
    areas, hits = area[begins], np.add.reduceat(found.astype(np.float64), begins)
    trials = np.diff(begins, append=area.size).astype(np.float64)
    # Isotonic regression reaches the share right after the first lowest point of these sums.
    sums = np.append(0.0, np.cumsum(hits - share * trials))
    lowest = int((sums - sums.min() <= 1e-9 * area.size).argmax())
    return Detection(
        false_alarms=false_alarms,
        level=level,
        alarms=int((good_peaks > level).sum()),
        good=good_peaks.size,
        share=share,
        area_px=int(areas[lowest]) if lowest < areas.size else None,
        interval=_interval(areas, hits, trials, share),
        curve=tuple(_curve(area, found)),
    )


def _level(good_peaks: Floats, false_alarms: float) -> float:
    allowed = int(false_alarms * good_peaks.size + 1e-9)
    return float(np.sort(good_peaks)[good_peaks.size - 1 - allowed])


def _interval(areas: Counts, hits: Floats, trials: Floats, share: float) -> tuple[int, int | None]:
    """Banerjee and Wellner, "Likelihood ratio tests for monotone functions", Ann. Stat. 2001.

    For each place where detection may reach the share: how much less likely is the data than under
    isotonic regression, if it is at most the share before and at least the share after?
    """
    free = _likelihood(_isotonic(hits, trials), hits, trials)
    places = np.unique(np.linspace(0, areas.size, min(areas.size, PLACES) + 1).astype(int))
    kept = []
    for k in places.tolist():
        before = np.minimum(_isotonic(hits[:k], trials[:k]), share)
        after = np.maximum(_isotonic(hits[k:], trials[k:]), share)
        held = _likelihood(np.concatenate([before, after]), hits, trials)
        if 2 * (free - held) <= RATIO:
            kept.append(k)
    # The share is reached after the area before the place, and no later than the one after it.
    low, high = max(kept[0] - 1, 0), kept[-1]
    return int(areas[low]), int(areas[high]) if high < areas.size else None


def _likelihood(chance: Floats, hits: Floats, trials: Floats) -> float:
    safe = np.clip(chance, 1e-300, 1 - 1e-16)  # 0 x log 0 is 0
    return float(hits @ np.log(safe) + (trials - hits) @ np.log1p(-safe))


def _isotonic(hits: Floats, trials: Floats) -> Floats:
    """The rising shares that fit best: neighbours that would fall are pooled."""
    pools: list[tuple[float, float, int]] = []
    for hit, trial in zip(hits.tolist(), trials.tolist(), strict=True):
        pool = (hit, trial, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    return np.repeat([hit / trial for hit, trial, _ in pools], [n for _, _, n in pools])


def _curve(area: Counts, found: Chosen) -> Iterator[CurvePoint]:
    groups = max(1, min(POINTS, area.size // LEAST))
    for part in np.array_split(np.arange(area.size), groups):
        hits = int(found[part].sum())
        low, high = wilson(hits, part.size)
        yield CurvePoint(
            smallest=int(area[part[0]]),
            largest=int(area[part[-1]]),
            count=part.size,
            found=hits,
            low=low,
            high=high,
        )


def wilson(found: int, count: int) -> tuple[float, float]:
    """95 % interval of a share of which `found` of `count` were seen, count at least 1.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    >>> low, high = wilson(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    middle = (found + Z**2 / 2) / (count + Z**2)
    half = Z / (count + Z**2) * math.sqrt(found * (count - found) / count + Z**2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
