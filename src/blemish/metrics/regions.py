"""How well maps find the pixels of defects, at native resolution: AUPRO and the pixel figures.

PRO is the per-region overlap of Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021:
at a threshold, the share found of each connected defect, averaged over all defects. It is
drawn against the share of good pixels that are above the threshold, too.

Exact without sorting every pixel with its label: between two neighbouring scores of defect pixels
PRO does not change, so only the good pixels are sorted (plain numbers, fast) and each defect
pixel looks up how many of them lie above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError, DataError, ShapeError
from blemish.metrics.ranking import (
    Floats,
    Numbers,
    Ranking,
    rank,
    refuse_nan,
    refuse_one_kind,
    starts,
)
from blemish.records import Map, Mask

PLOT_POINTS = 2000  # more than a screen has pixels across


def components(mask: Mask) -> tuple[int, npt.NDArray[np.int32]]:
    """Connected defects of a (H, W) mask; pixels that touch at a corner are connected.

    Returns their number and an (H, W) array that holds 0 where it is good, else 1 … number.

    >>> components(np.array([[True, False, False], [False, True, False], [False, False, False]]))[0]
    1
    """
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return count - 1, np.asarray(labels, dtype=np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitPixels:
    """All pixels of a set of images: the good ones and the defective ones.

    pools: each (N_i,), rising scores of good pixels.
    defects: (P,) rising scores of defect pixels.
    share: (P,) 1 / size of the connected defect that each of them belongs to.
    regions: number of connected defects.
    """

    pools: tuple[Numbers, ...]
    defects: Numbers
    share: Floats
    regions: int

    @property
    def good(self) -> int:
        """Number of good pixels."""
        return sum(pool.size for pool in self.pools)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedPixels:
    """Defect pixels ranked among the good ones: what every pixel figure follows from.

    gain: (K,) by how much PRO rises at each level of the ranking; sums to 1.
    """

    ranking: Ranking
    gain: Floats

    def aupro(self, limit: float) -> float:
        """Area under PRO up to a false-positive rate of limit, divided by limit: in [0, 1].

        Raises ConfigError unless limit is in (0, 1].
        """
        _check_limit(limit)
        start = self.ranking.above / self.ranking.good
        end = self.ranking.reached / self.ranking.good
        # PRO rises on a straight line from start to end: a step, unless good pixels tie with it
        # or, for limit inside the tie, only up to there.
        whole = limit - (start + end) / 2
        tied = np.where(end > start, end - start, 1.0)
        part = np.maximum(limit - start, 0.0) ** 2 / (2 * tied)
        return float(self.gain @ np.where(end <= limit, whole, part)) / limit

    def pro_curve(self, limit: float) -> tuple[Floats, Floats]:
        """(fpr, pro), each (K,), rising, for drawing: from 0 to limit, at most 2,000 points.

        Raises ConfigError unless limit is in (0, 1].
        """
        _check_limit(limit)
        after = np.minimum(np.cumsum(self.gain), 1.0)
        before = np.append(0.0, after[:-1])
        ends = np.stack([self.ranking.above, self.ranking.reached], axis=1) / self.ranking.good
        fpr = np.concatenate([[0.0], ends.ravel(), [1.0]])
        pro = np.concatenate([[0.0], np.stack([before, after], axis=1).ravel(), [1.0]])
        inside = fpr <= limit
        last = np.interp(limit, fpr, pro)
        return thin(np.append(fpr[inside], limit), np.append(pro[inside], last))


def thin(x: Floats, y: Floats, most: int = PLOT_POINTS) -> tuple[Floats, Floats]:
    """At most `most` of the points of two rising (K,) rows, evenly along the curve; ends stay."""
    if x.size <= most:
        return x, y
    way = _along(x) + _along(y)
    kept = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], most)))
    return x[kept], y[kept]


def _along(x: Floats) -> Floats:
    """How far along its whole rise each of the (K,) values is, in [0, 1]."""
    rise: float = max(x[-1] - x[0], np.finfo(np.float64).tiny)
    return np.asarray((x - x[0]) / rise)


def split_pixels(maps: Iterable[Map], masks: Iterable[Mask | None]) -> SplitPixels:
    """Sorts the pixels of (H, W) maps by what their (H, W) boolean masks say; None is all good.

    Raises ShapeError if a map is not of its mask's own size or the two are not equally many,
    DataError if a map holds NaN or a mask is not boolean.
    """
    good: list[Numbers] = []
    defects: list[Numbers] = []
    share: list[Floats] = []
    regions = 0
    for map, mask in _pairs(list(maps), list(masks)):
        refuse_nan(map, "pixels of a map")
        if mask is None or not _has_defect(map, mask):
            good.append(map.ravel())
            continue
        count, labels = components(mask)
        regions += count
        inside = labels[mask]
        good.append(map[~mask])
        defects.append(map[mask])
        share.append(1.0 / np.bincount(inside)[inside])
    pool = _concatenate(good)
    pool.sort()
    return _assemble((pool,), defects, share, regions)


def join_pixels(parts: Sequence[SplitPixels]) -> SplitPixels:
    """One set of all the parts' pixels; the sorted good pixels are shared, not copied."""
    return _assemble(
        tuple(pool for part in parts for pool in part.pools),
        [part.defects for part in parts],
        [part.share for part in parts],
        sum(part.regions for part in parts),
    )


