"""Histogram and curves as SVG that takes the page's own text colour, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from blemish.metrics.ranking import Floats
from blemish.metrics.sizes import Detection
from blemish.report.chart import DEFECT, GOOD, LIMIT, SMALL, Axis, Chart, percent, stack

BINS = 40
LONGEST = 22  # characters of a kind's name
WIDE = 30.0  # scores that spread over more than this factor are drawn on a logarithmic axis
SHARES = Axis(low=0.0, high=1.02, label=percent)


def histogram(scores: Mapping[str, Sequence[float]], threshold: float) -> str:
    """SVG: one row for each kind, all on the same axis, and the threshold through all of them.

    scores: finite image scores by kind, drawn in this order; "good" in another colour.
    """
    everything = np.concatenate([[threshold], *(np.asarray(row) for row in scores.values())])
    logarithmic = bool(everything.min() > 0 and everything.max() > WIDE * everything.min())
    edges = _edges(everything, logarithmic)
    rows = []
    for number, (kind, values) in enumerate(scores.items()):
        last = number == len(scores) - 1
        counts, _ = np.histogram(values, edges)
        x = Axis(
            low=float(edges[0]),
            high=float(edges[-1]),
            logarithmic=logarithmic,
            title="score of the image" if last else "",
            ticks=() if last else ((float(edges[0]), ""),),
        )
        chart = Chart(
            x,
            Axis(low=0, high=float(max(counts.max(), 1))),
            width=720,
            height=88 if last else 40,
            room=(185, 6, 12, 52 if last else 4),
            grid=False,
        )
        chart.bars(edges.tolist(), counts.tolist(), GOOD if kind == "good" else DEFECT)
        chart.down(threshold, LIMIT)
        name = f"{_short(kind)} ({len(values)})"
        chart.word((chart.left - 10, chart.bottom - 4), name, anchor="end", size=SMALL)
        rows.append(chart)
    return stack(rows)


def _short(name: str) -> str:
    """What fits beside the axis."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _edges(values: Floats, logarithmic: bool) -> Floats:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return np.asarray(np.geomspace(low * 0.999, high * 1.001, BINS + 1), np.float64)
    spread = (high - low) or max(abs(low), 1.0)  # all scores equal
    edges = np.linspace(low - 0.01 * spread, high + 0.01 * spread, BINS + 1)
    return np.asarray(edges, np.float64)


def roc(curve: tuple[Floats, Floats], point: tuple[float, float]) -> str:
    """SVG: detection rate over false-alarm rate; point: both at the threshold."""
    chart = _square(1.0, "good parts rejected", "defective parts found")
    chart.between((0, 0), (1, 1), "currentColor")
    chart.curve(zip(*curve, strict=True), DEFECT)
    chart.dot(*point, LIMIT)
    across, up = chart.px(*point)
    below = up + 16 < chart.bottom - 4
    chart.word((across + 9, up + 16 if below else up - 8), "threshold", colour=LIMIT)
    return chart.svg()


def pro(curve: tuple[Floats, Floats]) -> str:
    """SVG: per-region overlap over the share of good pixels marked, as far as the curve goes."""
    chart = _square(float(curve[0][-1]), "good pixels marked", "share of each defect found")
    chart.curve(zip(*curve, strict=True), DEFECT)
    if chart.x.high > 0.05:
        chart.down(0.05, dotted=True)
    return chart.svg()


def by_area(found: Detection) -> str:
    """SVG: share of defects found over their area in native pixels, with Wilson's intervals."""
    middle = [float(np.sqrt(p.smallest * p.largest)) for p in found.curve]
    area = areas([p.smallest for p in found.curve], [p.largest for p in found.curve])
    y = Axis(low=0.0, high=1.02, label=percent, title="defects found")
    chart = Chart(area, y, width=720, height=290)
    if found.area_px is not None:
        low, high = found.interval
        chart.band(low, high or area.high, LIMIT)
        chart.down(min(max(found.area_px, area.low), area.high), LIMIT)
    for x, p in zip(middle, found.curve, strict=True):
        chart.between((x, p.low), (x, p.high), DEFECT)
    points = zip(middle, (p.found / p.count for p in found.curve), strict=True)
    chart.curve(points, DEFECT, dots=True)
    chart.across(found.share)
    return chart.svg()


def areas(smallest: Sequence[float], largest: Sequence[float]) -> Axis:
    """A logarithmic axis of areas that holds all of these, px."""
    return Axis(
        low=max(min(smallest), 1) * 0.9,
        high=max(largest) * 1.1,
        logarithmic=True,
        title="area of the defect, pixels",
        label=lambda value: f"{value:,.0f}",
    )


def _square(limit: float, across: str, up: str) -> Chart:
    x = Axis(low=0.0, high=limit or 1.0, label=percent, title=across)
    return Chart(x, Axis(low=0.0, high=1.02, label=percent, title=up))
