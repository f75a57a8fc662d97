"""Normals, curvature and other sizes, on planes and balls whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import ConfigError
from blemish.geometry import REACH, pitch, resize_scan, surface_of
from blemish.scans import Scan, scan_of
from scenes import STEP, ball, on_a_table, tilted

SLOPES = st.floats(-1.5, 1.5)


def with_hole(scan: Scan, *where: tuple[int, int]) -> Scan:
    seen = scan.seen.copy()
    for place in where:
        seen[place] = False
    return scan_of(scan.points, seen)


@given(slope=st.tuples(SLOPES, SLOPES), radius=st.integers(1, 3))
def test_a_plane_has_one_normal_and_no_curvature(slope: tuple[float, float], radius: int) -> None:
    surface = surface_of(tilted((9, 11), slope), radius)
    expected = np.array([slope[0], slope[1], -1]) / np.sqrt(slope[0] ** 2 + slope[1] ** 2 + 1)
    inner = np.s_[radius:-radius, radius:-radius]
    assert surface.known[inner].all()
    np.testing.assert_allclose(
        surface.normals[inner],
        np.broadcast_to(expected, (*surface.known[inner].shape, 3)),
        atol=1e-3,
    )
    assert surface.curvature.max() < 1e-6


def test_a_balls_normals_point_from_its_middle() -> None:
    scan = ball(61, 0.05)
    surface = surface_of(scan, 2)
    known = surface.known
    away = (scan.points - [0, 0, 1])[known]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert known.sum() > 0.95 * scan.seen.sum()
    assert (surface.normals[known] * away).sum(1).min() > 0.97
    inner = known & (np.hypot(*scan.points[..., :2].transpose(2, 0, 1)) < 0.02)
    assert (surface.normals[inner] * (scan.points - [0, 0, 1])[inner] / 0.05).sum(1).min() > 0.9999


def test_a_smaller_ball_is_more_curved() -> None:
    middle = (20, 20)
    curved = [float(surface_of(ball(41, r), 3).curvature[middle]) for r in (0.2, 0.1, 0.05)]
    assert curved[0] < curved[1] < curved[2]
    # Of a quadratic the variation across grows with the square of the curvature.
    assert curved[1] / curved[0] == pytest.approx(4, rel=0.2)


def test_edges_and_holes_bend_no_normal() -> None:
    scan = tilted((12, 12), (0.2, 0.0))
    points = scan.points.copy()
    points[:, 6:, 2] += 0.05  # a step of fifty pixels' width
    seen = scan.seen.copy()
    seen[3, 3] = False
    points[3, 3] = 0
    surface = surface_of(scan_of(points, seen), 2)
    expected = np.array([0.2, 0, -1]) / np.sqrt(1.04)
    there = seen & surface.known
    assert there.sum() == seen.sum()
    assert np.abs(surface.normals[there] - expected).max() < 1e-3
    assert not surface.known[3, 3]
    assert not surface.normals[3, 3].any()


def test_too_few_points_have_no_normal() -> None:
    line = np.zeros((9, 9), np.bool_)
    line[4] = True  # all on one line
    assert not surface_of(scan_of(tilted((9, 9), (0.3, 0.1)).points, line), 3).known.any()
    assert not surface_of(scan_of(np.zeros((4, 4, 3))), 2).known.any()
    alone = np.zeros((9, 9), np.bool_)
    alone[4, 4:6] = True
    assert not surface_of(scan_of(tilted((9, 9), (0.3, 0.1)).points, alone), 2).known.any()


def test_the_radius_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match="radius of a surface must be 1 px or more, but is 0"):
        surface_of(tilted((4, 4), (0, 0)), 0)


def test_pitch_is_the_usual_step() -> None:
    assert pitch(with_hole(tilted((9, 9), (0, 0)), (4, 4))) == pytest.approx(STEP, rel=1e-4)
    assert pitch(scan_of(np.zeros((3, 3, 3)))) == 0


@given(
    slope=st.tuples(SLOPES, SLOPES),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_resized_points_stay_on_the_plane(
    slope: tuple[float, float], size: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    scan = tilted(size, slope)
    holes = np.random.default_rng(seed).random(size) < 0.2
    scan = scan_of(scan.points, scan.seen & ~holes)
    small = resize_scan(scan, new)
    assert small.seen.shape == new
    x, y, z = np.moveaxis(small.points[small.seen].astype(float), 1, 0)
    np.testing.assert_allclose(z, 0.5 + slope[0] * x + slope[1] * y, atol=1e-5)
    # and each lies within its own pixel
    rows, columns = np.nonzero(small.seen)
    for found, at, before, after in ((y, rows, size[0], new[0]), (x, columns, size[1], new[1])):
        off = np.abs(found / STEP - ((at + 0.5) * before / after - 0.5))
        assert off.max(initial=0) <= max(before / after / 2, 0.5) + 1e-3


def test_the_same_size_changes_nothing() -> None:
    scan, *_ = on_a_table()
    again = resize_scan(scan, scan.seen.shape)
    np.testing.assert_array_equal(again.seen, scan.seen)
    np.testing.assert_allclose(again.points, scan.points, atol=1e-6)


@pytest.mark.parametrize("new", [(23, 31), (90, 61), (200, 150)])
def test_nothing_floats_between_two_surfaces(new: tuple[int, int]) -> None:
    """A block high above a table: no new point is in the air, and holes are not filled."""
    points = tilted((60, 60), (0, 0)).points.copy()
    points[20:40, 20:40, 2] = 0.4
    seen = np.ones((60, 60), np.bool_)
    seen[5:15, 5:15] = False
    small = resize_scan(scan_of(points, seen), new)
    heights = small.points[..., 2][small.seen]
    assert (np.isclose(heights, 0.5) | np.isclose(heights, 0.4)).all()
    middle = small.seen[round(new[0] / 6), round(new[1] / 6)]
    assert not middle
    area = (heights < 0.45).mean()
    assert area == pytest.approx(1 / 9, abs=0.03)


def test_a_new_pixel_with_one_seen_point_takes_it() -> None:
    points = tilted((6, 6), (0.1, 0.3)).points
    seen = np.zeros((6, 6), np.bool_)
    seen[1, 4] = True
    small = resize_scan(scan_of(points, seen), (2, 2))
    assert small.seen.tolist() == [[False, True], [False, False]]
    np.testing.assert_array_equal(small.points[0, 1], points[1, 4])


def test_sides_are_at_least_one() -> None:
    with pytest.raises(ConfigError, match=r"sides of 1 px or more, but got \(0, 3\)"):
        resize_scan(tilted((4, 4), (0, 0)), (0, 3))


def test_steep_surfaces_are_no_edges() -> None:
    steep = np.tan(np.deg2rad(74))
    assert steep**2 + 1 < REACH**2
