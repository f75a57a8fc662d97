"""The cells of a suite: what each is, the content that names it, and what running it gives.

A cell is one method (or one tool's maps) on one category with one seed. Its key is a hash of all
that its result depends on: pictures and masks byte by byte, settings, seed, how AUPRO is measured,
and the version of blemish. A result is kept under its key, so that a run that was killed goes on
where it was, and nothing is computed twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blemish
from blemish.bench.suite import DataEntry, MethodEntry, Suite
from blemish.data import Dataset, categories, open_data
from blemish.errors import BlemishError, DataError
from blemish.images import write_whole

ABSENT, FAILED, DONE = "absent", "failed", "done"


@dataclass(frozen=True, kw_only=True)
class Category:
    """One part of a data set: its name in tables and where it lies."""

    data: str
    name: str
    path: Path
    layout: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method on one category with one seed. n_thresholds: how AUPRO is measured, see Suite."""

    category: Category
    method: MethodEntry
    seed: int
    n_thresholds: int | None

    def head(self) -> dict[str, Any]:
        """What a row begins with, whatever became of the cell."""
        return {
            "data": self.category.data,
            "category": self.category.name,
            "method": self.method.label,
            "seed": self.seed,
        }


def cells(suite: Suite) -> Iterator[Cell | dict[str, Any]]:
    """All cells, category by category; for a data set that cannot be opened a row that says so."""
    for entry in suite.data:
        name = Path(entry.path).name
        try:
            found = _categories(suite.path(entry), entry)
        except BlemishError as error:
            status = FAILED if suite.path(entry).exists() else ABSENT
            yield {"data": name, "status": status, "reason": str(error)}
            continue
        for category, path in found:
            place = Category(data=name, name=category, path=path, layout=entry.layout)
            for method in suite.methods:
                # another tool's maps are what they are, whatever the seed
                for seed in suite.seeds[:1] if method.maps else suite.seeds:
                    coarse = suite.n_thresholds
                    yield Cell(category=place, method=method, seed=seed, n_thresholds=coarse)


def _categories(path: Path, entry: DataEntry) -> list[tuple[str, Path]]:
    if not path.is_dir():
        raise DataError(
            f"'{path}' must be a data set's folder, but does not exist. Put the data set there,"
            " or say where it is with --data DIR or BLEMISH_DATA."
        )
    found = dict(categories(path)) or {path.name: path}
    if missing := [name for name in entry.categories if name not in found]:
        raise DataError(
            f"'{path}' must hold the categories {missing}, but has {sorted(found)}."
            " Correct the suite, or complete the data set."
        )
    return [(name, found[name]) for name in (entry.categories or found)]


def fingerprint(dataset: Dataset) -> str:
    """Hash of every file of a data set's samples, with names, roles and parts."""
    total = hashlib.sha256(dataset.layout.encode())
    seen: dict[Path, str] = {}
    for sample in (*dataset.train, *dataset.test):
        files = {n: file for n, file in vars(sample).items() if isinstance(file, Path)}
        for role, file in files.items():
            if file not in seen:
                seen[file] = hashlib.sha256(file.read_bytes()).hexdigest()
            name = file.relative_to(dataset.root) if file.is_relative_to(dataset.root) else file
            words = (sample.split, sample.defect_type, role, name.as_posix(), seen[file])
            total.update("\0".join(words).encode(errors="surrogateescape"))
    return total.hexdigest()


def cell_key(cell: Cell, data: str, config: dict[str, Any]) -> str:
    """Name of a cell's result. data: the data set's fingerprint; config: all settings."""
    facts = [
        cell.head(), cell.n_thresholds, data, config, blemish.__version__, _source_hash(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _source_hash() -> str:
    """Hash of blemish's own code: while it is written, its version alone says too little."""
    total = hashlib.sha256()
    for file in sorted(Path(blemish.__file__).parent.rglob("*.py")):
        if file.parent.name != "report":  # it changes pages, not figures
            total.update(file.read_bytes())
    return total.hexdigest()


def map_files(folder: Path) -> dict[str, str]:
    """Content of every map below a folder, by name: what a cell of another tool depends on."""
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".tif", ".tiff"))
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in found
    }


def kept(folder: Path, key: str) -> dict[str, Any] | None:
    """The result of a cell that is done, if it is."""
    path = folder / f"{key}.json"
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and row.get("status") == DONE else None


def keep(folder: Path, key: str, row: dict[str, Any]) -> None:
    """Writes a cell's result, whole or not at all."""
    write_whole(folder / f"{key}.json", json.dumps(row, allow_nan=False).encode())


def dataset_of(category: Category) -> Dataset:
    """The category, opened. Raises DataError."""
    return open_data(category.path, layout=category.layout)
