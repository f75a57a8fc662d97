"""The good parts a model is fitted on, and those it is kept from so that it can be calibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from blemish.errors import DataError
from blemish.frame import Frame
from blemish.nets.features import Fact, Features

FEWEST = 4  # good images; fewer cannot be split in any useful way
FOLDS = 5
FEW = 40  # good images up to which each is left out by itself
ODD_ASPECT = 1.5  # of sides, beyond which a person is told that the model sees a square
FEW_FITS = 3  # folds of so few, where a fit takes minutes


@dataclass(frozen=True, kw_only=True)
class GoodParts:
    """The good images that could be read, each content once."""

    paths: tuple[Path, ...]
    features: Features
    facts: tuple[Fact, ...]
    frame: Frame

    def part(self, indices: Sequence[int]) -> GoodParts:
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            features=self.features.part(indices),
            facts=tuple(self.facts[i] for i in indices),
        )


def usable(
    paths: Sequence[Path],
    features: Features,
    facts: Sequence[Fact],
    frame: Frame,
    warn: Callable[[str], None],
) -> GoodParts:
    """Leaves out unreadable images and repeated contents, telling `warn` each time.

    A picture that is there twice would be fitted and calibrated on at once. Raises DataError if
    too few are left.
    """
    read = [(path, fact) for path, fact in zip(paths, facts, strict=True) if fact.error is None]
    for fact in facts:
        if fact.error is not None:
            warn(f"left out: {fact.error}")
    first: dict[str, int] = {}
    for index, (path, fact) in enumerate(read):
        if fact.sha256 in first:
            warn(f"left out: '{path}' has the same bytes as '{read[first[fact.sha256]][0]}'.")
        first.setdefault(fact.sha256, index)
    kept = list(first.values())
    if len(kept) < FEWEST:
        why = next((f" {fact.error}" for fact in facts if fact.error is not None), "")
        raise DataError(
            f"fitting needs at least {FEWEST} different readable good images, but got {len(kept)}"
            f" from {len(paths)} files. Photograph more good parts; 30 are a start, 300 are good."
            f"{why}"
        )
    return GoodParts(
        paths=tuple(read[i][0] for i in kept),
        features=features.part(kept),
        facts=tuple(read[i][1] for i in kept),
        frame=frame,
    )


def remarks(good: GoodParts) -> Iterator[str]:
    """What a person should know of how photographs are looked at."""
    tiles, features = good.frame.tiles, good.features
    if tiles is not None:
        every = sum(
            len(tiles.corners(fact.size, good.frame.seen(fact.size))) for fact in good.facts
        )
        if len(features) < every:
            yield f"learning from {len(features)} of {every} windows, drawn evenly."
    elif good.frame.fit == "stretch" and good.features.origin.sight is None:
        longest = max(max(fact.size) / min(fact.size) for fact in good.facts)
        if longest > ODD_ASPECT:
            yield (
                f"photographs up to {longest:.1f} times as long as wide are squeezed to a square"
                " before the model sees them. --pad keeps their shape, --tile looks at them in"
                " windows."
            )


@dataclass(frozen=True, kw_only=True)
class Split:
    """folds: numbers of the parts that one model each must not see. how: as in Calibration; "held
    out" has one fold, which the final model does not see either."""

    how: Literal["held out", "cross-fitted"]
    folds: tuple[list[int], ...]


def split(count: int, false_alarms: float, seed: int, trained: bool) -> Split:
    """A fifth of more than 40 parts is held out when that is enough to express the rate asked for.

    Otherwise every part is scored by a model fitted without its fifth (up to 40 parts without it
    alone: a model of fewer parts would score too high; or its third, where a fit takes minutes).
    """
    order = np.random.default_rng(seed).permutation(count)
    few = FEW_FITS if trained else count
    number = few if count <= FEW else FOLDS
    folds = tuple(sorted(fold.tolist()) for fold in np.array_split(order, number))
    if count > FEW and len(folds[-1]) + 1 >= 1 / false_alarms:
        return Split(how="held out", folds=folds[-1:])
    return Split(how="cross-fitted", folds=folds)
