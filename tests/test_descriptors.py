"""What a graph is shown of a scan: FPFH and heights, cell by cell."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.data import open_data
from blemish.data.demo3d_part import PARTS, draw_part, draw_view, sense
from blemish.descriptors import AROUND, COUNT, EXTREME, FINE, GENTLE, describe, stretch_of
from blemish.fpfh import WIDTH, fpfh
from blemish.geometry import pitch, resize_scan, surface_of
from blemish.scans import Scan, read_scan, scan_of
from conftest import shared_data
from scenes import STEP, on_a_table, tilted

GRID = 8


def wavy(holes: float = 0.0, size: tuple[int, int] = (64, 80)) -> Scan:
    """Hills of half a millimetre, half a metre away."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(size)
    z = 0.5 + 5e-4 * np.sin(rows / 9) * np.cos(columns / 7)
    points = np.stack([STEP * columns, STEP * rows, z], axis=2)
    return scan_of(points, rng.random(size) >= holes)


def moved(scan: Scan, by: tuple[float, float, float], scale: float = 1.0) -> Scan:
    return scan_of(scale * (scan.points.astype(np.float64) + by), scan.seen)


def heights(scan: Scan, grid: int = GRID, stretch: float = 1.0) -> npt.NDArray[np.float32]:
    return describe(scan, grid, stretch)[0][WIDTH:]


def test_shapes_and_types() -> None:
    shape, seen = describe(wavy(), GRID)
    assert (shape.shape, seen.shape) == ((COUNT, GRID, GRID), (1, GRID, GRID))
    assert shape.dtype == seen.dtype == np.float32
    assert (seen == 1).all()


@given(z=st.floats(-0.3, 5), x=st.floats(-1, 1), holes=st.sampled_from([0.0, 0.1]))
@settings(max_examples=10)
def test_moving_the_part_changes_nothing(z: float, x: float, holes: float) -> None:
    scan = wavy(holes)
    (before, seen), (after, again) = (describe(s, GRID) for s in (scan, moved(scan, (x, 0, z))))
    assert np.array_equal(seen, again)
    # float32 holds half a metre to 3e-8, five to 5e-7
    np.testing.assert_allclose(after[WIDTH:], before[WIDTH:], atol=2e-6)
    off = np.abs(after[:WIDTH] - before[:WIDTH])  # an angle may fall into the next bin
    assert off.mean() < 1


def test_bends_are_those_of_fpfh() -> None:
    scan = wavy(0.05)
    fine = resize_scan(scan, (FINE * GRID, FINE * GRID))
    coarse = resize_scan(fine, (2 * GRID, 2 * GRID))
    expected = fpfh(coarse, surface_of(coarse)).reshape(GRID, 2, GRID, 2, WIDTH).mean((1, 3))
    found = describe(scan, GRID)[0][:WIDTH]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-3)


def test_whole_cells_hold_two_hundred_in_each_third() -> None:
    bends = describe(wavy(), GRID)[0][:WIDTH].reshape(3, -1, GRID, GRID)
    np.testing.assert_allclose(bends.sum(1), 200, rtol=1e-4)


def above(scan: Scan, width: float) -> npt.NDArray[np.float64]:
    """(GRID, GRID, pixels) heights of each cell's pixels above the mean around them."""
    fine = resize_scan(scan, (FINE * GRID, FINE * GRID))
    level = -fine.points[..., 2].astype(np.float64)
    level -= level.mean()
    off = level - cv2.GaussianBlur(level, (0, 0), width, borderType=cv2.BORDER_REFLECT)
    return off.reshape(GRID, FINE, GRID, FINE).swapaxes(1, 2).reshape(GRID, GRID, FINE * FINE)


@pytest.mark.parametrize(("number", "close"), [(0, 1e-6), (1, 1e-5)])
def test_heights_are_above_the_mean_of_what_lies_around(number: int, close: float) -> None:
    scan = wavy()
    pixels = np.sort(above(scan, AROUND[number]), axis=2)
    means, lows, highs = heights(scan).reshape(3, len(AROUND), GRID, GRID)[:, number]
    # wider surroundings are taken on a smaller picture
    np.testing.assert_allclose(means, pixels.mean(2), atol=close)
    np.testing.assert_allclose(lows, pixels[..., :EXTREME].mean(2), atol=close)
    np.testing.assert_allclose(highs, pixels[..., -EXTREME:].mean(2), atol=close)


@given(holes=st.sampled_from([0.0, 0.05, 0.3]), scale=st.floats(0.01, 100))
@settings(max_examples=10)
def test_a_mean_lies_between_its_extremes(holes: float, scale: float) -> None:
    scan = moved(wavy(holes), (0, 0, 0), scale)
    fully = describe(scan, GRID)[1][0] == 1  # elsewhere zeros stand for what was not seen
    means, lows, highs = heights(scan).reshape(3, len(AROUND), GRID, GRID)[..., fully]
    assert (lows <= means).all()
    assert (means <= highs).all()


