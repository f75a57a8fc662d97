"""What a model may be expected to find before there is a real defect: a rehearsal on made-up ones.

On good parts that a model was not fitted on, defects of each flat kind are made at the photographs'
own size, and inspected like any photograph; the same parts untouched are what to tell them from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.bands import LARGEST, Bands
from blemish.calibrate import Calibration
from blemish.errors import ShapeError, SynthError
from blemish.images import read_image
from blemish.metrics.evaluate import Evaluator
from blemish.metrics.pool import Budget
from blemish.metrics.regions import GOOD, AllPixels, overlap
from blemish.metrics.sizes import DISJOINT, size_bins, wilson
from blemish.records import Map, Mask, Pixels, Sample, Seen
from blemish.synth import FLAT, settings_of
from blemish.synth.base import on_a_picture
from blemish.synth.dataset import on_part
from blemish.track import Track, silent

COUNT = 10  # defects of each kind
PARTS = 100  # good ones that take part, at most
TURNS = 3  # of them that a defect is tried on
TURN, SHIFT = 0.5, 0.005  # degrees, share of a side


@dataclass(frozen=True, kw_only=True, eq=False)
class Defect:
    """A made-up defect, as what it changes: a hundred whole photographs would fill the memory.

    part: photograph of the good part it lies on. where: (K,) numbers of its pixels, row by row.
    pixels: (K, C) what is there instead. quarter: of all defects by area, "D1" to "D4".
    """

    kind: str
    part: Path
    where: npt.NDArray[np.int32]
    pixels: Pixels
    quarter: str = ""

    def on(self, good: Pixels) -> tuple[Pixels, Mask]:
        """The (H, W, C) photograph of its part with the defect, and the (H, W) mask."""
        altered, mask = good.copy(), np.zeros(good.shape[:2], np.bool_)
        _rows(altered)[self.where] = self.pixels
        mask.reshape(-1)[self.where] = True
        return altered, mask


def prepare(
    paths: Sequence[Path],
    *,
    seed: int,
    seen: Seen = lambda size: None,
    bands: Bands | None = None,
    track: Track = silent,
) -> Rehearsal:
    """COUNT defects of each flat kind on photographs of good parts, PARTS of them at most.

    seen: (H, W) of a photograph → which of its pixels are inspected, None: all. bands: of pixels
    that are no photographs; a defect is then made on one of the pictures that the network is shown.

    The same photographs and seed give the same defects. What cannot be made is told in the result.
    Raises ImageError if a photograph cannot be read.
    """
    order = np.random.default_rng(seed).permutation(len(paths))[:PARTS]
    parts = tuple(paths[i] for i in order.tolist())
    plan = [(kind, number) for kind in FLAT for number in range(COUNT)]
    defects: list[Defect] = []
    not_made: dict[str, list[str]] = {}
    for index, (kind, number) in enumerate(track(plan, "Making defects", len(plan))):
        turns = [parts[(index + turn) % len(parts)] for turn in range(TURNS)]
        rng = np.random.default_rng([seed, number, *kind.encode()])
        made = _make(kind, turns, rng, seen, bands)
        if isinstance(made, Defect):
            defects.append(made)
        else:
            not_made.setdefault(kind, []).append(made)
    return Rehearsal(parts, tuple(_quartered(defects)), not_made, seed=seed, seen=seen, track=track)


def _make(
    kind: str,
    parts: Sequence[Path],
    rng: np.random.Generator,
    seen: Seen,
    bands: Bands | None,
) -> Defect | str:
    """A defect on the first of the parts that allows one, or why none does."""
    reason = ""
    for part in parts:
        try:
            good = read_image(part)
            inspected = seen(good.shape)
            draw = partial(
                on_part, kind, points=None, rng=rng, settings=settings_of(kind), seen=inspected
            )
            altered = on_a_picture(draw, good, bands, rng)
        except (SynthError, ShapeError) as error:
            reason = str(error)
            continue
        where = np.flatnonzero(altered.mask)
        pixels = _rows(altered.image)[where]
        return Defect(kind=kind, part=part, where=where.astype(np.int32), pixels=pixels)
    return reason


def _rows(pixels: Pixels) -> Pixels:
    """(H, W, C) → (H · W, C)."""
    return pixels.reshape(-1, pixels.shape[2])


def _quartered(defects: Sequence[Defect]) -> Iterator[Defect]:
    """The defects, each with its quarter by area."""
    areas = np.array([defect.where.size for defect in defects], np.int64)
    bins = (
        {name: chosen for name, chosen in size_bins(areas) if name in DISJOINT} if defects else {}
    )
    for index, defect in enumerate(defects):
        yield replace(defect, quarter=next(name for name in bins if bins[name][index]))


class Rehearsal:
    """Hears models one by one, each on parts it was not fitted on, and keeps what they say.

    parts: photographs that take part. defects: made on these. not_made: kind → reasons. seen: as of
    prepare.
    """

    def __init__(
        self,
        parts: tuple[Path, ...],
        defects: tuple[Defect, ...],
        not_made: dict[str, list[str]],
        *,
        seed: int,
        seen: Seen = lambda size: None,
        track: Track,
    ) -> None:
        self.parts, self.defects, self.not_made = parts, defects, not_made
        self.seed, self.seen, self.track = seed, seen, track
        self._by_kind, self._by_size = _Heard(), _Heard()

    def hear(self, score: Callable[[Pixels], tuple[Map, float]], unseen: Sequence[Path]) -> None:
        """What a model, by its Scorer, says about those of `unseen` that take part.

        Raises ImageError if one cannot be read any more, ArtifactError if the model fails on it.
        """
        mine = [part for part in self.parts if part in unseen]
        for part in self.track(mine, "Rehearsing", len(mine)):
            good = read_image(part)
            map, value = score(good)
            seen = self.seen(map.shape)
            for heard in (self._by_kind, self._by_size):
                heard.add(part, GOOD, value, map, None, seen)
            for defect in self.defects:
                if defect.part == part:
                    altered, mask = defect.on(good)
                    map, value = score(altered)
                    self._by_kind.add(part, defect.kind, value, map, mask, seen)
                    self._by_size.add(part, defect.quarter, value, map, mask, seen)

    def result(self, calibration: Calibration) -> dict[str, Any]:
        """What was found at the threshold of `calibration`, as plain JSON.

        "all" (None without any defect), "kinds" and "sizes", four quarters by area, have rows as
        _row makes them; "good" says how many untouched parts were called defective.
        """
        kinds = self._by_kind.images.result(calibration.threshold)
        sizes = self._by_size.images.result(calibration.threshold, bootstrap=0)
        whole = {**kinds.figures, "detection_rate": kinds.detection_rate}
        good = kinds.counts["good"]
        alarms = round((kinds.false_alarm_rate or 0) * good)
        between = kinds.intervals["image_auroc"]
        return {
            "how": calibration.how,
            "seed": self.seed,
            "good": {"parts": good, "called": alarms, "interval": list(wilson(alarms, good))},
            "all": _row(whole, self._by_kind.aupro(), self.defects) if self.defects else None,
            "image_auroc_interval": between and list(between),
            "kinds": {
                kind: _row(
                    row,
                    self._by_kind.aupro(kind),
                    [one for one in self.defects if one.kind == kind],
                )
                for kind, row in kinds.by_type.items()
            },
            "sizes": [
                _row(
                    row,
                    self._by_size.aupro(name),
                    [one for one in self.defects if one.quarter == name],
                )
                for name, row in sizes.by_type.items()
            ],
            "not_made": {
                kind: {"count": len(reasons), "reason": reasons[-1]}
                for kind, reasons in self.not_made.items()
            },
        }


def pictures(
    rehearsal: Rehearsal, most: int | None = None, *, moved: bool
) -> Iterator[tuple[Pixels, bool]]:
    """Good parts untouched, each followed by those with made-up defects, at most so many of it; and
    whether there is a defect. moved: for parts that the model was fitted on; see nudged."""
    rng = np.random.default_rng(rehearsal.seed)
    for part in rehearsal.parts:
        good = read_image(part)
        yield nudged(good, rng) if moved else good, False
        for defect in [one for one in rehearsal.defects if one.part == part][:most]:
            altered = defect.on(good)[0]
            yield nudged(altered, rng) if moved else altered, True


def nudged(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A photograph turned by up to TURN degrees and moved by up to SHIFT of its sides, edges
    repeated. What a model was fitted on is all equally good to it, most of all where there was
    little of that, and an order of equals says nothing; a part that lies a little differently is
    like one that it has not seen."""
    height, width = pixels.shape[:2]
    middle, angle = (width / 2, height / 2), rng.uniform(-TURN, TURN)
    turn = np.asarray(cv2.getRotationMatrix2D(middle, angle, 1), np.float64)
    turn[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    if pixels.dtype.kind == "f":  # what was not measured would spread
        known = np.abs(pixels) < LARGEST
        pixels = np.where(known, pixels, np.median(pixels[known]))
    planes = [  # one by one: OpenCV moves no more than four
        cv2.warpAffine(plane, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        for plane in cv2.split(pixels)
    ]
    return np.stack(planes, axis=2)


class _Heard:
    """What models say of untouched parts and of groups of defects. An Evaluator with all maps would
    measure far more of them than is told, which takes several times longer."""

    def __init__(self) -> None:
        self.images, self.pixels = Evaluator(), AllPixels(Budget())

    def add(
        self,
        part: Path,
        group: str,
        score: float,
        map: Map,
        mask: Mask | None,
        seen: Mask | None,
    ) -> None:
        """Takes one picture; group: of the defect on it, or GOOD."""
        self.images.add(Sample(image=part, split="test", defect_type=group), score)
        self.pixels.add(map, mask, group, seen=seen)

    def aupro(self, group: str | None = None) -> float:
        """AUPRO@30 of a group of defects or of all, among the good pixels of the pictures with them
        and of the untouched parts; the middle between bounds where pixels are too many to keep."""
        self.pixels.sort()
        kinds = self.pixels.kinds if group is None else [GOOD, group]
        numbers = [self.pixels.kinds.index(kind) for kind in kinds]
        own = np.isin(self.pixels.defects.regions().kind, numbers)
        sides = (True,) if self.pixels.exact else (True, False)
        values = [overlap(self.pixels, kinds, [0.3], optimistic=side)[own].mean() for side in sides]
        return float(np.mean(values))


def _row(figures: dict[str, Any], aupro: float, defects: Sequence[Defect]) -> dict[str, Any]:
    """made, found and Wilson's interval of that share; image_auroc and aupro_30 against the
    untouched parts; area_px, the least and the greatest."""
    areas = [defect.where.size for defect in defects]
    found = round(figures["detection_rate"] * len(areas))
    return {
        "made": len(areas),
        "found": found,
        "interval": list(wilson(found, len(areas))),
        "image_auroc": figures["image_auroc"],
        "aupro_30": aupro,
        "area_px": [min(areas), max(areas)],
    }
