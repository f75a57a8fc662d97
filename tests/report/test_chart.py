"""Drawings as SVG, read back: what is where, and whether a page can say it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from blemish.report.chart import Axis, Chart, percent, stack
from blemish.report.plots import histogram

NAME = "{http://www.w3.org/2000/svg}"


def chart() -> Chart:
    return Chart(Axis(low=0, high=10, title="across"), Axis(low=0, high=1, label=percent))


def found(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(NAME + tag))


def test_the_corners_of_the_plane_are_the_ends_of_the_axes() -> None:
    made = chart()
    assert made.px(0, 0) == (made.left, made.bottom)
    assert made.px(10, 1) == pytest.approx((made.right, made.top))
    (line,) = found(drawn(made, [(0, 0), (5, 0.5), (10, 1)]), "polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    middle = ((made.left + made.right) / 2, (made.top + made.bottom) / 2)
    assert places[1] == pytest.approx(middle, abs=0.1)


def drawn(made: Chart, points: list[tuple[float, float]]) -> str:
    made.curve(points, "#123456", dots=True)
    return made.svg()


def test_every_point_has_its_dot() -> None:
    assert len(found(drawn(chart(), [(1, 0.1), (2, 0.2), (3, 0.9)]), "circle")) == 3


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(low=0, high=1.02, label=percent), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (Axis(low=0, high=0.3), ["0", "0.1", "0.2", "0.3"]),
        (Axis(low=-3, high=12), ["0", "5", "10"]),
        (Axis(low=0.9, high=120, logarithmic=True), ["1", "2", "5", "10", "20", "50", "100"]),
        (Axis(low=1, high=3e6, logarithmic=True, label=lambda v: f"{v:.0e}"),
         ["1e+00", "1e+01", "1e+02", "1e+03", "1e+04", "1e+05", "1e+06"]),
        (Axis(low=0, high=3, ticks=((1, "few"), (2, "many"))), ["few", "many"]),
    ],
)  # fmt: skip
def test_ticks_are_round_and_within_the_axis(axis: Axis, expected: list[str]) -> None:
    marks = axis.marks()
    assert [word for _, word in marks] == expected
    assert all(-1e-3 <= axis.at(value) <= 1 + 1e-3 for value, _ in marks)


def test_a_decade_is_as_long_as_the_next() -> None:
    axis = Axis(low=1, high=1000, logarithmic=True)
    assert [axis.at(10.0**n) for n in range(4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_bars_fill_their_share_and_empty_ones_are_not_drawn() -> None:
    made = chart()
    made.bars([0, 5, 10], [0, 0.5], "#123456")
    (bar,) = found(made.svg(), "rect")
    height = float(bar.attrib["height"])
    assert height == pytest.approx((made.bottom - made.top) / 2, abs=0.2)
    assert float(bar.attrib["x"]) == pytest.approx(made.px(5, 0)[0], abs=0.1)


def test_a_band_stays_inside() -> None:
    made = chart()
    made.band(5, math.inf, "#123456")
    (band,) = found(made.svg(), "rect")
    right = float(band.attrib["x"]) + float(band.attrib["width"])
    assert right == pytest.approx(made.right, abs=0.2)


@pytest.mark.parametrize("name", ["a<b>&\"c'", "\udcff.png", "Maß – größer"])
def test_any_name_can_be_said(name: str) -> None:
    svg = histogram({"good": [1.0, 2.0], name: [3.0]}, 2.5)
    svg.encode("utf-8")
    said = [one.text or "" for one in found(svg, "text")]
    assert any(text.endswith("(1)") for text in said)


def test_the_histogram_counts_every_score_once() -> None:
    svg = histogram({"good": [1.0, 1.0, 2.0], "crack": [50.0, 900.0]}, 10.0)  # logarithmic
    assert len(found(svg, "rect")) == 4
    assert len(found(svg, "g")) == 2
    assert histogram({"good": [1.0, 1.0]}, 1.0).count("<rect") == 1  # all equal


def test_charts_below_each_other_do_not_overlap() -> None:
    one, two = chart(), chart()
    whole = ET.fromstring(stack([one, two]))
    assert float(whole.attrib["height"]) == one.height + two.height
    assert whole.attrib["viewBox"].split()[2:] == [f"{one.width:g}", f"{2 * one.height:g}"]
