"""Runs a suite: every cell once, failures kept as rows, results written as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.bench.cells import (
    DONE,
    FAILED,
    Category,
    Cell,
    cell_key,
    cells,
    dataset_of,
    fingerprint,
    keep,
    kept,
    map_files,
)
from blemish.bench.gallery import write_gallery
from blemish.bench.suite import Suite
from blemish.data import Dataset
from blemish.errors import BlemishError, DataError, ShapeError, needs_extra
from blemish.images import decode_image, read_image, read_map, write_whole
from blemish.metrics.evaluate import Evaluator
from blemish.metrics.evaluation import Evaluation
from blemish.records import Map, Sample
from blemish.scoring import score_dataset, score_samples
from blemish.track import Track, silent

CELLS, RESULTS = "cells", "results.jsonl"


def run_suite(suite: Suite, out: Path, *, track: Track = silent) -> list[dict[str, Any]]:
    """A row for each cell, in the suite's order; also in out/results.jsonl, stopped or not.

    Cells whose result lies in out/cells are not computed again. A cell that fails is a row with
    status "failed" and its reason, and is tried again next time; a data set that is not there is
    a row with status "absent". Raises DataError if `out` cannot be written.
    """
    todo = list(cells(suite))
    opened: dict[Category, tuple[Dataset, str]] = {}
    rows: list[dict[str, Any]] = []
    try:
        for item in track(todo, "Running cells", len(todo)):
            rows.append(item if isinstance(item, dict) else _run(item, opened, out))
    finally:  # Ctrl-C passes here, too
        lines = [json.dumps(_flat(row), allow_nan=False) for row in rows]
        write_whole(out / RESULTS, "".join(f"{line}\n" for line in lines).encode())
    return rows


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row for results.jsonl: curves are for plots alone."""
    return {name: value for name, value in row.items() if name != "curves"}


def _run(cell: Cell, opened: dict[Category, tuple[Dataset, str]], out: Path) -> dict[str, Any]:
    try:
        if cell.category not in opened:
            dataset = dataset_of(cell.category)
            opened[cell.category] = (dataset, fingerprint(dataset))
        dataset, data = opened[cell.category]
        entry = cell.method
        config = map_files(entry.maps) if entry.maps else _config(cell)
        key = cell_key(cell, data, config)
        row = kept(out / CELLS, key)
        if row is None:
            found = _maps(cell, dataset) if entry.maps else _fit(cell, dataset)
            row = {**cell.head(), "status": DONE, "key": key, "config": config, **_row(found)}
            write_gallery(out / CELLS / key, dataset, found.map_of, found.evaluation)
            keep(out / CELLS, key, row)
        return row
    except BlemishError as error:
        return {**cell.head(), "status": FAILED, "reason": str(error)}
    except Exception as error:  # a night of work is not lost to one cell, whatever befell it
        return {**cell.head(), "status": FAILED, "reason": f"{type(error).__name__}: {error}"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a cell's work gave. map_of: the map of one more picture, for the gallery."""

    evaluation: Evaluation
    map_of: Callable[[Sample], Map]
    seconds: dict[str, float]
    left_out: tuple[str, ...]
    scored: bool  # whether there is a threshold to judge by


def _row(found: Found) -> dict[str, Any]:
    figures = found.evaluation.to_json()
    if not found.scored:
        figures.update(threshold=None, false_alarm_rate=None, detection_rate=None)
        figures["by_type"] = {
            kind: {**row, "detection_rate": None} for kind, row in figures["by_type"].items()
        }
    curves = {
        name: None if curve is None else [part.tolist() for part in curve]
        for name, curve in (("roc", found.evaluation.roc), ("pro", found.evaluation.pro))
    }
    rest = {"seconds": found.seconds, "left_out": list(found.left_out), "curves": curves}
    return {"figures": figures, **rest}


def _config(cell: Cell) -> dict[str, Any]:
    with needs_extra("fitting", "train"):
        from blemish.fitting import choose
        from blemish.methods.base import as_json
    entry = cell.method
    _, config = choose(entry.method, entry.preset, dict(entry.settings))
    return {"method": entry.method, "preset": entry.preset, **as_json(config)}


def _fit(cell: Cell, dataset: Dataset) -> Found:
    from blemish.fitting import fit_folder

    entry, category = cell.method, cell.category
    start = time.perf_counter()
    inspector = fit_folder(
        category.path,
        layout=category.layout,
        method=entry.method,
        preset=entry.preset,
        settings=dict(entry.settings),
        seed=cell.seed,
    )
    fitted = time.perf_counter()

    calibration = inspector.artifact.calibration
    evaluator = Evaluator(pixel_threshold=calibration.extent)
    judged = score_dataset(inspector, dataset, evaluator)
    scored = time.perf_counter()
    return Found(
        evaluation=evaluator.result(calibration.threshold, n_thresholds=cell.n_thresholds),
        map_of=lambda sample: inspector.score(read_image(sample.image))[0],
        seconds={"fit": fitted - start, "score": scored - fitted},
        left_out=judged.left_out,
        scored=True,
    )


def _maps(cell: Cell, dataset: Dataset) -> Found:
    files = maps_of(cell, dataset)

    def predict(data: bytes, sample: Sample) -> tuple[Map, float]:
        map = read_map(files[sample.image])
        size = decode_image(data, str(sample.image)).shape[:2]
        if map.shape != size:
            raise ShapeError(
                f"map '{files[sample.image]}' must have its image's size {size[0]} x {size[1]}, but"
                f" is {map.shape[0]} x {map.shape[1]}. Resize it where it is written, as its tool"
                f" would: cv2.resize(map, ({size[1]}, {size[0]})); see docs/bench.md."
            )
        return map, float(map.max())

    start = time.perf_counter()
    judged = score_samples(dataset, predict, set(), evaluator := Evaluator())
    scored = time.perf_counter()
    return Found(
        evaluation=evaluator.result(0.0, n_thresholds=cell.n_thresholds),
        map_of=lambda sample: read_map(files[sample.image]),
        seconds={"score": scored - start},
        left_out=judged.left_out,
        scored=False,
    )


def maps_of(cell: Cell, dataset: Dataset) -> dict[Path, Path]:
    """The map file of each test image, as another tool wrote it.

    Below the tool's folder a map lies where its image lies below the data set, with the suffix
    .tiff, .tif or .map.tiff; a folder named after the category (or anomaly_maps/ and then the
    category) may come first. Raises DataError naming an image and the places without its map.
    """
    folder = cell.method.maps or Path()
    tops = [folder / "anomaly_maps" / cell.category.name, folder / cell.category.name, folder]
    top = next(one for one in tops if one.is_dir())
    found = {}
    for sample in dataset.test:
        place = top / sample.image.relative_to(dataset.root)
        tries = [place.with_suffix(suffix) for suffix in (".tiff", ".tif", ".map.tiff")]
        file = next((one for one in tries if one.is_file()), None)
        if file is None:
            there = list(map_files(top))
            example = f", such as '{there[0]}'" if there else ""
            raise DataError(
                f"'{sample.image}' must have its map at '{tries[0]}', but of the {len(there)} TIFF"
                f" files below '{top}'{example}, none is. Write a float32 TIFF of the image's own"
                f" size for each of the {len(dataset.test)} test images, with the folders that the"
                " images have below the data set."
            )
        found[sample.image] = file
    return found
