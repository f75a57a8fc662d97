"""Many images through one Inspector: files for `inspect`, a data set for `evaluate`.

One bad file never stops the rest: it is reported with its reason.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from blemish.artifact import Artifact
from blemish.data import Dataset, list_images
from blemish.errors import DataError, ImageError, about
from blemish.images import (
    decode_image,
    pixel_count,
    read_bytes,
    read_image,
    read_mask,
    write_map,
    write_png,
)
from blemish.metrics.evaluate import Evaluator
from blemish.metrics.evaluation import Scored
from blemish.pipeline import failed, in_order, large_ones_alone
from blemish.records import Map, Mask, Outcome, Prediction, Sample, Seen
from blemish.report.overlay import draw_overlay, highest, shrinkage, smaller
from blemish.report.view import View, draw_pair
from blemish.runtime import Inspector
from blemish.shots import PHOTOGRAPH, Shot, read_shot
from blemish.track import Track, silent


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to inspect, and the path (without suffix) under which its pictures go."""

    image: Path
    output: Path | None


def jobs(inputs: Sequence[Path], folder: Path | None) -> list[Job]:
    """The images of all inputs, each with a place of its own below `folder`.

    Sub-folders of an input are kept; with several inputs each gets a sub-folder of its name.
    Raises DataError if an input does not exist or holds no image.
    """
    taken: set[str] = set()
    found = []
    for given in inputs:
        root = given if given.is_dir() else given.parent
        top = Path(root.resolve().name) if len(inputs) > 1 and given.is_dir() else Path()
        for image in list_images(given):
            inside = top / image.relative_to(root).parent
            output = folder / _unused(inside, image, taken) if folder else None
            found.append(Job(image=image, output=output))
    return found


def _unused(inside: Path, image: Path, taken: set[str]) -> Path:
    """<stem>; where a.png and a.jpg meet the second keeps its suffix, then they are numbered."""
    names = chain((image.stem, image.name), (f"{image.name}-{n}" for n in count(2)))
    name = next(name for name in names if str(inside / name).casefold() not in taken)
    taken.add(str(inside / name).casefold())
    return inside / name


def inspect_all(
    inspector: Inspector, todo: Iterable[Job], without: Sequence[str] = (), workers: int = 1
) -> Iterator[Outcome]:
    """Inspects images in their order, several side by side if there are workers, leaving out
    modalities if told so. Raises DataError only if pictures cannot be written."""
    inspector.artifact.calibration_without(without)  # an unknown name is no fault of the images

    def work(job: Job) -> Outcome:
        start = time.perf_counter()
        try:
            shot = inspector.artifact.shot_of(job.image).without(without)
            prediction = inspector.inspect_shot(shot)
        except (ImageError, MemoryError) as error:
            return failed(job.image, error)
        spent = (time.perf_counter() - start) * 1000
        if job.output is not None:
            draw(inspector.artifact, job.output, shot, prediction)
        return Outcome(file=job.image, prediction=replace(prediction, ms=spent))

    careful = large_ones_alone(work, lambda job: pixel_count(job.image))
    return in_order(work if workers == 1 else careful, todo, workers)


