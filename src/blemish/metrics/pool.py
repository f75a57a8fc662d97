"""Pixels by the billion: how many of them score above any level, exactly or between two bounds.

Every pixel figure asks good pixels only one thing: how many lie above, and how many at or above, a
defect pixel's score. While they are few they are kept, sorted. When they are many, each sorted run
keeps only its knots: levels, at each of which the number above is known exactly, dense at the top
and so close together that between two of them the number is known to a part in 4,000 of itself.
Nothing is assumed about the scores (range, sign, ties): knots sit at ranks, not at values. Counts
of runs add up, and so do their bounds, hence the bound of the whole is as good as that of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from blemish.metrics.ranking import Counts, Numbers, starts


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be kept in memory, so that an evaluation of any length stays below 300 MiB.

    chunk: good pixels that wait unsorted. good, defect: pixels up to which all are kept and every
    figure is exact. knots: levels kept of the good pixels beyond that. share: between two knots the
    number of good pixels above is known to this share of itself. blocks: of how many pixels of one
    defect the scores are told apart when there are too many.
    """

    chunk: int = 2**22
    good: int = 2**25
    defect: int = 7 * 2**19
    knots: int = 3 * 2**19
    share: float = 2.5e-4
    blocks: int = 2**13


EVERYTHING = Budget(good=2**62, defect=2**62)


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole:
    """A run of good pixels, all kept. scores: (N,), rising."""

    scores: Numbers

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.scores.size

    @property
    def kept(self) -> int:
        """Number of levels in memory."""
        return self.scores.size

    def count(self, levels: Numbers, fewest: bool) -> tuple[Counts, Counts]:
        """(above, reached): pixels above each level, and at or above it. fewest: as of Knots."""
        first = np.searchsorted(self.scores, levels, side="left")
        equal = np.flatnonzero(self.scores[np.minimum(first, self.size - 1)] == levels)
        after = first.copy()
        after[equal] = np.searchsorted(self.scores, levels[equal], side="right")
        return self.size - after, self.size - first


@dataclass(frozen=True, kw_only=True, eq=False)
class Knots:
    """What is left of a run: at each of (K,) rising levels between fewest and most pixels above.

    The number above only falls as the level rises, so between two levels it is at least what it is
    at the upper one and at most what it is at the lower one.
    """

    levels: Numbers
    fewest: Counts
    most: Counts
    size: int

    @property
    def kept(self) -> int:
        """Number of levels in memory."""
        return self.levels.size

    def count(self, levels: Numbers, fewest: bool) -> tuple[Counts, Counts]:
        """(above, reached): pixels above each level, and at or above it: at least so many, or,
        unless fewest, at most."""
        levels = levels.astype(np.result_type(levels, self.levels), copy=False)
        at = np.searchsorted(self.levels, levels, side="left" if fewest else "right")
        # At or above a level is above the next smaller number, and one knot at most lies between.
        passed = _below(levels) if fewest else levels
        one = (at > 0) & (self.levels[at - 1] == passed)
        reached = np.where(np.isneginf(levels), self.size, self._above(at - one, fewest))
        return self._above(at, fewest), reached

    def _above(self, at: Counts, fewest: bool) -> Counts:
        """Pixels above a level with so many knots below it or, unless fewest, up to it."""
        return np.append(self.fewest, 0)[at] if fewest else np.append(self.size, self.most)[at]


def _below(levels: Numbers) -> Numbers:
    return np.asarray(np.nextafter(levels, levels.dtype.type(-np.inf)))


