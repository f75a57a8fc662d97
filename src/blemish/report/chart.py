"""Drawings of curves as SVG: two axes, lines, dots, words. Text stays text, and what has no colour
of its own takes the page's, light or dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

GOOD, DEFECT, LIMIT = "#2b8a6e", "#c2571a", "#7b61c9"  # told apart by the colour-blind, too
# Okabe and Ito's colours, for the same reason
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
SMALL, TEXT = 11.5, 13.0  # px
FINE = 0.12  # opacity of a grid
Anchor = Literal["start", "middle", "end"]
Points = Iterable[tuple[float, float]]


def percent(value: float) -> str:
    """For an axis of shares."""
    return f"{100 * value:.0f} %"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis. low, high: its ends, low < high; if logarithmic, low > 0.

    ticks: where it is marked, and how; none are chosen round. label: of a tick that is not given.
    """

    low: float
    high: float
    title: str = ""
    logarithmic: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    label: Callable[[float], str] = "{:g}".format

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        """Ticks and their words."""
        if self.ticks:
            return list(self.ticks)
        chosen = _decades(self) if self.logarithmic else _round(self.low, self.high)
        return [(value, self.label(value)) for value in chosen]


def _round(low: float, high: float) -> list[float]:
    """About five round values from low to high."""
    rough = (high - low) / 5
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(ten * times for times in (1, 2, 2.5, 5, 10) if ten * times >= 0.95 * rough)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(axis: Axis) -> list[float]:
    """1, 2 and 5 times the powers of ten, or the powers alone where that is too many."""
    tens = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    for times in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**ten for ten in tens for m in times]
        inside = [value for value in found if axis.low <= value * 1.0001 <= axis.high * 1.0002]
        if len(inside) <= 7:
            break
    return inside


class Chart:
    """A plane with two axes, drawn on in px. x, y: what lies along its sides.

    width, height: of the whole, px. left, top, right, bottom: room beside the plane. grid: lines
    behind the ticks; without it only the axis below is drawn.
    """

    def __init__(
        self,
        x: Axis,
        y: Axis,
        *,
        width: float = 350,
        height: float = 310,
        room: tuple[float, float, float, float] = (64, 12, 16, 52),
        grid: bool = True,
    ) -> None:
        self.x, self.y = x, y
        self.width, self.height = width, height
        self.left, self.top, right, bottom = room
        self.right, self.bottom = width - right, height - bottom
        self._drawn: list[str] = []
        self._below(grid)
        if grid:
            self._beside()

    def px(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the plane lies, px from the upper left corner."""
        across = self.left + self.x.at(x) * (self.right - self.left)
        return across, self.bottom - self.y.at(y) * (self.bottom - self.top)

    def curve(self, points: Points, colour: str, *, dots: bool = False, width: float = 1.8) -> None:
        """Points joined by a line, in their order."""
        placed = [self.px(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        self._add(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
            ' stroke-linejoin="round"/>'
        )
        for x, y in placed if dots else ():
            self._add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        """One large dot."""
        across, up = self.px(x, y)
        self._add(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4.5" fill="{colour}"/>')

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: str) -> None:
        """A histogram: one bar between each two edges, from the axis up."""
        for low, high, tall in zip(edges[:-1], edges[1:], heights, strict=True):
            if tall > 0:
                self._box(low, high, tall, colour, 1.0)

    def band(self, low: float, high: float, colour: str) -> None:
        """What lies between two values of x, in a light wash."""
        self._box(max(low, self.x.low), min(high, self.x.high), self.y.high, colour, FINE)

    def down(self, x: float, colour: str = "currentColor", *, dotted: bool = False) -> None:
        """A line from top to bottom."""
        self._line(self.px(x, self.y.low), self.px(x, self.y.high), colour, dotted)

    def across(self, y: float) -> None:
        """A dotted line from left to right."""
        self._line(self.px(self.x.low, y), self.px(self.x.high, y), "currentColor", True)

    def between(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """A thin line between two points of the plane."""
        self._line(self.px(*start), self.px(*end), colour, False)

    def word(
        self,
        at: tuple[float, float],
        text: str,
        *,
        colour: str = "currentColor",
        anchor: Anchor = "start",
        size: float = SMALL,
        turned: bool = False,
    ) -> None:
        """Text at a place in px."""
        x, y = at
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self._add(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}"'
            f' text-anchor="{anchor}"{turn}>{escape(_sayable(text))}</text>'
        )

    def svg(self) -> str:
        """The drawing, to be put into a page."""
        return stack([self])

    def _below(self, grid: bool) -> None:
        for value, word in self.x.marks():
            x, bottom = self.px(value, self.y.low)
            if grid:
                self._line((x, self.top), (x, self.bottom), "currentColor", False, FINE)
            self._line((x, bottom), (x, bottom + 4), "currentColor", False)
            self.word((x, bottom + 17), word, anchor="middle")
        self._line((self.left, self.bottom), (self.right, self.bottom), "currentColor", False)
        middle = (self.left + self.right) / 2
        self.word((middle, self.bottom + 38), self.x.title, anchor="middle", size=TEXT)

    def _beside(self) -> None:
        for value, word in self.y.marks():
            left, y = self.px(self.x.low, value)
            self._line((left, y), (self.right, y), "currentColor", False, FINE)
            self._line((left - 4, y), (left, y), "currentColor", False)
            self.word((left - 7, y + 4), word, anchor="end")
        self._line((self.left, self.bottom), (self.left, self.top), "currentColor", False)
        place = (15.0, (self.top + self.bottom) / 2)
        self.word(place, self.y.title, anchor="middle", size=TEXT, turned=True)

    def _box(self, low: float, high: float, tall: float, colour: str, opacity: float) -> None:
        (left, top), (right, bottom) = self.px(low, tall), self.px(high, self.y.low)
        self._add(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0):.1f}"'
            f' height="{max(bottom - top, 0):.1f}" fill="{colour}" fill-opacity="{opacity}"/>'
        )

    def _line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str,
        dotted: bool,
        opacity: float = 1.0,
    ) -> None:
        dashes = ' stroke-dasharray="2 3"' if dotted else ""
        self._add(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
            f' stroke="{colour}" stroke-opacity="{opacity}"{dashes}/>'
        )

    def _add(self, element: str) -> None:
        self._drawn.append(element)

    def drawn(self) -> str:
        """What is inside of the SVG."""
        return "\n".join(self._drawn)


def stack(charts: Sequence[Chart]) -> str:
    """Charts of one width as one SVG, one below the other."""
    height = sum(chart.height for chart in charts)
    width = charts[0].width
    rows, top = [], 0.0
    for chart in charts:
        rows.append(f'<g transform="translate(0 {top:.1f})">\n{chart.drawn()}\n</g>')
        top += chart.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" font-family="sans-serif" role="img">\n'
        + "\n".join(rows)
        + "\n</svg>"
    )


def _sayable(text: str) -> str:
    """Names of files may hold what no page can say."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