def rank_pixels(split: SplitPixels) -> RankedPixels:
    """Looks every defect pixel up among the good ones.

    Raises DataError if there are no good or no defect pixels.
    """
    refuse_one_kind(split.defects.size, split.good, "pixels")
    gain = np.add.reduceat(split.share, starts(split.defects))[::-1] / split.regions
    return RankedPixels(ranking=rank(split.defects, *split.pools), gain=gain)


def aupro(maps: Iterable[Map], masks: Iterable[Mask | None], limit: float = 0.3) -> float:
    """Area under the per-region overlap up to a false-positive rate of limit, over limit: [0, 1].

    maps: (H, W) each, any real range. masks: (H, W) bool each, of the same size, True on defects;
    None is all good. The false-positive rate is over the good pixels of all images together; every
    8-connected defect counts the same, whatever its size. limit: in (0, 1].
    Source: Bergmann et al., IJCV 2021, section 5.1.
    Raises ShapeError if a map is not of its mask's own size, DataError on NaN, on masks that are
    not boolean, and without good or defect pixels; ConfigError on the limit.

    >>> mask = np.array([[True, False], [False, False]])
    >>> aupro([mask.astype(np.float32)], [mask], limit=0.3)
    1.0
    """
    return _rank(maps, masks).aupro(limit)


def pro_curve(
    maps: Iterable[Map], masks: Iterable[Mask | None], limit: float = 1.0
) -> tuple[Floats, Floats]:
    """(fpr, pro) for drawing, at most 2,000 points; arguments and errors as aupro."""
    return _rank(maps, masks).pro_curve(limit)


def pixel_auroc(maps: Iterable[Map], masks: Iterable[Mask | None]) -> float:
    """AUROC over all pixels, in [0, 1]; arguments and errors as aupro."""
    return _rank(maps, masks).ranking.auroc()


def pixel_ap(maps: Iterable[Map], masks: Iterable[Mask | None]) -> float:
    """Average precision over all pixels, in (0, 1]; arguments and errors as aupro."""
    return _rank(maps, masks).ranking.average_precision()


def pixel_f1_max(maps: Iterable[Map], masks: Iterable[Mask | None]) -> tuple[float, float]:
    """Best F1 over all pixels and its threshold, like f1_max; arguments and errors as aupro."""
    return _rank(maps, masks).ranking.f1_max()


def _rank(maps: Iterable[Map], masks: Iterable[Mask | None]) -> RankedPixels:
    return rank_pixels(split_pixels(maps, masks))


def _pairs(maps: list[Map], masks: list[Mask | None]) -> Iterable[tuple[Map, Mask | None]]:
    if len(maps) != len(masks):
        raise ShapeError(
            f"maps and masks must be equally many, but there are {len(maps)} maps and {len(masks)}"
            " masks. Give one mask, or None, for each map."
        )
    return zip(maps, masks, strict=True)


def _has_defect(map: Map, mask: Mask) -> bool:
    if map.ndim != 2 or map.shape != mask.shape:
        raise ShapeError(
            f"a map must have its mask's own size (H, W), {mask.shape}, but has {map.shape}."
            " Bring the map to native size; masks are never resized."
        )
    if mask.dtype != np.bool_:
        raise DataError(
            f"a mask must be boolean, True on defects, but is {mask.dtype}."
            " Read it with blemish.images.read_mask, or compare it with a level."
        )
    return bool(mask.any())


def _assemble(
    pools: tuple[Numbers, ...],
    defects: list[Numbers],
    share: list[Floats],
    regions: int,
) -> SplitPixels:
    scores = _concatenate(defects)
    order = scores.argsort()
    shares = _concatenate(share).astype(np.float64, copy=False)[order]
    return SplitPixels(pools=pools, defects=scores[order], share=shares, regions=regions)


def _concatenate(parts: Sequence[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _check_limit(limit: float) -> None:
    if not 0 < limit <= 1:
        raise ConfigError(
            f"limit must be a false-positive rate in (0, 1], but is {limit}. 0.3 is usual."
        )
