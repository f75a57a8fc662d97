"""How well maps find the pixels of defects, at native resolution: AUPRO and the pixel figures.

PRO is the per-region overlap of Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021:
at a threshold, the share found of each connected defect, averaged over all defects. It is
drawn against the share of good pixels that are above the threshold, too.

Exact without sorting every pixel with its label: between two neighbouring scores of defect pixels
PRO does not change, so only the good pixels are sorted (plain numbers, fast) and each defect
pixel looks up how many of them lie above: that tells the area it adds. The area of a connected
defect is the mean of its pixels', that of a group of defects the mean of theirs.

All figures fall when good pixels rise or defect pixels sink. So where counts are known between
bounds, the best and the worst case bracket every figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError, DataError, ShapeError
from blemish.metrics.defects import DefectPixels
from blemish.metrics.pool import EVERYTHING, Budget, Knots, Pool, Whole
from blemish.metrics.ranking import (
    Counts,
    Floats,
    Numbers,
    Ranking,
    refuse_nan,
    refuse_one_kind,
    starts,
)
from blemish.records import Map, Mask

PLOT_POINTS = 2000  # more than a screen has pixels across
GOOD = "good"
AT_A_TIME = 2**17  # blocks of defect pixels
DRAWN = 2**15  # of them, in a picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where (K,) blocks of defect pixels stand among the good ones.

    region: the connected defect of each. gain: the share of that defect's pixels that it holds.
    start, end: false-positive rates between which the block is found, on a straight line: the
    shares of good pixels above it, and at or above it.
    """

    region: npt.NDArray[np.int32]
    gain: Floats
    start: Floats
    end: Floats

    def area(self, limit: float) -> Floats:
        """(K,) area under what each block adds to PRO, up to a rate of limit and divided by it."""
        # A step, unless good pixels tie with it or, for limit inside the tie, only up to there.
        whole = limit - (self.start + self.end) / 2
        tied = np.where(self.end > self.start, self.end - self.start, 1.0)
        part = np.maximum(limit - self.start, 0.0) ** 2 / (2 * tied)
        return np.asarray(self.gain * np.where(self.end <= limit, whole, part) / limit)

    def coarse(self, good: int, n_thresholds: int) -> Places:
        """The same for a curve drawn as straight lines between so many thresholds, among so many
        good pixels: at equally spaced ranks of these, from their least to their greatest."""
        # A block is above the good pixel of a rank if fewer reach it than are from that rank on.
        rates = (good - 1 - np.linspace(0, good - 1, n_thresholds, dtype=np.int64)[::-1]) / good
        rates = np.concatenate([[0.0], rates, [1.0]])  # at no threshold all is found: (1, 1)
        at = 1 + np.searchsorted(rates[1:], self.end, side="left")
        return replace(self, start=rates[at - 1], end=rates[at])


