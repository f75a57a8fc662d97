"""Defect pixels and the connected defects they belong to, as they arrive.

While they are few every pixel is kept. When they are many, the pixels of a large defect are kept
in blocks of neighbouring ranks, equal in number, each with its lowest and its highest score:
that defect's overlap is then known to one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blemish.metrics.pool import Budget
from blemish.metrics.ranking import Counts, Floats, Numbers, starts
from blemish.records import Map, Mask

Labels = npt.NDArray[np.int32]


def components(mask: Mask) -> tuple[int, Labels]:
    """Connected defects of a (H, W) mask; pixels that touch at a corner are connected.

    Returns their number and an (H, W) array that holds 0 where it is good, else 1 … number.

    >>> components(np.array([[True, False, False], [False, True, False], [False, False, False]]))[0]
    1
    """
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return count - 1, np.asarray(labels, dtype=np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """(K,) blocks of defect pixels, or single ones: then low is high.

    low, high: least and greatest score in each. count: its pixels. region: number of its defect.
    """

    low: Numbers
    high: Numbers
    count: Labels
    region: Labels

    def coarse(self, most: int) -> Blocks:
        """At most `most` blocks a defect, made of neighbours in rank."""
        order = np.lexsort((self.low, self.region))
        region = self.region[order]
        begins = starts(region)
        amount = np.diff(begins, append=region.size)
        rank = np.arange(region.size) - np.repeat(begins, amount)
        share = np.repeat(np.minimum(most, amount), amount)
        block = rank * share // np.repeat(amount, amount)
        first = np.flatnonzero(np.diff(block, prepend=-1) | np.diff(region, prepend=-1))
        return Blocks(
            low=self.low[order][first],
            high=np.maximum.reduceat(self.high[order], first),
            count=np.add.reduceat(self.count[order], first),
            region=region[first],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """(R,) connected defects. size: native pixels. peak: greatest score. image: number of the image
    among the defective ones. kind: number of the type of defect."""

    size: Counts
    peak: Floats
    image: Counts
    kind: Counts


class DefectPixels:
    """Connected defects of many images."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.most: int | None = None  # blocks a defect; None: every pixel
        self._blocks: list[Blocks] = []
        self._regions: list[Regions] = []
        self._count = self._kept = 0

    @property
    def exact(self) -> bool:
        """Whether all pixels are kept."""
        return self.most is None

    def add(self, map: Map, mask: Mask, image: int, kind: int) -> None:
        """Takes the pixels of a (H, W) map that the mask marks, at least one."""
        count, labels = components(mask)
        region = labels[mask] - 1
        scores = map[mask]
        peak = np.full(count, -np.inf)
        np.maximum.at(peak, region, scores)
        self._regions.append(
            Regions(
                size=np.bincount(region, minlength=count),
                peak=peak,
                image=np.full(count, image),
                kind=np.full(count, kind),
            )
        )
        ones = np.ones(scores.size, dtype=np.int32)
        blocks = Blocks(low=scores, high=scores, count=ones, region=region + np.int32(self._count))
        self._blocks.append(blocks if self.most is None else blocks.coarse(self.most))
        self._count += count
        self._kept += self._blocks[-1].low.size
        while self._kept > self.budget.defect and self.most != 1:
            self.most = self.budget.blocks if self.most is None else max(1, self.most // 2)
            self._blocks = [blocks.coarse(self.most) for blocks in self._blocks]
            self._kept = sum(blocks.low.size for blocks in self._blocks)

    def regions(self) -> Regions:
        """All defects, numbered as the blocks number them."""
        names = ("size", "peak", "image", "kind")
        empty = np.zeros(0, dtype=np.int64)
        return Regions(
            **{n: np.concatenate([empty, *(getattr(r, n) for r in self._regions)]) for n in names}
        )

    def blocks(self, most: int) -> Iterator[Blocks]:
        """All blocks, about `most` at a time."""
        waiting: list[Blocks] = []
        for blocks in self._blocks:
            waiting.append(blocks)
            if sum(b.region.size for b in waiting) >= most:
                yield _together(waiting)
                waiting = []
        if waiting:
            yield _together(waiting)


def _together(parts: list[Blocks]) -> Blocks:
    low, high, count, region = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("low", "high", "count", "region")
    )
    return Blocks(low=low, high=high, count=count, region=region)
