"""Histogram and curves as SVG that takes the page's own text colour, light or dark."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.metrics.ranking import Floats
from blemish.metrics.sizes import Detection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD, DEFECT, LIMIT = "#2b8a6e", "#c2571a", "#7b61c9"  # told apart by the colour-blind, too
INK = "#010203"  # stands for the page's text colour until the SVG is written
BINS = 40
LONGEST = 22  # characters of a kind's name
WIDE = 30.0  # scores that spread over more than this factor are drawn on a logarithmic axis


def histogram(scores: Mapping[str, Sequence[float]], threshold: float) -> str:
    """SVG: one row for each kind, all on the same axis, and the threshold through all of them.

    scores: finite image scores by kind, drawn in this order; "good" in another colour.
    """
    figure = new_figure(7.4, 0.75 + 0.42 * len(scores))
    rows = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.26, right=0.985, top=0.985, bottom=0.5 / figure.get_figheight())
    everything = np.concatenate([[threshold], *(np.asarray(row) for row in scores.values())])
    logarithmic = bool(everything.min() > 0 and everything.max() > WIDE * everything.min())
    edges = _edges(everything, logarithmic)
    for axes, (kind, values) in zip(rows, scores.items(), strict=True):
        axes.hist(values, bins=edges, color=GOOD if kind == "good" else DEFECT)
        axes.axvline(threshold, color=LIMIT, linewidth=1.4)
        axes.text(
            -0.015, 0.1, f"{_short(kind)} ({len(values)})", transform=axes.transAxes, ha="right",
            fontsize=9, color=INK, parse_math=False,
        )  # fmt: skip
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.set_yticks([])
        axes.tick_params(which="both", bottom=axes is rows[-1])
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
    rows[-1].set_xlabel("score of the image")
    return to_svg(figure)


def _short(name: str) -> str:
    """What fits beside the axis, in characters that a font can be asked for."""
    printable = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 1] + "…"


def _edges(values: Floats, logarithmic: bool) -> Floats:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return np.asarray(np.geomspace(low, high, BINS + 1), np.float64)
    spread = (high - low) or max(abs(low), 1.0)  # all scores equal
    edges = np.linspace(low - 0.01 * spread, high + 0.01 * spread, BINS + 1)
    return np.asarray(edges, np.float64)


def roc(curve: tuple[Floats, Floats], point: tuple[float, float]) -> str:
    """SVG: detection rate over false-alarm rate; point: both at the threshold."""
    figure = new_figure(3.6, 3.3)
    axes = _square(figure, 1.0)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    axes.plot(*curve, color=DEFECT, linewidth=1.8)
    axes.plot(*point, "o", color=LIMIT, markersize=7, clip_on=False)
    axes.annotate("threshold", point, (8, -12), textcoords="offset points", color=LIMIT, fontsize=9)
    axes.set_xlabel("good parts rejected")
    axes.set_ylabel("defective parts found")
    return to_svg(figure)


def pro(curve: tuple[Floats, Floats]) -> str:
    """SVG: per-region overlap over the share of good pixels marked, as far as the curve goes."""
    figure = new_figure(3.6, 3.3)
    axes = _square(figure, float(curve[0][-1]))
    axes.plot(*curve, color=DEFECT, linewidth=1.8)
    axes.axvline(0.05, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("good pixels marked")
    axes.set_ylabel("share of each defect found")
    return to_svg(figure)


def by_area(found: Detection) -> str:
    """SVG: share of defects found over their area in native pixels, with Wilson's intervals."""
    figure = new_figure(7.4, 3.0)
    axes = figure.add_axes((0.1, 0.17, 0.875, 0.79))
    middle = [float(np.sqrt(p.smallest * p.largest)) for p in found.curve]
    share = [p.found / p.count for p in found.curve]
    for x, p in zip(middle, found.curve, strict=True):
        axes.plot([x, x], [p.low, p.high], color=DEFECT, linewidth=1.2, alpha=0.6)
    axes.plot(middle, share, "o-", color=DEFECT, linewidth=1.8, markersize=5)
    axes.axhline(found.share, color=INK, linewidth=0.8, linestyle=":")
    low, high = found.interval
    if found.area_px is not None:
        axes.axvline(found.area_px, color=LIMIT, linewidth=1.4)
        axes.axvspan(low, high or found.curve[-1].largest, color=LIMIT, alpha=0.12)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(percent)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.spines[["right", "top"]].set_visible(False)
    axes.set_xlabel("area of the defect, pixels")
    axes.set_ylabel("defects found")
    return to_svg(figure)


def _square(figure: Figure, limit: float) -> Axes:
    axes = figure.add_axes((0.2, 0.15, 0.74, 0.82))
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 1.02)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.spines[["right", "top"]].set_visible(False)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    return axes


def percent(value: float, _: Any) -> str:
    """For an axis of shares."""
    return f"{100 * value:.0f} %"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in inches."""
    from matplotlib.figure import Figure  # a second to import, and only reports need it

    return Figure(figsize=(width, height))


def to_svg(figure: Figure) -> str:
    """The drawing as SVG, its text as text, in the page's own colour."""
    from matplotlib import rc_context

    for axes in figure.axes:
        for line in axes.spines.values():
            line.set_edgecolor(INK)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "blemish"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that the browser's font will have
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    drawing = buffer.getvalue()
    return drawing[drawing.index("<svg") :].replace(INK, "currentColor")