class AllPixels:
    """The pixels of many images, taken one image after the other."""

    def __init__(self, budget: Budget) -> None:
        self.good = Pool(budget)
        self.marked = Pool(
            replace(budget, chunk=budget.chunk // 4, good=budget.defect, knots=budget.knots // 2)
        )
        self.defects = DefectPixels(budget)
        self.kinds = [GOOD]

    @property
    def exact(self) -> bool:
        """Whether nothing had to be left out. Final once all is sorted."""
        return self.good.exact and self.marked.exact and self.defects.exact

    def add(
        self,
        map: Map,
        mask: Mask | None,
        kind: str = GOOD,
        image: int = 0,
        seen: Mask | None = None,
    ) -> None:
        """Takes one (H, W) map and its (H, W) boolean mask; None is all good. Keeps no reference.

        kind: type of defect, GOOD for a good image. image: its number among the defective ones.
        seen: (H, W) bool, which pixels count; None: all. A mask marks none of the others. Raises
        ShapeError if the map is not of its mask's own size, DataError on NaN, or no boolean mask.
        """
        refuse_nan(map, "pixels of a map")
        marked = mask is not None and _has_defect(map, mask)
        if kind not in self.kinds:
            self.kinds.append(kind)
        if mask is None or not marked:
            self.good.add(kind, map.flatten() if seen is None else map[seen])
            return
        rest = map[~mask if seen is None else seen & ~mask]
        kept = np.empty(map.size, map.dtype)[: rest.size]  # of one size, so that memory is reused
        kept[:] = rest
        self.good.add(kind, kept)
        self.marked.add(kind, map[mask])
        self.defects.add(map, mask, image, self.kinds.index(kind))

    def sort(self) -> None:
        """To be called after the last image and before any figure."""
        self.good.sort()
        self.marked.sort()

    def has_both(self, kinds: Sequence[str]) -> bool:
        """Whether images of these kinds have good and defect pixels, so that there are figures."""
        return all(any(pool.size(kind) for kind in kinds) for pool in (self.good, self.marked))

    def ranking(self, kinds: Sequence[str], optimistic: bool = True) -> Ranking:
        """Defect pixels of these kinds of images among their good ones; needs both.

        What is not known exactly is in favour of the figures, if optimistic, else against.
        """
        good = sum(self.good.size(kind) for kind in kinds)
        run = self.marked.run(kinds)
        levels, count, found = _whole(run) if isinstance(run, Whole) else _knots(run, optimistic)
        above, reached = self._count(kinds, levels, optimistic)
        return Ranking(
            levels=levels, count=count, found=found, above=above, reached=reached, good=good
        )

    def places(
        self, kinds: Sequence[str], optimistic: bool = True, n_thresholds: int | None = None
    ) -> Iterator[Places]:
        """All blocks of these kinds' connected defects among the good pixels of the same, a part at
        a time; needs both. optimistic: as of ranking. n_thresholds: as of aupro.
        """
        good = sum(self.good.size(kind) for kind in kinds)
        regions = self.defects.regions()
        wanted = np.isin(regions.kind, [self.kinds.index(kind) for kind in kinds])
        for part in self.defects.blocks(AT_A_TIME):
            keys = part.high if optimistic else part.low
            order = np.argsort(keys, kind="stable")[::-1]  # neighbours are looked up faster
            order = order[wanted[part.region[order]]]
            above, reached = self._count(kinds, keys[order], optimistic)
            region = part.region[order]
            gain = part.count[order] / regions.size[region]
            places = Places(region=region, gain=gain, start=above / good, end=reached / good)
            yield places if n_thresholds is None else places.coarse(good, n_thresholds)

    def _count(self, kinds: Sequence[str], levels: Numbers, fewest: bool) -> tuple[Counts, Counts]:
        above, reached = np.zeros((2, levels.size), dtype=np.int64)
        for kind in kinds:
            counts = self.good.count(kind, levels, fewest)
            above += counts[0]
            reached += counts[1]
        return above, reached


def _whole(run: Whole) -> tuple[Numbers, Counts, Counts]:
    """Levels, falling, how many pixels are at each, and how many at or above."""
    begins = starts(run.scores)
    found = (run.size - begins)[::-1]
    return run.scores[begins][::-1], np.diff(found, prepend=0), found


def _knots(run: Knots, optimistic: bool) -> tuple[Numbers, Counts, Counts]:
    """The same for pixels known only between knots: each at the upper knot or just above the lower
    one; "at or above" is the most or the least that it can be anywhere between these two."""
    if optimistic:
        before = np.append(run.size, run.most[:-1])
        levels, count, found = run.levels, before - run.most, before
    else:
        above = np.nextafter(run.levels, run.levels.dtype.type(np.inf))
        after = np.append(run.fewest[1:], 0)
        joined = np.append(above[:-1] == run.levels[1:], False)
        levels = np.append(run.levels.dtype.type(-np.inf), above)
        count = np.append(run.size - run.fewest[0], run.fewest - after)
        found = np.append(run.size, np.maximum(np.where(joined, run.fewest, after), 1))
    some = np.flatnonzero(count)[::-1]
    return levels[some], count[some], found[some]


def overlap(
    pixels: AllPixels,
    kinds: Sequence[str],
    limits: Sequence[float],
    *,
    optimistic: bool = True,
    n_thresholds: int | None = None,
) -> Floats:
    """(R, L) AUPRO of each connected defect alone at each limit; of other kinds it is 0.

    AUPRO of any group of defects is the mean of its rows. Arguments as of AllPixels.places.
    Raises ConfigError unless the limits are in (0, 1] and n_thresholds is at least 2.
    """
    for limit in limits:
        _check_limit(limit)
    if n_thresholds is not None and n_thresholds < 2:
        raise ConfigError(
            f"n_thresholds must be at least 2, but is {n_thresholds}. The papers use 99; None"
            " measures the whole curve."
        )
    total = np.zeros((len(limits), pixels.defects.regions().size.size))
    for places in pixels.places(kinds, optimistic, n_thresholds):
        for i, limit in enumerate(limits):
            total[i] += np.bincount(places.region, places.area(limit), total.shape[1])
    return total.T


def drawn_curve(pixels: AllPixels, kinds: Sequence[str], limit: float) -> tuple[Floats, Floats]:
    """(fpr, pro), each (K,), rising, for drawing: from 0 to limit, at most 2,000 points.

    Raises ConfigError unless limit is in (0, 1].
    """
    _check_limit(limit)
    parts = []
    for places in pixels.places(kinds):
        begins = np.arange(0, places.start.size, places.start.size // DRAWN + 1)
        gains = np.add.reduceat(places.gain, begins)
        parts.append((places.start[begins], places.end[begins], gains))
    start, end, gain = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(start + end, kind="stable")
    order = order[: 1 + int(np.searchsorted(start[order], limit, side="right"))]
    firsts = starts(start[order] + end[order])  # a new place among the good
    after = np.minimum(np.cumsum(np.add.reduceat(gain[order], firsts)) / gain.sum(), 1.0)
    before = np.append(0.0, after[:-1])
    ends = np.stack([start[order][firsts], end[order][firsts]], axis=1)
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


def aupro(
    maps: Iterable[Map],
    masks: Iterable[Mask | None],
    limit: float = 0.3,
    n_thresholds: int | None = None,
) -> float:
    """Area under the per-region overlap up to a false-positive rate of limit, over limit: [0, 1].

    maps: (H, W) each, any real range. masks: (H, W) bool each, of the same size, True on defects;
    None is all good. The false-positive rate is over the good pixels of all images together; every
    8-connected defect counts the same, whatever its size. limit: in (0, 1].
    n_thresholds: None is exact; 99 gives what papers that share the code of MVTec 3D-AD print. Of
        99 a limit of 0.01 sees one straight line: 0.62 where 0.90 is exact. Never mix them.
    Source: Bergmann et al., IJCV 2021, section 5.1.
    Raises ShapeError if a map is not of its mask's own size, DataError on NaN, on masks that are
    not boolean, and without good or defect pixels; ConfigError on the limit or n_thresholds.

    >>> mask = np.array([[True, False], [False, False]])
    >>> aupro([mask.astype(np.float32)], [mask], limit=0.3)
    1.0
    """
    _check_limit(limit)
    pixels = _taken(maps, masks)
    return float(overlap(pixels, [GOOD], [limit], n_thresholds=n_thresholds).mean())


def pro_curve(
    maps: Iterable[Map], masks: Iterable[Mask | None], limit: float = 1.0
) -> tuple[Floats, Floats]:
    """(fpr, pro) for drawing, at most 2,000 points; arguments and errors as aupro."""
    _check_limit(limit)
    return drawn_curve(_taken(maps, masks), [GOOD], limit)


def pixel_auroc(maps: Iterable[Map], masks: Iterable[Mask | None]) -> float:
    """AUROC over all pixels, in [0, 1]; arguments and errors as aupro."""
    return _ranking(maps, masks).auroc()


def pixel_ap(maps: Iterable[Map], masks: Iterable[Mask | None]) -> float:
    """Average precision over all pixels, in (0, 1]; arguments and errors as aupro."""
    return _ranking(maps, masks).average_precision()


def pixel_f1_max(maps: Iterable[Map], masks: Iterable[Mask | None]) -> tuple[float, float]:
    """Best F1 over all pixels and its threshold, like f1_max; arguments and errors as aupro."""
    return _ranking(maps, masks).f1_max()


def _ranking(maps: Iterable[Map], masks: Iterable[Mask | None]) -> Ranking:
    return _taken(maps, masks).ranking([GOOD])


def _taken(maps: Iterable[Map], masks: Iterable[Mask | None]) -> AllPixels:
    pixels = AllPixels(EVERYTHING)
    for map, mask in _pairs(list(maps), list(masks)):
        pixels.add(map, mask)
    pixels.sort()
    refuse_one_kind(pixels.marked.size(GOOD), pixels.good.size(GOOD), "pixels")
    return pixels


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


def _check_limit(limit: float) -> None:
    if not 0 < limit <= 1:
        raise ConfigError(
            f"limit must be a false-positive rate in (0, 1], but is {limit}. 0.3 is usual."
        )
