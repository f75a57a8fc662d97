"""How well scores part defects from good: AUROC, average precision, F1-max and the ROC curve.

Only the order of the scores matters, and equal scores stay equal: there are no bins, no rounding
and no thresholds to choose. Sources: Hanley and McNeil 1982 (AUROC as a probability, ties half);
Davis and Goadrich 2006 (why precision and recall are not interpolated).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import DataError, ShapeError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]  # integers or floats; their own precision is kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Where defects stand among the good: K scores of defects, falling, and who is above.

    All figures follow from these counts, because none of them changes between two defects.

    levels: (K,) scores of defects, falling; equal ones may be joined.
    count: (K,) defects at each of them.
    found: (K,) all defects at or above each level.
    above: (K,) good ones above each level. reached: (K,) good ones at or above it.
    good: number of good ones, at least 1.
    """

    levels: Numbers
    count: Counts
    found: Counts
    above: Counts
    reached: Counts
    good: int

    @property
    def defects(self) -> int:
        """Number of all defects, at least 1."""
        return int(self.count.sum())

    def auroc(self) -> float:
        """Chance that a defect scores higher than a good one, in [0, 1]; a tie counts half."""
        pairs = 2 * self.defects * self.good  # twice, so that a tie stays whole
        beaten = 2 * self.good - self.above - self.reached
        if pairs >= 2**62:  # whole numbers end here
            return float(self.count @ (beaten / pairs))
        return int(self.count @ beaten) / pairs

    def average_precision(self) -> float:
        """Sum of precision times gain in recall over all levels, in (0, 1]."""
        return float(self.count @ (self.found / (self.found + self.reached))) / self.defects

    def f1_max(self) -> tuple[float, float]:
        """Best F1 over all levels, in (0, 1], and the lowest score that it calls a defect."""
        f1 = 2 * self.found / (self.found + self.reached + self.defects)
        best = int(f1.argmax())
        return float(f1[best]), float(self.levels[best])


def rank(defects: Numbers, good: Numbers) -> Ranking:
    """Ranking of (P,) defect scores among (N,) good scores, both rising.

    Needs at least one defect and one good score, none NaN.
    """
    begins = starts(defects)
    levels, found = defects[begins][::-1], (defects.size - begins)[::-1]
    return Ranking(
        levels=levels,
        count=np.diff(found, prepend=0),
        found=found,
        above=good.size - np.searchsorted(good, levels, side="right"),
        reached=good.size - np.searchsorted(good, levels, side="left"),
        good=good.size,
    )


def starts(values: Numbers) -> Counts:
    """(K,) indices at which a new value begins in (P,) sorted values."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a defect scores higher than a good one.

    scores: any shape, any real range. labels: the same shape, True (or 1) for defects.
    Returns a value in [0, 1]; ties count half. Raises ShapeError if the shapes differ, DataError on
    NaN, on labels other than 0 and 1, and if either kind is missing.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return rank(*_split(scores, labels)).auroc()


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the precision-recall steps, without interpolation, in (0, 1].

    Arguments and errors as auroc.

    >>> average_precision([3, 2, 1], [1, 0, 1])  # 1/2 x 1 + 1/2 x 2/3
    0.8333333333333333
    """
    return rank(*_split(scores, labels)).average_precision()


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float]:
    """Best F1 = 2 TP / (2 TP + FP + FN) over all thresholds, and the score t that reaches it.

    t is the lowest score to be called a defect (score >= t); among equally good ones the highest.
    The F1 is in (0, 1]. It is chosen on the labels it is measured on, so it flatters. Arguments
    and errors as auroc.

    >>> f1_max([98.0, 99.0, 5.0], [0, 1, 0])
    (1.0, 99.0)
    """
    return rank(*_split(scores, labels)).f1_max()


def roc_curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    """False- and true-positive rate at every distinct score, from (0, 0) to (1, 1).

    Returns (fpr, tpr), each (K + 1,), rising; straight lines between the points are exact.
    Arguments and errors as auroc.

    >>> roc_curve([3, 2, 1], [1, 0, 1])
    (array([0., 0., 1., 1.]), array([0. , 0.5, 0.5, 1. ]))
    """
    defects, good = _split(scores, labels)
    levels = np.unique(np.concatenate([defects, good]))[::-1]
    return _share_reaching(good, levels), _share_reaching(defects, levels)


def _share_reaching(rising: Numbers, levels: Numbers) -> Floats:
    reached = rising.size - np.searchsorted(rising, levels, side="left")
    return np.append(0.0, reached / rising.size)


def _split(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """Rising scores of defects and of good ones."""
    values, kinds = np.asarray(scores), np.asarray(labels)
    if values.shape != kinds.shape:
        raise ShapeError(
            f"labels must have the shape of the scores, {values.shape}, but have {kinds.shape}."
            " Give one label for each score."
        )
    refuse_nan(values, "scores")
    is_defect = kinds == 1
    if not (is_defect | (kinds == 0)).all():
        raise DataError(
            f"labels must be 0 (good) or 1 (defect), but hold {np.unique(kinds)[:5].tolist()}."
            " Pass a boolean array that is True for defects."
        )
    defects, good = np.sort(values[is_defect]), np.sort(values[~is_defect])
    refuse_one_kind(defects.size, good.size, "scores")
    return defects, good


def refuse_nan(values: Numbers, what: str) -> None:
    """Raises DataError if any of the values is NaN; infinity has a place in the order."""
    if values.size and np.isnan(values.min()):  # min passes NaN on, and makes no array
        raise DataError(
            f"{what} must be numbers, but {int(np.isnan(values).sum())} of {values.size} are NaN."
            " Look for broken images or a diverged model."
        )


def refuse_one_kind(defects: int, good: int, what: str) -> None:
    """Raises DataError unless both kinds are there."""
    if not defects or not good:
        raise DataError(
            f"{what} must come from both good and defective ones to be compared, but there are"
            f" {good} good and {defects} defective. Add the kind that is missing."
        )
