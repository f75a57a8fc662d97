"""The relief: light and shadow where they belong, whatever the unit, the tilt and the sensor."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.data import open_data
from blemish.report.overlay import RGB
from blemish.report.relief import GROUND, HOLE, relief, upright
from blemish.scans import Scan, read_scan, scan_of
from conftest import shared_data
from scenes import STEP, tilted

SIZE = (96, 120)
Field = npt.NDArray[np.float64]
ROWS, COLUMNS = np.indices(SIZE)
MIDDLE = (48, 60)


def seen_from_above(towards: Field, seen: npt.NDArray[np.bool_] | None = None) -> Scan:
    """Under a camera that looks along z, so that what is higher has a smaller z."""
    return scan_of(np.stack([COLUMNS * STEP, ROWS * STEP, 0.5 - towards], axis=2), seen)


def hill(radius: float = 12, at: tuple[int, int] = MIDDLE) -> Field:
    away = np.hypot(ROWS - at[0], COLUMNS - at[1]) / radius
    return np.clip(1 - away**2, 0, None) ** 2


def flanks(picture: RGB, radius: float = 12, at: tuple[int, int] = MIDDLE) -> tuple[float, float]:
    """Mean grey of the upper left and of the lower right half of what lies there."""
    down, across = ROWS - at[0], COLUMNS - at[1]
    on = (np.hypot(down, across) < 0.8 * radius) & (np.abs(down - across) < radius)
    upper, lower = on & (down + across < -4), on & (down + across > 4)
    return float(picture[upper].mean()), float(picture[lower].mean())


def noise(seed: int, much: float) -> Field:
    return np.random.default_rng(seed).normal(0, much, SIZE)


@given(st.tuples(*[st.floats(-3, 3)] * 2))
def test_a_tilted_plane_is_uniform(slope: tuple[float, float]) -> None:
    drawn = relief(tilted(SIZE, slope)).astype(int)
    assert np.abs(drawn - GROUND).max() <= 3


def test_a_bump_is_bright_at_the_upper_left_and_a_dent_is_dark_there() -> None:
    bright, dark = flanks(relief(seen_from_above(0.002 * hill())))
    assert bright > GROUND + 25
    assert dark < GROUND - 25
    dark, bright = flanks(relief(seen_from_above(-0.002 * hill())))
    assert dark < GROUND - 25
    assert bright > GROUND + 5


def test_disparity_is_higher_where_it_is_larger() -> None:
    near = np.rint(40000 - 3000 * hill() + noise(0, 30))
    drawn = relief(scan_of(np.stack([COLUMNS, ROWS, near], axis=2), np.ones(SIZE, bool)))
    dark, bright = flanks(drawn)  # a dent
    assert dark < GROUND - 25
    assert bright > GROUND + 5


def test_a_dent_of_a_few_noise_levels_shows_on_a_part_centimetres_high() -> None:
    away = np.hypot(ROWS - 48, COLUMNS - 60) / 44
    dome = 0.02 * np.sqrt(np.clip(1 - away**4, 0, 1)) + noise(1, 5e-5)
    clean = flanks(relief(seen_from_above(dome)), 8)
    dented = flanks(relief(seen_from_above(dome - 2e-4 * hill(8))), 8)
    assert abs(clean[0] - clean[1]) < 15
    assert dented[1] - dented[0] > 35


def test_a_wall_does_not_drown_what_lies_beside_it() -> None:
    surface = 0.001 * hill(10, (48, 30)) + noise(2, 2e-5)
    plain = flanks(relief(seen_from_above(surface)), 10, (48, 30))
    beside = flanks(relief(seen_from_above(surface + 0.05 * (COLUMNS > 90))), 10, (48, 30))
    assert beside[0] - beside[1] > 0.4 * (plain[0] - plain[1]) > 20


@given(st.integers(0, 9), st.floats(0, 0.9))
def test_holes_are_marked_and_nothing_else_is(seed: int, share: float) -> None:
    seen = np.random.default_rng(seed).random(SIZE) >= share
    drawn = relief(seen_from_above(0.01 * hill() + noise(seed, 1e-4), seen))
    np.testing.assert_array_equal((drawn == HOLE).all(axis=2), ~seen)
    grey = drawn[seen]
    assert (grey == grey[:, :1]).all()


def test_a_hole_casts_no_shadow() -> None:
    seen = np.hypot(ROWS - 48, COLUMNS - 60) > 15
    drawn = relief(scan_of(tilted(SIZE, (0.5, 0.2)).points, seen)).astype(int)
    assert np.abs(drawn[seen] - GROUND).max() <= 2


@pytest.mark.parametrize("scale", [999.0, 1e-3, 2.0**40, 1e30])
def test_units_do_not_matter(scale: float) -> None:
    scan = seen_from_above(0.01 * hill() + noise(3, 1e-4), noise(4, 1) < 1.5)
    scaled = dataclasses.replace(scan, points=scan.points * np.float32(scale))
    apart = np.abs(relief(scaled).astype(int) - relief(scan))
    assert apart.max() <= 2


@given(st.integers(0, 50))
def test_axes_do_not_matter(seed: int) -> None:
    scan = seen_from_above(0.01 * hill() + noise(seed, 2e-5))
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    turned = scan_of(scan.points.astype(float) @ turn.T + 0.3, scan.seen)
    apart = np.abs(relief(turned).astype(int) - relief(scan))
    assert apart.mean() < 4
    placed = upright(turned)
    assert (np.diff(placed[:, :, 0], axis=1) > 0).all()
    assert (np.diff(placed[:, :, 1], axis=0) < 0).all()
    assert placed[MIDDLE][2] > placed[2, 2, 2] + 0.009


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (7, 9), (500, 3)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_any_size_and_any_number_of_holes(size: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(0)
    seen = rng.random(size) >= share
    scan = scan_of(rng.random((*size, 3)), seen)
    scan.points.flags.writeable = scan.seen.flags.writeable = False
    drawn = relief(scan)
    assert drawn.shape == (*size, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal((drawn == HOLE).all(axis=2), ~seen)


def test_points_that_are_all_one_are_flat() -> None:
    assert (relief(scan_of(np.zeros((5, 6, 3)), np.ones((5, 6), bool))) == GROUND).all()


def test_real_disparity_uses_the_greys_there_are() -> None:
    data = open_data(shared_data("road_rgbd"))
    for sample in [s for s in data.test if s.is_defect][::20]:
        scan = read_scan(sample)
        grey = relief(scan)[scan.seen][:, 0]
        assert 25 < grey.std() < 70
        assert np.mean((grey < 10) | (grey > 250)) < 0.1
