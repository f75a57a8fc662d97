"""What every maker promises, for every entry of MAKERS."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from blemish.clouds import Cloud
from blemish.errors import ConfigError, ShapeError, SynthError
from blemish.records import Pixels
from blemish.synth import FLAT, MAKERS, RELIEF, Altered, maker, settings_of

KINDS = pytest.mark.parametrize("kind", MAKERS)
SIZES = [(16, 16), (17, 64), (64, 48), (96, 130), (16, 700)]


def textured(size: tuple[int, int], channels: int, dtype: Any, seed: int, top: int = 255) -> Pixels:
    """Slopes, grain and a bright disc: something that every kind can be seen on."""
    rng = np.random.default_rng([seed, 7])
    v, u = np.indices(size) / max(size)
    field = 0.4 + 0.2 * u - 0.1 * v + 0.06 * rng.standard_normal(size)
    field += 0.25 * (np.hypot(u - 0.5 * size[1] / max(size), v - 0.5 * size[0] / max(size)) < 0.2)
    tint = rng.uniform(0.6, 1.0, channels)
    return np.clip(field[..., None] * tint * top, 0, top).astype(dtype)


def tilted(size: tuple[int, int], seed: int, absent: float = 0.0) -> Cloud:
    """A gently curved surface, y down, z away, half a metre off, with missing points."""
    rng = np.random.default_rng([seed, 9])
    v, u = np.indices(size) * 0.0005
    z = 0.5 + rng.uniform(-0.5, 0.5) * u + rng.uniform(-0.5, 0.5) * v + 2 * u * v
    points = np.stack([u - 0.01, v - 0.01, z], axis=2).astype(np.float32)
    points[rng.random(size) < absent] = 0
    return points


def made(kind: str, image: Pixels, points: Cloud | None = None, seed: int = 0) -> Altered:
    return maker(kind)(image, points, np.random.default_rng(seed))


def same(one: Altered, two: Altered) -> bool:
    pairs = [(one.image, two.image), (one.mask, two.mask), (one.points, two.points)]
    return all((a is b is None) or np.array_equal(a, b) for a, b in pairs)  # type: ignore[arg-type]


@KINDS
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.sampled_from(SIZES),
    channels=st.sampled_from([1, 3]),
    depth=st.sampled_from([(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)]),
    seed=st.integers(0, 2**32),
    solid=st.booleans(),
)
def test_promises(
    kind: str, size: tuple[int, int], channels: int, depth: Any, seed: int, solid: bool
) -> None:
    dtype, top = depth
    image = textured(size, channels, dtype, seed % 5, top)
    points = tilted(size, seed % 5, 0.02) if solid else None
    kept = image.copy(), None if points is None else points.copy()
    image.setflags(write=False)
    if points is not None:
        points.setflags(write=False)
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # type: ignore[union-attr, index]
    try:
        altered = made(kind, image, points, seed)
    except SynthError as error:  # there is not room for everything in 16 px
        assert min(size) < 48, error
        assume(False)
    after = np.random.get_state()[1]  # noqa: NPY002 - nobody may touch it
    assert (after == before).all()  # type: ignore[index]
    assert np.array_equal(image, kept[0])
    assert points is None or np.array_equal(points, kept[1])  # type: ignore[arg-type]

    assert altered.mask.shape == size
    assert altered.mask.dtype == np.bool_
    assert altered.mask.any()
    assert (altered.image.shape, altered.image.dtype) == (image.shape, image.dtype)
    assert np.array_equal(altered.image[~altered.mask], image[~altered.mask])
    assert (altered.image != image).any() or (kind in RELIEF and solid)
    assert altered.image.max() <= top  # 12 bits stay 12 bits
    assert not np.shares_memory(altered.image, image)
    assert (altered.points is None) == (points is None)
    if points is not None and altered.points is not None:
        assert altered.points.dtype == np.float32
        assert np.array_equal(altered.points[~altered.mask], points[~altered.mask])
        assert not altered.points[~points.any(axis=2)].any(), "missing stays missing"
        assert np.isfinite(altered.points).all()
        assert not np.shares_memory(altered.points, points)

    assert same(altered, made(kind, image, points, seed)), "one seed, one defect"


@KINDS
def test_another_seed_is_another_defect(kind: str) -> None:
    image = textured((96, 130), 3, np.uint8, 0)
    masks = [made(kind, image, seed=seed).mask for seed in range(4)]
    assert len({mask.tobytes() for mask in masks}) == 4


@KINDS
@pytest.mark.parametrize("level", [0, 90, 255])
def test_even_images_get_a_defect_or_an_error(kind: str, level: int) -> None:
    image = np.full((64, 64, 3), level, np.uint8)
    try:
        altered = made(kind, image)
    except SynthError as error:
        assert "Take another" in str(error)
    else:
        assert altered.mask.any()
        assert np.array_equal(altered.image[~altered.mask], image[~altered.mask])


@KINDS
def test_the_middle_lies_where_it_may(kind: str) -> None:
    image = textured((200, 200), 3, np.uint8, 1)
    where = np.zeros((200, 200), np.bool_)
    where[150:170, 20:40] = True
    far = 0
    for seed in range(8):
        altered = maker(kind)(image, None, np.random.default_rng(seed), where=where)
        v, u = (index.mean() for index in np.nonzero(altered.mask))
        far += bool(np.hypot(v - 160, u - 30) > 60)
    assert far <= 1  # a crack's branches may pull its centre aside


@KINDS
def test_what_cannot_be_altered_is_refused(kind: str) -> None:
    with pytest.raises(ShapeError, match="at least 16 px"):
        made(kind, np.zeros((15, 40, 3), np.uint8))
    with pytest.raises(ShapeError, match="points must be"):
        made(kind, np.zeros((20, 40, 3), np.uint8), np.zeros((20, 41, 3), np.float32))


@KINDS
def test_settings_out_of_range_are_refused(kind: str) -> None:
    default = settings_of(kind)
    for field in fields(default):
        value = getattr(default, field.name)
        if value is None or isinstance(value, (bool, str)):
            continue  # not a number
        bad: Any = (-1.0, -1.0) if isinstance(value, tuple) else -1
        with pytest.raises(ConfigError, match=rf"^{kind}\.{field.name} must be .*--set"):
            replace(default, **{field.name: bad})


def test_ranges_must_ascend() -> None:
    with pytest.raises(ConfigError, match="the smaller first"):
        replace(settings_of("scratch"), width=(0.02, 0.01))


def test_unknown_kinds_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean scratch"):
        maker("scrach")


def test_kinds_are_what_they_are_called() -> None:
    assert set(FLAT) | set(RELIEF) == set(MAKERS)
    assert not set(FLAT) & set(RELIEF)
    assert all(function.__name__ == kind for kind, function in MAKERS.items())  # type: ignore[attr-defined]


@pytest.mark.slow
@KINDS
def test_large_images(kind: str) -> None:
    image = textured((3000, 4000), 3, np.uint8, 0)
    altered = made(kind, image)
    assert altered.mask.any()
    assert np.array_equal(altered.image[~altered.mask], image[~altered.mask])
