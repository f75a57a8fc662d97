"""Sensors: what goes together, and what comes back out of a model's manifest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import ArtifactError, ConfigError
from blemish.sensors import Camera, Sensor

ABOVE = st.floats(1e-6, 1e6)
CAMERAS = st.builds(
    Camera,
    focal=st.tuples(ABOVE, ABOVE),
    centre=st.none() | st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
PATTERNS = st.sampled_from(["../xyz/{stem}.tiff", "{stem-_é}_*.ply", "a/{stem}"])
SENSORS = st.one_of(
    st.builds(Sensor, kind=st.just("points"), pattern=PATTERNS, scale=ABOVE,
              background=st.booleans()),
    st.builds(Sensor, kind=st.just("depth"), pattern=PATTERNS, scale=ABOVE, camera=CAMERAS,
              background=st.booleans()),
    st.builds(Sensor, kind=st.just("disparity"), pattern=PATTERNS, scale=ABOVE),
    st.builds(Sensor, kind=st.just("disparity"), pattern=PATTERNS, camera=CAMERAS, baseline=ABOVE,
              background=st.booleans()),
)  # fmt: skip
GOOD = Sensor(
    kind="disparity", pattern="d/{stem}.png", camera=Camera(focal=(9.5, 9)), scale=0.5, baseline=0.1
).as_json()


@given(sensor=SENSORS)
def test_json_gives_the_sensor_back(sensor: Sensor) -> None:
    told = sensor.as_json()
    assert Sensor.from_json(told) == sensor
    assert Sensor.from_json(json.loads(json.dumps(told, allow_nan=False))) == sensor


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "cloud"}, {"kind": ["points"]}, {"kind": None}, {"pattern": "/etc/passwd"},
        {"pattern": 3}, {"pattern": None}, {"scale": "1"}, {"scale": True}, {"scale": None},
        {"scale": 0}, {"scale": -1.0}, {"scale": float("nan")}, {"scale": float("inf")},
        {"scale": 10**400}, {"baseline": "x"}, {"baseline": 0}, {"baseline": None},
        {"background": 1}, {"background": None}, {"camera": None}, {"camera": ""}, {"camera": 0},
        {"camera": []}, {"camera": {}}, {"camera": {"focal": [1, 1]}},
        {"camera": {"focal": 1, "centre": None}}, {"camera": {"focal": [1], "centre": None}},
        {"camera": {"focal": [1, 0], "centre": None}}, {"camera": {"focal": [1, 1], "centre": 3}},
        {"camera": {"focal": [1, "1"], "centre": None}}, {"more": 1}, {"kind": "points"},
        {"camera": {"focal": [1, 1], "centre": None, "more": 1}},
        {"camera": {"focal": [float("nan"), 1], "centre": None}},
        {"camera": {"focal": [1, 1], "centre": [0, float("inf")]}},
    ],
)  # fmt: skip
def test_a_strangers_sensor_is_refused(change: dict[str, Any]) -> None:
    Sensor.from_json(GOOD)
    with pytest.raises(ArtifactError, match="a model's sensor must have kind, pattern, camera"):
        Sensor.from_json({**GOOD, **change})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(stored=JSON, key=st.sampled_from([*GOOD]), whole=st.booleans())
def test_any_json_is_a_sensor_or_refused(stored: Any, key: str, whole: bool) -> None:
    told = stored if whole else {**GOOD, key: stored}
    try:
        sensor = Sensor.from_json(told)
    except ArtifactError as error:
        assert len(str(error)) < 3000
    else:
        assert Sensor.from_json(sensor.as_json()) == sensor


CAMERA = Camera(focal=(9, 9))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "cloud"}, "kind of a sensor must be one of points, depth, disparity, but is 'cl"),
        ({"pattern": "x"}, r"the pattern of points \(--points\) must be a path"),
        ({"scale": 0.0}, r"the scale \(--depth-scale\) of a sensor must be above 0 .* but is 0\.0"),
        ({"kind": "disparity", "camera": CAMERA, "baseline": -1.0}, r"\(--baseline\) of a"),
        ({"camera": CAMERA}, "of points must have neither .* but has a camera and no baseline"),
        ({"kind": "depth"}, "of depth must have a camera and no baseline, but has no camera"),
        ({"kind": "depth", "camera": CAMERA, "baseline": 1.0}, "a camera and no baseline, but has"),
        ({"kind": "disparity", "camera": CAMERA}, "a camera and a baseline, or neither, but"),
        ({"kind": "disparity", "baseline": 0.1}, "a camera and a baseline, or neither, but"),
        ({"kind": "disparity", "background": True}, "in metres for their background.*--keep-"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Sensor(**{"kind": "points", "pattern": "{stem}.ply", **wrong})
