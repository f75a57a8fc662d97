"""Scores of good parts that the model never saw → p-values and thresholds with a guarantee.

Conformal prediction: if a new good part is exchangeable with the n calibration parts, its
p-value (1 + #{calibration >= score}) / (n + 1) is at most a with probability at most a
(Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World", proposition 2.4). An
image is called defective if its p-value is at most the rate of false alarms asked for. That rate
holds on average over calibration sets; what holds for the one at hand with 95 % confidence is
said beside it (Vovk 2012, "Conditional validity of inductive conformal predictors",
proposition 2a).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from blemish.errors import ConfigError, DataError
from blemish.records import Map, Seen

CONFIDENCE = 0.95  # of the promised false-alarm rate
EXTENT_RATE = 0.002  # share of good pixels that lie above the outline level
EPSILON = 1e-9  # 0.07 * 100 is not 7
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
        """Share of good parts expected above the threshold, on average over calibration sets;
        a score is above it exactly if its p-value is at most this."""
        return (self._spare + 1) / (len(self.scores) + 1)

    @property
    def threshold(self) -> float:
        """An image whose score is above it is a defect."""
        return self.scores[-1 - self._spare]

    @property
    def seed(self) -> float:
        """A pixel above it starts a region."""
        return self.peaks[-1 - self._spare]

    @property
    def promised(self) -> float:
        """With 95 % confidence over the choice of calibration parts, at most this share of good
        parts is called defective."""
        return upper_rate(len(self.scores), self._spare)

    @property
    def _spare(self) -> int:
        """How many calibration parts lie above the threshold."""
        return max(0, math.floor(self.false_alarms * (len(self.scores) + 1) + EPSILON) - 1)

    def p_value(self, score: float) -> float:
        """In [1 / (n + 1), 1]; small is suspicious."""
        below = bisect_left(self.scores, score)
        return (1 + len(self.scores) - below) / (len(self.scores) + 1)

    def note(self) -> str:
        """What the threshold promises, in a sentence or two."""
        n, asked = len(self.scores), self.false_alarms
        # Cross-fitted scores come from several models, so their confidence is not exact.
        about = "" if self.how == "held out" else "about "
        expect = (
            f"xpect {_percent(self.rate)} of good parts to be called defective,"
            f" with {about}95 % confidence at most {_percent(self.promised)}"
        )
        sure = f"To be sure of at most {_percent(asked)}"
        if self.rate > asked + EPSILON:
            return (
                f"{n} {self.how} good parts are too few for {_percent(asked)} false alarms:"
                f" e{expect}. Give at least {math.ceil(1 / asked - EPSILON) - 1} for calibration,"
                f" {parts_needed(asked)} to be sure."
            )
        if n < parts_needed(asked):
            needs = f"{sure} takes {parts_needed(asked)} good parts for calibration."
            return f"E{expect}, from {n} {self.how} ones. {needs}"
        spare = max(k for k in range(self._spare + 1) if upper_rate(n, k) <= asked)
        ask = _percent(_floor((spare + 1.5) / (n + 1)))
        return f"E{expect}, from {n} {self.how} ones. {sure}, ask for {ask}."


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
    kept = Calibrator(score_of, false_alarms=false_alarms, how=how)
    for map in maps:
        kept.add(map)
    return kept.result()


class Calibrator:
    """Calibration part by part; arguments and errors as of calibrate."""

    def __init__(
        self,
        score_of: Callable[[Map], float],
        *,
        false_alarms: float,
        how: Literal["held out", "cross-fitted"],
        seen: Seen = lambda size: None,
    ) -> None:
        """seen: (H, W) of a map → which of its pixels are inspected, None: all."""
        if not 0 < false_alarms < 1:
            raise ConfigError(
                f"false_alarms must be between 0 and 1 (0.01 is 1 %), but is {false_alarms}."
            )
        self.score_of, self.false_alarms, self.how = score_of, false_alarms, how
        self.seen = seen
        self._scores: list[float] = []
        self._peaks: list[float] = []
        self._pixels: list[Map] = []

    def add(self, map: Map) -> None:
        """Takes in the native map of one good part."""
        self._scores.append(self.score_of(map))
        self._peaks.append(float(map.max()))
        seen = self.seen(map.shape)
        pixels = map if seen is None else map[seen][None]
        step = max(1, math.isqrt(pixels.size // THINNED))
        thinned = pixels[::step, ::step] if seen is None else pixels[:, :: step**2]
        self._pixels.append(thinned.ravel())

    def result(self) -> Calibration:
        """What was taken in. Raises DataError on no maps or non-finite scores."""
        scores, peaks = self._scores, self._peaks
        if not scores or not np.isfinite([*scores, *peaks]).all():
            finite = int(np.isfinite(scores).sum())
            raise DataError(
                "calibration needs finite scores of at least one good part, but got"
                f" {len(scores)}, {finite} of them finite."
                " Look for good images of very unusual size or exposure."
            )
        return Calibration(
            scores=tuple(sorted(scores)),
            peaks=tuple(sorted(peaks)),
            extent=float(np.quantile(np.concatenate(self._pixels), 1 - EXTENT_RATE)),
            false_alarms=self.false_alarms,
            how=self.how,
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


def _floor(rate: float) -> float:
    """Down to two significant digits."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.floor(rate / step + EPSILON) * step


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"
