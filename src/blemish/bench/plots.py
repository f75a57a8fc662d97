"""Curves of several methods in one drawing, as SVG that takes the page's text colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blemish.report.plots import INK, new_figure, percent, to_svg

# Okabe and Ito's colours, told apart by the colour-blind, too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
BINS = ("D1", "D2", "D3", "D4")
Curve = tuple[Sequence[float], Sequence[float]]


def curves(by_method: Mapping[str, Curve], across: str, up: str) -> str | None:
    """SVG of rising curves of shares, as far as the longest goes; None if there are none."""
    if not by_method:
        return None
    figure, axes = _axes(by_method)
    for colour, (xs, ys) in zip(_colours(by_method), by_method.values(), strict=True):
        axes.plot(xs, ys, color=colour, linewidth=1.6)
    axes.set_xlim(0, max(max(xs) for xs, _ in by_method.values()))
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return to_svg(figure)


def share_by_size(by_method: Mapping[str, Any]) -> str | None:
    """SVG: AUPRO@30 of each quarter of the defects, from the smallest to the largest."""
    if not by_method:
        return None
    figure, axes = _axes(by_method)
    for colour, sizes in zip(_colours(by_method), by_method.values(), strict=True):
        points = [(i, sizes["disjoint"][name]["aupro_30"]) for i, name in enumerate(BINS)]
        known = [point for point in points if point[1] is not None]
        axes.plot(*zip(*known, strict=True), "o-", color=colour, linewidth=1.6, markersize=5)
    low, middle, high = next(iter(by_method.values()))["edges_px"]
    labels = [f"≤ {low:.0f}", f"≤ {middle:.0f}", f"≤ {high:.0f}", f"> {high:.0f}"]
    axes.set_xticks(range(4), labels)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlabel("area of the defect, pixels")
    axes.set_ylabel("AUPRO@30")
    return to_svg(figure)


def by_area(by_method: Mapping[str, Any]) -> str | None:
    """SVG: share of defects found at 1 % false alarms over their area."""
    if not by_method:
        return None
    figure, axes = _axes(by_method)
    for colour, detection in zip(_colours(by_method), by_method.values(), strict=True):
        curve = detection["curve"]
        xs = [(point["smallest"] * point["largest"]) ** 0.5 for point in curve]
        ys = [point["found"] / point["count"] for point in curve]
        axes.plot(xs, ys, "o-", color=colour, linewidth=1.6, markersize=4)
    axes.axhline(0.9, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlabel("area of the defect, pixels")
    axes.set_ylabel("defects found")
    return to_svg(figure)


def _axes(by_method: Mapping[str, Any]) -> tuple[Any, Any]:
    """A figure with the methods named above its axes."""
    rows = -(-len(by_method) // 2)
    figure = new_figure(3.9, 3.3 + 0.2 * rows)
    height = figure.get_figheight()
    axes = figure.add_axes((0.2, 0.55 / height, 0.73, 2.65 / height))
    for number, (colour, name) in enumerate(zip(_colours(by_method), by_method, strict=True)):
        x, y = 0.5 * (number % 2), 1.04 + 0.075 * (number // 2)
        shown = name if len(name) <= 20 else name[:19] + "…"
        axes.text(
            x, y, f"● {shown}", color=colour, fontsize=9, transform=axes.transAxes,
            parse_math=False,
        )  # fmt: skip
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.spines[["right", "top"]].set_visible(False)
    return figure, axes


def _colours(names: Mapping[str, Any]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(names))]
