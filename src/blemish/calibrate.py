"""Scores of good parts that the model never saw → p-values and thresholds with a guarantee.

Conformal prediction: if a new good part is exchangeable with the n calibration parts, its
p-value (1 + #{calibration >= score}) / (n + 1) is at most a with probability at most a
(Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World", proposition 2.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from blemish.errors import ConfigError, DataError
from blemish.records import Map

CONFIDENCE = 0.95  # of the promised false-alarm rate
EXTENT_RATE = 0.002  # share of good pixels that lie above the outline level
THINNED = 20_000  # pixels kept of a map: enough for a quantile over many maps


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What held-out good parts look like to the model.

    scores: image scores of n calibration parts, ascending.
    peaks: highest map values of the same parts, ascending.
    extent: level above which pixels around a peak belong to its region.
    false_alarms: rate asked for, in (0, 1).
    how: "held out", or "cross-fitted" when parts were too few to spare some: then each score
        comes from a model fitted without that part, and the promise is approximate.
    """

    scores: tuple[float, ...]
    peaks: tuple[float, ...]
    extent: float
    false_alarms: float
    how: Literal["held out", "cross-fitted"]

    @property
    def rate(self) -> float:
        """False-alarm rate the threshold stands for: the one asked for, or, where n is too small
        to reach it, the smallest that n parts can express, 1 / (n + 1)."""
        return max(self.false_alarms, 1 / (len(self.scores) + 1))

    @property
    def threshold(self) -> float:
        """An image whose score is above it is a defect."""
        return _level(self.scores, self.rate)

    @property
    def seed(self) -> float:
        """A pixel above it starts a region."""
        return _level(self.peaks, self.rate)

    @property
    def promised(self) -> float:
        """With 95 % confidence over the choice of calibration parts, at most this share of good
        parts is called defective."""
        return upper_rate(len(self.scores), _spare(len(self.scores), self.rate))

    def p_value(self, score: float) -> float:
        """In [1 / (n + 1), 1]; small is suspicious."""
        below = int(np.searchsorted(self.scores, score, side="left"))
        return (1 + len(self.scores) - below) / (len(self.scores) + 1)

    def note(self) -> str:
        """One sentence on what the threshold promises."""
        n, asked = len(self.scores), self.false_alarms
        needed = parts_needed(asked)
        if self.promised <= asked:
            promise = f"At most {asked:.3g} of good parts will be called defective"
            return f"{promise}, with 95 % confidence, from {n} {self.how} good parts."
        start = f"{n} {self.how} good parts are too few to promise {asked:.3g} false alarms"
        return (
            f"{start}: expect {self.rate:.3g}, with 95 % confidence at most {self.promised:.3g}."
            f" Give at least {needed} good parts for calibration to promise it."
        )


def calibrate(
    maps: Iterable[Map],
    score_of: Callable[[Map], float],
    *,
    false_alarms: float,
    how: Literal["held out", "cross-fitted"],
) -> Calibration:
    """Calibration from the native maps of good parts the model never saw, read one at a time.

    score_of: map → image score. false_alarms: in (0, 1), share of good parts that may be called
    defective. Raises ConfigError on a rate outside, DataError on no maps or non-finite scores.
    """
    if not 0 < false_alarms < 1:
        raise ConfigError(
            f"false_alarms must be between 0 and 1 (0.01 is 1 %), but is {false_alarms}."
        )
    scores, peaks, pixels = [], [], []
    for map in maps:
        scores.append(score_of(map))
        peaks.append(float(map.max()))
        pixels.append(map.ravel()[:: max(1, map.size // THINNED)])
    if not scores or not np.isfinite(scores).all():
        raise DataError(
            f"calibration needs finite scores of at least one good part, but got {scores}."
            " Look for good images of very unusual size or exposure."
        )
    return Calibration(
        scores=tuple(sorted(scores)),
        peaks=tuple(sorted(peaks)),
        extent=float(np.quantile(np.concatenate(pixels), 1 - EXTENT_RATE)),
        false_alarms=false_alarms,
        how=how,
    )


def upper_rate(n: int, spare: int) -> float:
    """Upper 95 % bound of the false-alarm rate beyond the (spare + 1)-th highest of n scores.

    The rate is Beta(spare + 1, n - spare) distributed; its quantile by bisection on the binomial
    tail (Clopper and Pearson 1934). Needs 0 <= spare < n.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most_spare = sum(math.exp(_log_binomial(n, k, middle)) for k in range(spare + 1))
        low, high = (middle, high) if at_most_spare > 1 - CONFIDENCE else (low, middle)
    return high


def _log_binomial(n: int, k: int, rate: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(rate) + (n - k) * math.log1p(-rate)


def parts_needed(rate: float) -> int:
    """Fewest calibration parts that can promise a rate with 95 % confidence (299 for 1 %)."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-rate))


def _spare(n: int, rate: float) -> int:
    """How many of n calibration parts may lie above the threshold."""
    return min(n, math.floor(rate * (n + 1) + 1e-9)) - 1


def _level(ascending: Sequence[float], rate: float) -> float:
    return ascending[len(ascending) - 1 - _spare(len(ascending), rate)]
