"""The options of 3D data and further photographs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.cli_sensors import parse_others, parse_sensor
from blemish.errors import ConfigError
from blemish.sensors import Camera, Sensor

P = "../x/{stem}.*"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"points": P}, Sensor(kind="points", pattern=P)),
        (
            {"points": P, "scale": "0.001", "background": True},
            Sensor(kind="points", pattern=P, scale=0.001, background=True),
        ),
        (
            {"depth": P, "focal": "600", "background": False},
            Sensor(kind="depth", pattern=P, camera=Camera(focal=(600, 600))),
        ),
        (
            {"depth": P, "focal": "600, 610.5", "centre": "320,240.5"},
            Sensor(kind="depth", pattern=P, camera=Camera(focal=(600, 610.5), centre=(320, 240.5))),
        ),
        ({"disparity": P}, Sensor(kind="disparity", pattern=P)),
        (
            {"disparity": P, "focal": "721.5", "baseline": "0.54", "scale": "1/256"},
            Sensor(
                kind="disparity", pattern=P, camera=Camera(focal=(721.5, 721.5)), baseline=0.54,
                scale=1 / 256,
            ),
        ),
    ],
)  # fmt: skip
def test_options_make_a_sensor(options: dict[str, Any], expected: Sensor | None) -> None:
    assert parse_sensor(**options) == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": P, "depth": P}, "3D data must come with one of .*, but 2 of them are given"),
        ({"focal": "1"}, "--focal must come with one of .*but none of .*--points '../xyz"),
        ({"background": True}, "--drop-background must come with one of"),
        ({"points": "x.ply"}, r"\(--points\) must be a path"),
        ({"depth": P}, "of depth must have a camera .*--focal FX"),
        ({"depth": P, "focal": "x"}, "--focal must be 1 or 2 finite numbers.* but is 'x'"),
        ({"depth": P, "focal": "1,2,3"}, "--focal must be 1 or 2 finite numbers"),
        ({"depth": P, "focal": ""}, "--focal must be 1 or 2 finite numbers"),
        ({"depth": P, "focal": "nan"}, "--focal must be 1 or 2 finite numbers"),
        ({"depth": P, "focal": "-3"}, "two focal lengths above 0"),
        ({"depth": P, "focal": "3", "centre": "4"}, "--centre must be 2 finite numbers"),
        ({"depth": P, "centre": "4,4"}, "--centre must come with --focal .* '4,4' alone"),
        ({"depth": P, "focal": "3", "scale": "mm"}, "--depth-scale must be 1 finite number,"),
        ({"depth": P, "focal": "3", "scale": "1/0"}, "--depth-scale must be 1 finite number,"),
        ({"depth": P, "focal": "3", "scale": "0"}, r"scale\) of a sensor must be above 0"),
        ({"disparity": P, "focal": "3", "baseline": "far"}, "--baseline must be 1 finite number,"),
        ({"disparity": P, "focal": "3"}, "a camera and a baseline, or neither"),
        ({"disparity": P, "background": True}, "must be in metres for their background"),
        ({"points": P, "focal": "3"}, "of points must have neither camera nor baseline"),
    ],
)  # fmt: skip
def test_options_that_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_sensor(**options)


@given(
    kind=st.sampled_from(["points", "depth", "disparity"]),
    focal=st.none() | st.tuples(st.floats(1e-3, 1e5), st.floats(1e-3, 1e5)),
    centre=st.none() | st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    scale=st.none() | st.floats(1e-6, 1e6),
    baseline=st.none() | st.floats(1e-6, 1e6),
    background=st.none() | st.booleans(),
)
def test_numbers_are_read_as_they_are_written(
    kind: str, focal: Any, centre: Any, scale: Any, baseline: Any, background: bool | None
) -> None:
    told = {"scale": scale, "baseline": baseline}
    words: dict[str, Any] = {name: None if one is None else repr(one) for name, one in told.items()}
    for name, pair in (("focal", focal), ("centre", centre)):
        words[name] = None if pair is None else f"{pair[0]!r},{pair[1]!r}"
    try:
        sensor = parse_sensor(**{kind: P}, **words, background=background)
    except ConfigError:
        return
    assert sensor is not None
    assert sensor.scale == (1 if scale is None else scale)
    assert sensor.baseline == baseline
    assert sensor.camera == (None if focal is None else Camera(focal=focal, centre=centre))
    assert sensor.background == bool(background)


def test_further_photographs() -> None:
    assert parse_others([]) == {}
    words = ["ir=../ir/{stem}.png", "light-0={stem-_a=b}_0.png"]
    assert parse_others(words) == {"ir": "../ir/{stem}.png", "light-0": "{stem-_a=b}_0.png"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ir"], "--other must be NAME=PATTERN with a name of its own, but is 'ir'"),
        ([f"ir={P}", f"ir={P}"], "--other must be NAME=PATTERN with a name of its own"),
        ([f"={P}"], "must be a letter and up to 31 .* but is ''"),
        ([f"image={P}"], "and not image, photograph or points, but is 'image'"),
        ([f"a/b={P}"], "but is 'a/b'"),
        (["ir=x.png"], re.escape("the pattern of photographs 'ir' (--other) must be a path")),
    ],
)
def test_further_photographs_that_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_others(words)
