"""The same few test images under every method: small pictures with heat on one scale each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from blemish.data import Dataset
from blemish.errors import ImageError
from blemish.images import read_image, read_mask, write_whole
from blemish.metrics.evaluation import Evaluation
from blemish.records import Map, Sample
from blemish.report.html import small_jpeg
from blemish.report.overlay import RGB, as_rgb, heat, outline

SHOWN = 6  # images a category
LARGEST = (150, 240)  # height and width of a picture, at most
QUIET = 0.998  # share of a good picture's pixels that stay without heat
TRUTH = (57, 211, 83)  # green, as in the report


def chosen(dataset: Dataset) -> list[Sample]:
    """One good image and the middle one of each type of defect, then more of these in turn."""
    kinds: dict[str, list[Sample]] = {}
    for sample in dataset.test:
        kinds.setdefault(sample.defect_type, []).append(sample)
    good = kinds.pop("good", [])
    rest = [_from_the_middle(of) for of in kinds.values()]
    turns = [of[turn] for turn in range(SHOWN) for of in rest if turn < len(of)]
    return [*_from_the_middle(good)[:1], *turns][:SHOWN]


def _from_the_middle(samples: list[Sample]) -> list[Sample]:
    return samples[len(samples) // 2 :] + samples[: len(samples) // 2]


def write_gallery(
    folder: Path,
    dataset: Dataset,
    map_of: Callable[[Sample], Map],
    evaluation: Evaluation,
) -> None:
    """Writes 0.jpg, 1.jpg, … below `folder`, one for each of the chosen images."""
    maps = []
    for number, sample in enumerate(chosen(dataset)):
        try:
            maps.append((number, sample, map_of(sample)))
        except ImageError:
            continue  # told among those left out
    good = [map for _, sample, map in maps if not sample.is_defect]
    quiet = good or [map for _, _, map in maps]
    low = max((float(np.quantile(map, QUIET)) for map in quiet), default=0.0)
    sizes = evaluation.sizes
    level = sizes.detection.level if sizes and sizes.detection else low
    for number, sample, map in maps:
        picture = heat(as_rgb(read_image(sample.image)), map, (low, max(level, low)))
        write_whole(folder / f"{number}.jpg", small_jpeg(picture, LARGEST))


def truth(sample: Sample) -> RGB:
    """The photograph with what a person marked on it."""
    picture = as_rgb(read_image(sample.image))
    if sample.mask is None:
        return picture
    size = (picture.shape[0], picture.shape[1])
    return outline(picture, read_mask(sample.mask, size), TRUTH)
