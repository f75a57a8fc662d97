"""Curves of several methods in one drawing, as SVG that takes the page's text colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blemish.report.chart import COLOURS, Axis, Chart, percent
from blemish.report.plots import areas

BINS = ("D1", "D2", "D3", "D4")
NAME = 20  # characters of a method's name
Curve = tuple[Sequence[float], Sequence[float]]


def curves(by_method: Mapping[str, Curve], across: str, up: str) -> str | None:
    """SVG of rising curves of shares, as far as the longest goes; None if there are none."""
    if not by_method:
        return None
    limit = max(max(xs) for xs, _ in by_method.values())
    chart = _chart(by_method, Axis(low=0.0, high=limit, label=percent, title=across), up)
    for colour, (xs, ys) in zip(_colours(by_method), by_method.values(), strict=True):
        chart.curve(zip(xs, ys, strict=True), colour, width=1.6)
    return chart.svg()


def share_by_size(by_method: Mapping[str, Any]) -> str | None:
    """SVG: AUPRO@30 of each quarter of the defects, from the smallest to the largest."""
    if not by_method:
        return None
    low, middle, high = next(iter(by_method.values()))["edges_px"]
    labels = [f"≤ {low:.0f}", f"≤ {middle:.0f}", f"≤ {high:.0f}", f"> {high:.0f}"]
    ticks = tuple(enumerate(labels))
    x = Axis(low=-0.3, high=3.3, ticks=ticks, title="area of the defect, pixels")
    chart = _chart(by_method, x, "AUPRO@30")
    for colour, sizes in zip(_colours(by_method), by_method.values(), strict=True):
        points = [(i, sizes["disjoint"][name]["aupro_30"]) for i, name in enumerate(BINS)]
        chart.curve([point for point in points if point[1] is not None], colour, dots=True)
    return chart.svg()


def by_area(by_method: Mapping[str, Any]) -> str | None:
    """SVG: share of defects found at 1 % false alarms over their area."""
    if not by_method:
        return None
    found = [point for detection in by_method.values() for point in detection["curve"]]
    x = areas([point["smallest"] for point in found], [point["largest"] for point in found])
    chart = _chart(by_method, x, "defects found")
    for colour, detection in zip(_colours(by_method), by_method.values(), strict=True):
        curve = detection["curve"]
        xs = [(point["smallest"] * point["largest"]) ** 0.5 for point in curve]
        ys = [point["found"] / point["count"] for point in curve]
        chart.curve(zip(xs, ys, strict=True), colour, dots=True, width=1.6)
    chart.across(0.9)
    return chart.svg()


def _chart(by_method: Mapping[str, Any], x: Axis, up: str) -> Chart:
    """A chart of shares with the methods named above it."""
    rows = -(-len(by_method) // 2)
    y = Axis(low=0.0, high=1.02, label=percent, title=up)
    top = 10 + 20 * rows
    chart = Chart(x, y, width=375, height=298 + top, room=(64, top, 16, 52))
    for number, (colour, name) in enumerate(zip(_colours(by_method), by_method, strict=True)):
        shown = name if len(name) <= NAME else name[: NAME - 1] + "…"
        place = (64 + 150 * (number % 2), 14 + 20 * (number // 2))
        chart.word(place, f"● {shown}", colour=colour)
    return chart


def _colours(names: Mapping[str, Any]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(names))]
