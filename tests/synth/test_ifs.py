"""Fractals: the systems drawn, the game played side by side, the stamp."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from blemish.synth import ifs


def test_sigma_factor_lies_between_its_bounds_and_fills_them() -> None:
    rng = np.random.default_rng(0)
    systems = np.stack([ifs.sample_system(rng) for _ in range(2000)])
    s = np.linalg.svd(systems[..., :2], compute_uv=False)
    factor = (s[..., 0] + 2 * s[..., 1]).sum(axis=1)
    assert 3.5 <= factor.min() < 3.51
    assert 3.99 < factor.max() <= 4
    assert abs(factor.mean() - 3.75) < 0.015
    assert (s <= 1 + 1e-12).all()
    assert (np.abs(systems[..., 2]) <= 1).all()
    # signs: mirrored and plain maps are as likely
    assert abs((np.linalg.det(systems[..., :2]) > 0).mean() - 0.5) < 0.04


def test_singular_values_are_the_first_of_equals_of_the_rule() -> None:
    # With the factor drawn, s1 of the first map is even between max(0, q / 3) and 1.
    rng = np.random.default_rng(1)
    systems = np.stack([ifs.sample_system(rng) for _ in range(2000)])
    s = np.linalg.svd(systems[..., :2], compute_uv=False)
    q = (s[..., 0] + 2 * s[..., 1]).sum(axis=1) - 3
    place = (s[:, 0, 0] - q / 3) / (1 - q / 3)
    assert place.min() >= -1e-9
    assert np.abs(np.quantile(place, (0.25, 0.5, 0.75)) - (0.25, 0.5, 0.75)).max() < 0.04


def one_after_the_other(system: ifs.System, rng: np.random.Generator, count: int) -> ifs.Points:
    """The chaos game as the papers write it down."""
    areas = np.abs(np.linalg.det(system[..., :2]))
    first = rng.random(count) < areas[0] / areas.sum()
    place = np.linalg.solve(np.eye(2) - system[0, :, :2], system[0, :, 2])
    (a, b, c), (d, e, f) = system[0].tolist()
    (g, h, i), (j, k, m) = system[1].tolist()
    x, y = place.tolist()
    places = []
    for one in first.tolist():
        x, y = (
            (a * x + b * y + c, d * x + e * y + f)
            if one
            else (g * x + h * y + i, j * x + k * y + m)
        )
        places.append((x, y))
    return np.array(places, np.float32).T


def shares(points: ifs.Points, low: ifs.Points, high: ifs.Points) -> np.ndarray:
    box = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    counts, _, _ = np.histogram2d(*points, bins=12, range=box)
    return np.asarray(counts / points.shape[1])


def test_side_by_side_lands_where_one_after_the_other_does() -> None:
    rng = np.random.default_rng(2)
    worse, wider = 0, []
    for _ in range(12):
        system = ifs.sample_system(rng)
        alone = one_after_the_other(system, rng, ifs.POINTS)
        other = one_after_the_other(system, rng, ifs.POINTS)
        ours = ifs.chaos_game(system, rng)
        assert ours.shape == (2, 100_000)
        low, high = alone.min(axis=1), alone.max(axis=1)
        wider.append(np.log(np.ptp(ours, axis=1) / (high - low)))
        expected = shares(alone, low, high)
        chance = np.abs(shares(other, low, high) - expected).sum()
        found = np.abs(shares(ours, low, high) - expected).sum()
        assert found < 2 * chance + 0.02
        worse += found > chance
    assert abs(np.mean(wider)) < 0.02  # no farther out, no less far
    assert np.abs(wider).max() < 0.15  # two games of the same kind differ by up to 0.08
    assert worse < 12  # or there would be a difference of its own


def test_every_point_follows_from_another() -> None:
    system = ifs.sample_system(np.random.default_rng(3))
    x, y = ifs.chaos_game(system, np.random.default_rng(4)).reshape(2, 8, -1).astype(np.float64)
    nexts = np.einsum("mij,jkn->mikn", system, np.stack([x, y, np.ones_like(x)]))
    gaps = np.abs(nexts[:, :, :-1] - np.stack([x, y])[None, :, 1:]).max(axis=1)
    assert gaps.min(axis=0).max() < 1e-4
    share = (gaps[0] < gaps[1]).mean()
    areas = np.abs(np.linalg.det(system[..., :2]))
    assert abs(share - areas[0] / areas.sum()) < 0.01


def test_a_map_that_keeps_a_direction_has_a_start_all_the_same() -> None:
    system = np.array([[[1, 0, 0], [0, 0.5, 1]], [[0.5, 0, 0], [0, 0.5, 0]]], np.float64)
    assert np.isfinite(ifs.chaos_game(system, np.random.default_rng(0))).all()


def test_fill_of_the_square() -> None:
    rng = np.random.default_rng(5)
    fill = np.array([ifs.fractal_mask(256, rng).mean() for _ in range(300)])
    low, middle, high = np.percentile(fill, (5, 50, 95))
    assert fill.min() > 0
    assert 0.26 < fill.mean() < 0.31  # 0.28 in fractalad.md, section 2.5
    assert 0.055 < low < 0.105  # 0.08
    assert 0.20 < middle < 0.29  # 0.24
    assert 0.52 < high < 0.67  # 0.59


@pytest.mark.parametrize("side", [1, 2, 5, 40])
def test_the_stamp_is_a_dab_at_every_point(side: int) -> None:
    rng = np.random.default_rng(side)
    points = rng.random((2, 12), np.float32)
    seen = ifs.stamp(points, side, np.random.default_rng(7))
    low, high = points.min(axis=1), points.max(axis=1)
    dots = np.zeros((side, side), np.bool_)
    for x, y in ((points.T - low) / (high - low)).tolist():
        dots[min(int(y * side), side - 1), min(int(x * side), side - 1)] = True
    dabs = [np.array([code >> bit & 1 for bit in range(9)]).reshape(3, 3) for code in range(1, 512)]
    # binary_dilation turns the dab around; any of the 511 may have been drawn
    assert any(np.array_equal(seen, ndimage.binary_dilation(dots, dab)) for dab in dabs)


def test_the_stamp_covers_the_whole_square() -> None:
    mask = ifs.stamp(
        ifs.chaos_game(ifs.sample_system(np.random.default_rng(8)), np.random.default_rng(8)),
        64,
        np.random.default_rng(8),
    )
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert max(rows[0], columns[0]) <= 1
    assert min(rows[-1], columns[-1]) >= 62


def test_one_place_many_times_is_no_division_by_zero() -> None:
    # a dab without its middle can fall outside of one pixel, but never out of five
    assert ifs.stamp(np.ones((2, 100), np.float32), 5, np.random.default_rng(0)).sum() <= 9