def draw(
    artifact: Artifact, output: Path, shot: Shot, prediction: Prediction, *, durable: bool = False
) -> None:
    """Writes <output>.overlay.png and <output>.map.tiff of what was seen. durable: waits until the
    disk has them. Raises DataError if they cannot be written."""
    calibration, _ = artifact.calibration_of(shot)
    levels = (calibration.extent, calibration.seed)
    pixels = shot.pictures.get(PHOTOGRAPH)
    if artifact.sight is not None and artifact.sight.points != "none":
        picture = draw_pair(pixels, shot.scan, prediction, levels)
    elif pixels is not None:
        picture = draw_overlay(pixels, prediction, levels)
    else:  # a further photograph lies pixel on pixel with the one that is missing
        picture = draw_overlay(next(iter(shot.pictures.values())), prediction, levels)
    write_png(Path(f"{output}.overlay.png"), picture, durable=durable)
    write_map(Path(f"{output}.map.tiff"), prediction.map, durable=durable)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A data set scored. items: without maps and masks. left_out: sentences on the images that did
    not take part. unreadable: how many of them could not be read."""

    items: tuple[Scored, ...]
    left_out: tuple[str, ...]
    unreadable: int


def score_dataset(
    inspector: Inspector,
    dataset: Dataset,
    evaluator: Evaluator,
    *,
    without: Sequence[str] = (),
    track: Track = silent,
) -> Judged:
    """Scores the test part. Images the model was fitted or calibrated on do not take part.

    without: modalities that are left out. Raises DataError if nothing is left to evaluate.
    """

    def predict(data: bytes, sample: Sample) -> tuple[Map, float]:
        sight = inspector.artifact.sight
        if sight is None:
            return inspector.score(decode_image(data, str(sample.image)))
        return inspector.score(read_shot(sight.needed(sample))[0].without(without))

    known = set(inspector.artifact.about.get("data", {}).get("sha256", ()))
    seen = inspector.artifact.frame.seen
    return score_samples(dataset, predict, known, evaluator, seen=seen, track=track)


def score_samples(
    dataset: Dataset,
    predict: Callable[[bytes, Sample], tuple[Map, float]],
    known: set[str],
    evaluator: Evaluator,
    *,
    seen: Seen = lambda size: None,
    track: Track = silent,
) -> Judged:
    """Hands the map of each test image to the evaluator, which forgets it.

    predict: the image file's bytes and its sample → native map and score. known: sha256 of images
    that do not take part. seen: (H, W) of a map → which of its pixels are inspected, None: all; a
    part whose defect lies entirely elsewhere does not take part. Raises DataError if none is left.
    """
    items: list[Scored] = []
    left_out: list[str] = list(dataset.notes)
    fitted = unreadable = 0
    for sample in track(dataset.test, "Evaluating", len(dataset.test)):
        try:
            data = read_bytes(sample.image)
            if hashlib.sha256(data).hexdigest() in known:
                fitted += 1
                continue
            map, score = predict(data, sample)
            size = (map.shape[0], map.shape[1])
            mask = read_mask(sample.mask, size) if sample.mask else None
        except ImageError as error:
            left_out.append(f"left out: {about(error, sample.image)}")
            unreadable += 1
            continue
        inspected = seen(size)
        if _lies_outside(mask, inspected):
            left_out.append(
                f"left out: '{sample.image}': its defect is entirely outside of what is inspected."
            )
            continue
        evaluator.add(sample, score, map, mask, inspected)
        items.append(Scored(sample=sample, score=score))
    if fitted:
        left_out.append(f"left out: {fitted} images the model was fitted or calibrated on.")
    if not items:
        raise DataError(
            f"'{dataset.root}' must hold images to evaluate on, but none is left of"
            f" {len(dataset.test)}. Give good and defective parts the model has not seen. "
            + " ".join(left_out)
        )
    return Judged(items=tuple(items), left_out=tuple(left_out), unreadable=unreadable)


def _lies_outside(mask: Mask | None, seen: Mask | None) -> bool:
    """Whether something is marked, and none of it is inspected."""
    if mask is None or seen is None:
        return False
    return bool(mask.any()) and not bool((mask & seen).any())


def view(inspector: Inspector, item: Scored, without: Sequence[str] = ()) -> View:
    """The part as the report shows it; large photographs smaller, as overlays are."""
    pixels = read_image(item.sample.image)
    shot = Shot(pictures={PHOTOGRAPH: pixels})
    if inspector.artifact.sight is not None:
        shot = read_shot(inspector.artifact.sight.needed(item.sample))[0]
    seen = shot.without(without)
    calibration, _ = inspector.artifact.calibration_of(seen)
    share = shrinkage(pixels) if shot.scan is None else 1
    pixels, prediction = smaller(pixels, inspector.inspect_shot(seen), share)
    mask = read_mask(item.sample.mask, shot.size) if item.sample.mask else None
    return View(
        pixels=pixels,
        prediction=prediction,
        levels=(calibration.extent, calibration.seed),
        mask=mask if mask is None else highest(mask, share),
        scan=shot.scan,
    )
