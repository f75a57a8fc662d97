"""Centres, groups and what cells are made of: against SciPy, torch's pooling and the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch.nn import functional as F

from blemish import groups
from blemish.groups import GROUPS, SIDE, SIZE, farthest_points, groups_of, mixture, neighbours
from blemish.sensors import Scan


def drawn(count: int, seed: int = 0) -> groups.Exact:
    return np.random.default_rng(seed).normal(size=(count, 3))


def surface(seed: int = 0, side: int = SIDE) -> Scan:
    """A wavy sheet, half a millimetre a pixel, half a metre away, with holes and a torn edge."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side)) * (SIDE / side)
    z = 0.5 + 0.01 * np.sin(columns / 20) * np.cos(rows / 30) + rng.normal(0, 5e-5, (side, side))
    points = np.stack([5e-4 * columns, 5e-4 * rows, z], axis=2)
    seen = (rng.random((side, side)) > 0.1) & (rows + columns > SIDE // 3)
    return Scan(points=(points * seen[..., None]).astype(np.float32), seen=seen)


@given(count=st.integers(1, 60), wanted=st.integers(1, 80), seed=st.integers(0, 999))
def test_each_centre_is_farthest_from_those_before(count: int, wanted: int, seed: int) -> None:
    points = drawn(count, seed)
    chosen = farthest_points(points, wanted)
    assert len(chosen) == wanted
    assert chosen[0] == 0
    for turn in range(1, min(wanted, count)):
        before = points[chosen[:turn]]
        far = np.linalg.norm(points[:, None] - before[None], axis=2).min(1)
        assert far[chosen[turn]] == pytest.approx(far.max(), rel=1e-12)
    assert len(set(chosen[:count].tolist())) == min(count, wanted)
    assert chosen[count:].tolist() == [chosen[i % count] for i in range(max(0, wanted - count))]


def test_equal_points_are_all_taken_once() -> None:
    assert sorted(farthest_points(np.zeros((5, 3)), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("chunk", [1, 1000, 2**20])
@pytest.mark.parametrize("count", [1, 3, 4, 7, 300])
def test_neighbours_are_scipys(monkeypatch: pytest.MonkeyPatch, chunk: int, count: int) -> None:
    monkeypatch.setattr(groups, "_CHUNK", chunk)
    away = np.array([1000.0, 0, 0])
    points, centres = drawn(300) + away, drawn(40, 1) + away
    squares, places = neighbours(points, centres, count)
    far, expected = cKDTree(points).query(centres, [*range(1, count + 1)])
    assert np.array_equal(places, expected)
    assert np.allclose(squares, far**2, rtol=1e-9)


def test_few_points_come_again() -> None:
    squares, places = neighbours(np.array([[0.0, 0, 0], [1, 0, 0]]), np.zeros((1, 3)), 5)
    assert places.tolist() == [[0, 1, 0, 1, 0]]
    assert squares.tolist() == [[0, 1, 0, 1, 0]]


def test_groups_are_the_nearest_points_about_their_centres() -> None:
    scan = surface()
    made = groups_of(scan, 56)
    assert made["centres"].shape == (GROUPS, 3)
    assert made["groups"].shape == (GROUPS, SIZE, 3)
    points = scan.points[scan.seen].astype(np.float64)
    assert np.array_equal(made["centres"][0], points[0].astype(np.float32))
    assert np.array_equal(made["groups"][:, 0], np.zeros((GROUPS, 3)))  # the centre itself
    far = np.linalg.norm(made["groups"], axis=2)
    expected = cKDTree(points).query(made["centres"], SIZE)[0]
    assert np.allclose(far, expected, atol=1e-7)


@pytest.mark.parametrize("grid", [56, 28, 7, 32])
def test_a_cell_is_what_interpolation_and_pooling_give(grid: int) -> None:
    """Interpolated at each pixel, 0 where nothing was seen; AvgPool2d(3, stride=1), then
    AdaptiveAvgPool2d, as the released code does it."""
    scan, rng = surface(1), np.random.default_rng(0)
    points = scan.points[scan.seen].astype(np.float64)
    centres, features = points[farthest_points(points, 50)], rng.normal(size=(50, 4))
    far, places = cKDTree(centres).query(points, 3)
    weights = 1 / (far**2 + 1e-8)
    weights /= weights.sum(1, keepdims=True)
    plane = np.zeros((SIDE, SIDE, 4))
    plane[scan.seen] = (weights[..., None] * features[places]).sum(1)
    pixels = torch.from_numpy(plane.transpose(2, 0, 1))[None]
    expected = F.adaptive_avg_pool2d(F.avg_pool2d(pixels, 3, stride=1), grid)[0]
    found = mixture(points, centres, scan.seen, grid) @ features
    assert np.allclose(found.T.reshape(4, grid, grid), expected, atol=1e-5)


def test_a_cell_within_the_surface_is_whole() -> None:
    scan = Scan(points=surface().points, seen=np.ones((SIDE, SIDE), np.bool_))
    points = scan.points.reshape(-1, 3).astype(np.float64)
    mixed = mixture(points, points[:9], scan.seen, 56)
    assert mixed.min() >= 0
    assert np.allclose(mixed.sum(1), 1, atol=1e-5)


def test_the_same_scan_gives_the_same_to_the_bit() -> None:
    one, other = groups_of(surface(), 28), groups_of(surface(), 28)
    for name, value in one.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, other[name])


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_scans_of_hardly_a_point_give_finite_numbers(count: int) -> None:
    seen = np.zeros((40, 30), np.bool_)
    seen.ravel()[100 : 100 + count] = True
    points = np.random.default_rng(0).normal(size=(40, 30, 3)).astype(np.float32)
    made = groups_of(Scan(points=points * seen[..., None], seen=seen), 8)
    shapes = {name: one.shape for name, one in made.items()}
    assert shapes == {
        "centres": (GROUPS, 3),
        "groups": (GROUPS, SIZE, 3),
        "mix": (64, GROUPS),
        "seen": (1, 1, 8, 8),
    }
    assert all(np.isfinite(one).all() for one in made.values())
    assert (made["mix"].max() > 0) == (made["seen"].max() > 0) == (count > 0)


def test_groups_are_of_the_scan_at_its_own_size() -> None:
    whole = Scan(points=surface(side=448).points, seen=np.ones((448, 448), np.bool_))
    wide, small = (groups_of(one, 28) for one in (whole, groups.resize_scan(whole, (SIDE, SIDE))))
    assert np.array_equal(wide["centres"], small["centres"])
