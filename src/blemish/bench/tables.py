"""Rows of a suite → tables: means over seeds, intervals, ranks; as plain values and as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.bench.cells import DONE
from blemish.report.text import aupro_mode

SHOWN = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro_30": "AUPRO@30",
    "aupro_10": "AUPRO@10",
    "aupro_05": "AUPRO@5",
    "aupro_01": "AUPRO@1",
}
RANKED = ("image_auroc", "aupro_30")
# Student's t at 97.5 % for 1, 2, … degrees of freedom
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NORMAL = 1.96
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A mean and its 95 % interval. how: what the interval is about: "seeds" (Student's t over the
    seeds' means), "images" (bootstrap over test images, mean over what is averaged), or None."""

    mean: float
    low: float | None = None
    high: float | None = None
    how: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """One data set, or one category of it: a line a method, best mean rank first.

    over: the categories that every line is a mean of: those that all methods finished.
    values: method → figure → value; None where a figure has no meaning.
    ranks: method → figure → its rank among the methods, 1 is best, ties share, mean over `over`.
    """

    title: str
    over: tuple[str, ...]
    values: dict[str, dict[str, Value | None]]
    ranks: dict[str, dict[str, float]]


def tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each data set, and one for each category where there are several."""
    done = [row for row in rows if row["status"] == DONE]
    found = []
    for data in _unique(row["data"] for row in rows):
        of_data = [row for row in done if row["data"] == data]
        methods = _unique(row["method"] for row in of_data)  # those that finished anything
        categories = _unique(row["category"] for row in of_data)
        shared = [c for c in categories if _finished(of_data, c) >= set(methods)]
        if shared:
            found.append(_table(data, of_data, shared, methods))
        if len(categories) > 1:
            found += [
                _table(f"{data} · {name}", of_data, [name], sorted(_finished(of_data, name)))
                for name in categories
            ]
    return found


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _finished(rows: Sequence[Row], category: str) -> set[str]:
    return {row["method"] for row in rows if row["category"] == category}


def _table(title: str, rows: Sequence[Row], over: list[str], methods: Sequence[str]) -> Table:
    by = {
        method: [row for row in rows if row["method"] == method and row["category"] in over]
        for method in methods
    }
    values = {m: {figure: value(of, figure) for figure in SHOWN} for m, of in by.items()}
    ranks = {figure: _ranks(by, over, figure) for figure in RANKED}
    order = sorted(methods, key=lambda m: sum(ranks[f].get(m, math.inf) for f in RANKED))
    return Table(
        title=title,
        over=tuple(over),
        values={method: values[method] for method in order},
        ranks={m: {f: ranks[f][m] for f in RANKED if m in ranks[f]} for m in order},
    )


def value(rows: Sequence[Row], figure: str) -> Value | None:
    """Mean over seeds of the mean over categories, with an interval: over seeds where they differ,
    else over test images where a bootstrap was drawn."""
    if any(row["figures"].get(figure) is None for row in rows):
        return None
    seeds: dict[int, list[float]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row["figures"][figure])
    means = [statistics.mean(of) for of in seeds.values()]
    mean = statistics.mean(means)
    if len(set(means)) > 1:
        t = STUDENT[len(means) - 2] if len(means) - 2 < len(STUDENT) else NORMAL
        half = t * statistics.stdev(means) / math.sqrt(len(means))
        return Value(mean=mean, low=mean - half, high=mean + half, how="seeds")
    drawn = rows[0]["figures"].get("intervals", {}).get(figure)
    if len(rows) == len(seeds) and drawn:  # one category
        return Value(mean=mean, low=drawn[0], high=drawn[1], how="images")
    return Value(mean=mean)


def _ranks(by: Mapping[str, Sequence[Row]], over: list[str], figure: str) -> dict[str, float]:
    ranks: dict[str, list[float]] = {}
    for category in over:
        means = {}
        for method, rows in by.items():
            one = value([row for row in rows if row["category"] == category], figure)
            if one is not None:
                means[method] = one.mean
        for method, mean in means.items():
            better = sum(other > mean for other in means.values())
            equal = sum(other == mean for other in means.values())
            ranks.setdefault(method, []).append(better + (equal + 1) / 2)
    return {m: statistics.mean(of) for m, of in ranks.items() if len(of) == len(over)}


def problems(rows: Sequence[Row]) -> list[str]:
    """A sentence for each cell that failed and each data set that is absent."""
    found = []
    for row in rows:
        if row["status"] != DONE:
            where = [row["data"], row.get("category"), row.get("method")]
            seed = f", seed {row['seed']}" if "seed" in row else ""
            name = " · ".join(word for word in where if word)
            found.append(f"{name}{seed}: {row['status']}. {row['reason']}")
    return found


def markdown(name: str, rows: Sequence[Row], foot: str) -> str:
    """All tables, and what did not work, as one Markdown page."""
    parts = [f"# {name}"]
    for table in tables(rows):
        several = f" (mean of {len(table.over)} categories)" if len(table.over) > 1 else ""
        parts += [f"## {table.title}{several}", _markdown(table)]
    if failed := problems(rows):
        parts += ["## Not measured", "\n".join(f"- {line}" for line in failed)]
    return "\n\n".join([*parts, legend(rows), foot]) + "\n"


def legend(rows: Sequence[Row]) -> str:
    """What stands below the tables: how their figures were measured."""
    modes = {row["figures"]["n_thresholds"] for row in rows if row["status"] == DONE}
    return (
        f"Native pixels. {' '.join(aupro_mode(mode) for mode in modes)} In brackets 95 % intervals:"
        " over seeds (Student's t) where they differ, marked † over test images (bootstrap) where"
        " they do not. Rank: mean over categories, 1 is best, by image AUROC / by AUPRO@30."
    )


def _markdown(table: Table) -> str:
    lines = ["| method | " + " | ".join((*SHOWN.values(), "rank")) + " |"]
    lines.append("| --- |" + " ---: |" * (len(SHOWN) + 1))
    for method, values in table.values.items():
        best = {figure: _is_best(table, method, figure) for figure in SHOWN}
        cells = [shown(values[f], bold=best[f]) for f in SHOWN]
        ranks = " / ".join(f"{rank:.2g}" for rank in table.ranks[method].values())
        lines.append("| " + " | ".join([method.replace("|", "\\|"), *cells, ranks or "–"]) + " |")
    return "\n".join(lines)


def _is_best(table: Table, method: str, figure: str) -> bool:
    means = {m: row[figure] for m, row in table.values.items()}
    known = {m: one.mean for m, one in means.items() if one is not None}
    return len(known) > 1 and method in known and known[method] == max(known.values())


def shown(value: Value | None, *, bold: bool = False) -> str:
    """0.955 [0.951, 0.958], or a dash."""
    if value is None:
        return "–"
    mean = f"**{value.mean:.3f}**" if bold else f"{value.mean:.3f}"
    if value.low is None or value.high is None:
        return mean
    return f"{mean} [{value.low:.3f}, {value.high:.3f}]{'†' * (value.how == 'images')}"