def thin(scores: Numbers, share: float) -> Knots:
    """The knots of (N,) rising scores: exact at each; in between the number above is known to
    `share` of itself, rounded up."""
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    one_by_one = np.arange(1, min(scores.size, int(1 / share)) + 1)
    bend = max(one_by_one[-1], scores.size // 4)  # from here on steps are equal, for AUROC
    steps = int(np.log(bend / one_by_one[-1]) / np.log1p(share)) + 1
    then = one_by_one[-1] * np.exp(np.log1p(share) * np.arange(1, steps + 1))
    then = np.minimum(then, bend).astype(np.int64)
    rest = np.arange(bend, scores.size, max(1, int(share * bend)))
    ranks = np.concatenate([one_by_one, then, rest])
    picked = scores[scores.size - np.append(ranks, scores.size)][::-1]
    picked = picked[starts(picked)]
    above = scores.size - np.searchsorted(scores, picked, side="right")
    reached = scores.size - np.searchsorted(scores, picked, side="left")
    # Just below a level another knot is needed where many tie with it, and where counts are small.
    gap = np.append(scores.size, above[:-1]) - above
    tied = gap > share * above + (above >= one_by_one[-1])  # one more: ranks are whole numbers
    tied[0] = True
    levels = np.concatenate([picked, _below(picked[tied])])
    counts = np.concatenate([above, reached[tied]])
    levels, first = np.unique(levels, return_index=True)
    return Knots(levels=levels, fewest=counts[first], most=counts[first], size=scores.size)


def sparse(knots: Knots, share: float) -> Knots:
    """Leaves out knots, greedily from the top, where the gap stays within `share` of the count."""
    fewest, most = knots.fewest[::-1], knots.most[::-1]  # both rising
    last = most.size - 1
    gap = np.minimum(fewest, knots.size / 4) * share  # AUROC needs no wide ones at the bottom
    far = np.searchsorted(most, np.floor(fewest + gap), side="right") - 1
    onwards = np.minimum(np.maximum(far, np.arange(1, last + 2)), last)
    ahead, kept = memoryview(onwards.tobytes()).cast("q"), [0]  # read faster than an array
    while kept[-1] != last:
        kept.append(ahead[kept[-1]])
    chosen = last - np.array(kept[::-1])
    return Knots(
        levels=knots.levels[chosen],
        fewest=knots.fewest[chosen],
        most=knots.most[chosen],
        size=knots.size,
    )


def join(runs: Sequence[Knots]) -> Knots:
    """One run with the knots of all; its bounds are the sums of theirs."""
    size = sum(run.size for run in runs)
    levels = np.concatenate([run.levels for run in runs])
    order = levels.argsort(kind="stable")
    levels = levels[order]
    first = starts(levels)
    fewest = np.concatenate([run.fewest - np.append(run.fewest[1:], 0) for run in runs])[order]
    fewest = fewest[::-1].cumsum()[::-1][first]
    most = np.concatenate([np.append(run.size, run.most[:-1]) - run.most for run in runs])[order]
    most = (size - most.cumsum())[np.append(first[1:], levels.size) - 1]
    return Knots(levels=levels[first], fewest=fewest, most=most, size=size)


class Pool:
    """Pixels of several kinds of images, counted as they arrive."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.exact = True
        self._waiting: dict[str, list[Numbers]] = {}
        self._runs: dict[str, list[Whole | Knots]] = {}
        self._room = np.empty(0, np.float32)
        self._share = budget.share
        self._sorting: tuple[str, Future[Whole | Knots]] | None = None

    def add(self, kind: str, scores: Numbers) -> None:
        """Takes a (N,) array of its own, in any order, without NaN."""
        self._waiting.setdefault(kind, []).append(scores)
        self._runs.setdefault(kind, [])
        if sum(map(_amount, self._waiting.values())) >= self.budget.chunk:
            self._sort(max(self._waiting, key=lambda kind: _amount(self._waiting[kind])))

    def sort(self) -> None:
        """Sorts all that still wait; then `exact` is final, unless more pixels arrive."""
        for kind in list(self._waiting):
            self._sort(kind)
        self._collect()
        self._room = np.empty(0, np.float32)
        if not self.exact:
            self._join_all()

    def size(self, kind: str) -> int:
        """Number of pixels of that kind, once they are sorted."""
        return sum(run.size for run in self._runs.get(kind, ()))

    def count(self, kind: str, levels: Numbers, fewest: bool) -> tuple[Counts, Counts]:
        """(above, reached) of (K,) levels: at least so many, or, unless fewest, at most.

        Needs all pixels sorted.
        """
        above, reached = np.zeros((2, levels.size), dtype=np.int64)
        for run in self._runs.get(kind, ()):
            counts = run.count(levels, fewest)
            above += counts[0]
            reached += counts[1]
        return above, reached

    def run(self, kinds: Sequence[str]) -> Whole | Knots:
        """All pixels of these kinds as one run. Needs all pixels sorted."""
        runs = [run for kind in kinds for run in self._runs.get(kind, ())]
        if len(runs) == 1:
            return runs[0]
        knots = [run for run in runs if isinstance(run, Knots)]
        if knots:
            return join(knots)
        scores = [run.scores for run in runs if isinstance(run, Whole)]
        return Whole(scores=np.sort(np.concatenate([np.zeros(0, np.float32), *scores])))

    def _sort(self, kind: str) -> None:
        waiting = self._waiting.pop(kind, [])
        if not _amount(waiting):
            return
        self._collect()
        if self.exact or any(array.dtype != np.float32 for array in waiting):
            scores = np.concatenate(waiting)
        else:  # it will not be kept: the next ones take its place
            if self._room.size < _amount(waiting):
                self._room = np.empty(_amount(waiting), np.float32)
            scores = np.concatenate(waiting, out=self._room[: _amount(waiting)])
        waiting.clear()
        share = None if self.exact else self.budget.share
        worker = ThreadPoolExecutor(1, "blemish-sort")
        self._sorting = kind, worker.submit(_sorted, scores, share)
        worker.shutdown(wait=False)  # its thread ends with the run

    def _collect(self) -> None:
        """Waits for the run that is being sorted beside the main thread."""
        if self._sorting is None:
            return
        kind, run = self._sorting
        self._runs[kind].append(run.result())
        self._sorting = None
        if self.exact and self._kept() > self.budget.good:
            self._thin_all()
        if not self.exact and self._kept() > self.budget.knots:
            self._spare()

    def _kept(self) -> int:
        return sum(run.kept for runs in self._runs.values() for run in runs)

    def _thin_all(self) -> None:
        self.exact = False
        for runs in self._runs.values():
            for i, run in enumerate(runs):
                if isinstance(run, Whole):
                    runs[i] = thin(run.scores, self.budget.share)

    def _join_all(self) -> None:
        for kind, runs in self._runs.items():
            if len(runs) > 1:
                self._runs[kind] = [join([run for run in runs if isinstance(run, Knots)])]

    def _spare(self) -> None:
        """Fewer knots. No bound gets wider than the share, however often this is done."""
        self._join_all()
        while self._share < 1 and self._kept() > 0.6 * self.budget.knots:
            for kind, runs in self._runs.items():
                self._runs[kind] = [
                    sparse(run, self._share) for run in runs if isinstance(run, Knots)
                ]
            if self._kept() > 0.6 * self.budget.knots:
                self._share *= 1.2  # room for the next pixels comes before precision


def _sorted(scores: Numbers, share: float | None) -> Whole | Knots:
    scores.sort()
    return Whole(scores=scores) if share is None else thin(scores, share)


def _amount(arrays: Sequence[Numbers]) -> int:
    return sum(array.size for array in arrays)
