"""A suite: which methods meet which data sets with which seeds. From TOML, or from a folder.

name = "My parts"
seeds = [0, 1, 2]

[[data]]
path = "mvtec_ad"                  # a category, or a folder of categories
categories = ["bottle", "screw"]   # optional; all that are there
layout = "auto"                    # optional; see docs/data.md

[[method]]
method = "padim"
preset = "embedded"                # optional
label = "PaDiM, 320 px"            # optional; how tables call it
settings = { size = 320 }          # optional
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blemish.data.layouts import LAYOUTS
from blemish.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

METHODS = (
    "padim",
    "patchcore",
    "fbft",
    "fractalad",
    "stlm",
    "lsfa",
)  # by name: to read a suite needs no torch


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """One data set of a suite. path: as it was written. categories: () takes all there are."""

    path: str
    categories: tuple[str, ...] = ()
    layout: str = "auto"


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """One row of the tables. maps: folder of maps that another tool wrote, instead of a method."""

    label: str
    method: str = ""
    preset: str = "embedded"
    settings: tuple[tuple[str, Any], ...] = ()
    maps: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A grid of methods, data sets and seeds. root: what relative data paths start from.

    n_thresholds: None measures AUPRO over the whole curve, else between so many thresholds.
    """

    name: str
    data: tuple[DataEntry, ...]
    methods: tuple[MethodEntry, ...]
    seeds: tuple[int, ...]
    root: Path
    n_thresholds: int | None = None

    def path(self, entry: DataEntry) -> Path:
        """Where a data set should lie."""
        return self.root / entry.path


def read_suite(
    path: Path, *, data: Path | None, maps: Sequence[str], n_thresholds: int | None = None
) -> Suite:
    """A suite from a TOML file, or, from a folder, all methods on that data set.

    data: what relative data paths start from; None takes $BLEMISH_DATA, or the suite's own folder.
    maps: "NAME=DIR" or "DIR" of other tools' maps, a method each. n_thresholds: as of Suite.
    Raises ConfigError on anything that is not as the head of this file says.
    """
    if path.is_dir():
        suite = _of_folder(path.resolve())
    else:
        environment = os.environ.get("BLEMISH_DATA")
        root = data or (Path(environment) if environment else path.parent)
        suite = _suite(_load(path), root.resolve(), path)
    methods = suite.methods + tuple(map(_peer, maps))
    suite = replace(suite, methods=methods, n_thresholds=n_thresholds)
    labels = [entry.label for entry in suite.methods]
    if not labels or len(labels) != len(set(labels)):
        raise ConfigError(
            f"suite '{path}' must have at least one method and no label twice, but has {labels}."
            " Give each [[method]] a label of its own."
        )
    return suite


def _of_folder(path: Path) -> Suite:
    return Suite(
        name=path.name,
        data=(DataEntry(path=str(path)),),
        methods=tuple(MethodEntry(label=name, method=name) for name in METHODS),
        seeds=(0,),
        root=path,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"'{path}' must be a suite (TOML) or a data set's folder, but the system says:"
            f" {error.strerror}. Check the name."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"suite '{path}' must be TOML, but: {error}. Correct it there."
        ) from error


def _suite(table: dict[str, Any], root: Path, path: Path) -> Suite:
    where = f"suite '{path}'"
    _check(table, {"name": str, "seeds": list, "data": list, "method": list}, where)
    seeds = table.get("seeds", [0])
    whole = all(type(seed) is int and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds of {where} must be different whole numbers, but are {seeds}.")
    if not table.get("data"):
        raise ConfigError(f"{where} must have at least one [[data]] with a path, but has none.")
    return Suite(
        name=table.get("name", path.stem),
        data=tuple(_data(entry, where) for entry in table["data"]),
        methods=tuple(_method(entry, where) for entry in table.get("method", [])),
        seeds=tuple(seeds),
        root=root,
    )


def _data(entry: Any, where: str) -> DataEntry:
    where = f"[[data]] of {where}"
    _check(entry, {"path": str, "categories": list, "layout": str}, where, needs="path")
    layout = entry.get("layout", "auto")
    if layout not in (known := ("auto", *LAYOUTS)):
        raise ConfigError(f"layout in {where} must be one of {known}, but is '{layout}'.")
    categories = tuple(entry.get("categories", ()))
    if not all(isinstance(name, str) for name in categories):
        raise ConfigError(f"categories in {where} must be names, but are {categories}.")
    return DataEntry(path=entry["path"], categories=categories, layout=layout)


def _method(entry: Any, where: str) -> MethodEntry:
    where = f"[[method]] of {where}"
    kinds = {"method": str, "preset": str, "label": str, "settings": dict}
    _check(entry, kinds, where, needs="method")
    if entry["method"] not in METHODS:
        raise ConfigError(
            f"method in {where} must be one of {METHODS}, but is '{entry['method']}'."
        )
    preset = entry.get("preset", "embedded")
    label = entry["method"] if preset == "embedded" else f"{entry['method']} {preset}"
    return MethodEntry(
        label=entry.get("label", label),
        method=entry["method"],
        preset=preset,
        settings=tuple(entry.get("settings", {}).items()),
    )


def _check(
    table: Any, kinds: Mapping[str, type[Any]], where: str, *, needs: str | None = None
) -> None:
    """Raises ConfigError on unknown keys, naming the nearest, on wrong types and missing keys."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, but is {table!r}. Write it as [[…]].")
    for name, value in table.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"'{name}' in {where} must be one of {sorted(kinds)}. Did you mean '{near}'?"
            )
        if not isinstance(value, kinds[name]):
            raise ConfigError(
                f"{name} in {where} must be a {kinds[name].__name__}, but is {value!r}."
            )
    if needs and needs not in table:
        raise ConfigError(f"{where} must have a {needs}, but has {sorted(table)}. Add it.")


def _peer(words: str) -> MethodEntry:
    name, _, folder = words.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"--maps must be DIR or NAME=DIR, but there is no folder '{folder}'.")
    return MethodEntry(label=name or path.resolve().name, maps=path.resolve())
