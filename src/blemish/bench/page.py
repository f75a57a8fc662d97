"""A suite's results as one HTML page: tables, curves, sizes, and the same pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.bench.cells import DONE, Category, Cell, cells, dataset_of
from blemish.bench.gallery import LARGEST, chosen, truth
from blemish.bench.plots import by_area, curves, share_by_size
from blemish.bench.run import CELLS
from blemish.bench.suite import Suite
from blemish.bench.tables import SHOWN, legend, problems, shown, tables
from blemish.errors import BlemishError
from blemish.images import write_whole
from blemish.report.html import data_uri, small_jpeg, template

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Plots and pictures of one category. gallery: (name of the image, truth, method → picture)."""

    title: str
    roc: str | None
    pro: str | None
    sizes: str | None
    area: str | None
    gallery: list[tuple[str, str, dict[str, str]]]


def write_page(suite: Suite, rows: Sequence[Row], out: Path, foot: str) -> Path:
    """Writes out/report.html, whole or not at all, and returns its path."""
    text = template("bench.html").render(
        title=suite.name,
        tables=tables(rows),
        figures=SHOWN,
        shown=shown,
        legend=legend(rows),
        problems=problems(rows),
        sheets=[_sheet(place, rows, out / CELLS) for place in _places(suite)],
        foot=foot,
    )
    path = out / "report.html"
    write_whole(path, text.encode("utf-8", "backslashreplace"))
    return path


def _places(suite: Suite) -> list[Category]:
    found = [item.category for item in cells(suite) if isinstance(item, Cell)]
    return list(dict.fromkeys(found))


def _sheet(place: Category, rows: Sequence[Row], kept: Path) -> Sheet:
    first: dict[str, Row] = {}
    for row in rows:
        if row["status"] == DONE and (row["data"], row["category"]) == (place.data, place.name):
            first.setdefault(row["method"], row)  # the first seed
    drawn = {name: _curves(first, name) for name in ("roc", "pro")}
    sizes = {m: row["figures"]["sizes"] for m, row in first.items() if row["figures"]["sizes"]}
    found = {m: one["detection"] for m, one in sizes.items() if one["detection"]}
    return Sheet(
        title=place.name if place.name == place.data else f"{place.data} · {place.name}",
        roc=curves(drawn["roc"], "good parts rejected", "defective parts found"),
        pro=curves(drawn["pro"], "good pixels marked", "share of each defect found"),
        sizes=share_by_size(sizes),
        area=by_area(found),
        gallery=_gallery(place, first, kept) if first else [],
    )


def _curves(rows: Mapping[str, Row], name: str) -> dict[str, tuple[list[float], list[float]]]:
    found = {method: row["curves"][name] for method, row in rows.items()}
    return {method: (curve[0], curve[1]) for method, curve in found.items() if curve}


def _gallery(
    place: Category, rows: Mapping[str, Row], kept: Path
) -> list[tuple[str, str, dict[str, str]]]:
    found = []
    for number, sample in enumerate(chosen(dataset_of(place))):
        try:
            picture = small_jpeg(truth(sample), LARGEST)
        except BlemishError:
            continue  # unreadable: told among the problems of its cells
        files = {m: kept / row["key"] / f"{number}.jpg" for m, row in rows.items()}
        shots = {m: data_uri(file.read_bytes()) for m, file in files.items() if file.is_file()}
        name = f"{sample.defect_type}/{sample.image.name}"
        found.append((name, data_uri(picture), shots))
    return found