def test_a_groove_is_lower_than_any_mean_tells() -> None:
    flat = tilted((64, 64), (0.0, 0.0))
    grooved = flat.points.copy()
    grooved[36, 20:44, 2] += 0.001  # one pixel in the cell's eight
    means, lows, highs = heights(scan_of(grooved)).reshape(3, len(AROUND), GRID, GRID)[:, 0]
    assert lows[4].min() < 4 * min(means[4].min(), -1e-5)
    assert np.unravel_index(lows.argmin(), lows.shape)[0] == 4
    assert highs[4].max() < -0.5 * lows[4].min()


def test_what_is_nearer_stands_higher() -> None:
    scan = wavy()
    near = scan.points.copy()
    near[24:32, 40:50, 2] -= 0.002
    raised = heights(scan_of(near)) - heights(scan)
    for plane in raised[: len(AROUND)]:
        assert np.unravel_index(plane.argmax(), plane.shape) == (3, 4)
    # of wide surroundings a bump is less of a part
    assert raised[len(AROUND) - 1].max() > raised[0].max()


def test_a_plane_has_no_heights_away_from_its_rim() -> None:
    flat = heights(tilted((64, 64), (0.2, -0.1)), 16)
    assert np.abs(flat[0, 4:-4, 4:-4]).max() < 2e-4
    assert np.abs(flat[0]).max() < 0.01


@given(factor=st.sampled_from([0.001, 0.5, 20.0, 1000.0]))
@settings(max_examples=4)
def test_another_unit_scales_the_heights_alone(factor: float) -> None:
    scan = wavy(0.05)
    before, after = (describe(s, GRID)[0] for s in (scan, moved(scan, (0, 0, 0), factor)))
    np.testing.assert_allclose(after[WIDTH:] / factor, before[WIDTH:], atol=1e-6)
    assert np.abs(after[:WIDTH] - before[:WIDTH]).mean() < 1


def test_stretch_is_a_factor_on_z() -> None:
    scan = wavy()
    tall = scan_of(scan.points * [1, 1, 3])
    np.testing.assert_allclose(describe(scan, GRID, 3.0)[0], describe(tall, GRID)[0], atol=1e-4)


def test_holes_are_told_and_do_not_count() -> None:
    scan = wavy()
    seen = scan.seen.copy()
    seen[16:24, 30:50] = False  # two cells and more, in the third row of eight
    shape, share = describe(scan_of(scan.points, seen), GRID)
    assert share[0, 2, 3] == share[0, 2, 4] == 0
    assert not shape[:, 2, 3:5].any()
    assert (share[0, :1] == 1).all()
    # Zeros that stand in a hole would be half a metre off.
    assert np.abs(shape[WIDTH:]).max() < 2 * np.abs(heights(scan)).max() + 1e-6
    np.testing.assert_allclose(shape[WIDTH, :1], heights(scan)[0, :1], atol=2e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (7, 5)])
@pytest.mark.parametrize("seen", [True, False])
def test_odd_scans_give_numbers(size: tuple[int, int], seen: bool) -> None:
    scan = tilted(size, (0.1, 0.1))
    shape, share = describe(scan_of(scan.points, np.full(size, seen)), GRID)
    assert np.isfinite(shape).all()
    assert share.max() == seen
    assert shape.any() <= seen


# stretch


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0])
def test_surfaces_in_metres_are_not_stretched(slope: float) -> None:
    assert stretch_of(tilted((40, 40), (slope, 0.1))) == 1
    assert stretch_of(wavy(0.3)) == 1
    assert stretch_of(on_a_table()[0]) == 1


def test_nothing_to_measure_is_not_stretched() -> None:
    assert stretch_of(scan_of(np.zeros((5, 5, 3)))) == 1
    assert stretch_of(tilted((1, 1), (0, 0))) == 1
    apart = np.indices((6, 6)).sum(0) % 2 == 0  # no two of a row are neighbours
    assert stretch_of(scan_of(tilted((6, 6), (9, 9)).points, apart)) == 1


def test_steep_numbers_become_gentle_in_one_step() -> None:
    rows, columns = np.indices((40, 40), dtype=float)
    scan = scan_of(np.stack([columns, rows, 900 + 7 * columns + 30 * rows], axis=2))
    factor = stretch_of(scan)
    gentle = scan_of(scan.points * [1, 1, factor])
    assert pitch(gentle) == pytest.approx(1, rel=0.05)
    slopes = np.abs(np.diff(gentle.points[..., 2], axis=1))
    assert 0.01 < np.median(slopes) <= GENTLE
    assert stretch_of(gentle) == 1


def test_real_disparity_becomes_gentle() -> None:
    data = open_data(shared_data("road_rgbd"))
    for sample in data.train[:2]:
        scan = read_scan(sample)
        factor = stretch_of(scan)
        assert 0 < factor < 1
        gentle = Scan(points=scan.points * np.array([1, 1, factor], np.float32), seen=scan.seen)
        assert pitch(gentle) < 1.1  # beside steps of one pixel
        assert stretch_of(gentle) == 1


def test_the_demos_scans_are_not_stretched() -> None:
    rng = np.random.default_rng(0)
    for part in PARTS:
        assert stretch_of(sense(draw_part(part, rng).height, draw_view(rng), rng)) == 1
