"""Regions of a map against SciPy's labelling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blemish.records import Map
from blemish.regions import region_mask, regions

EIGHT = np.ones((3, 3))


def outlined(map: Map, seed: float, extent: float) -> np.ndarray:
    """What region_mask says it does, one peak after the other."""
    marked = np.zeros(map.shape, bool)
    labels, count = ndimage.label(map > np.float32(extent), EIGHT)
    for label in range(1, count + 1):
        inside = labels == label
        peak = map[inside].max()
        if peak > np.float32(seed):
            marked |= inside & (map >= np.float32((np.float32(extent) + peak) / 2))
    return marked


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    draw=st.integers(0, 2**32 - 1),
    levels=st.tuples(st.floats(-2, 3, width=32), st.floats(-2, 3, width=32)),
    smooth=st.booleans(),
)
def test_regions_are_scipys(
    size: tuple[int, int], draw: int, levels: tuple[float, float], smooth: bool
) -> None:
    extent, seed = min(levels), max(levels)
    noise = np.random.default_rng(draw).standard_normal(size)
    map = (ndimage.gaussian_filter(noise, 1.5) * 3 if smooth else noise).astype(np.float32)
    found = regions(map, seed, extent)
    assert found[0].peak == map.max()
    assert [region.peak for region in found] == sorted((r.peak for r in found), reverse=True)
    if map.max() <= np.float32(seed):
        return  # only the map's own peak counts; see below
    marked = region_mask(map, seed, extent)
    assert np.array_equal(marked, outlined(map, seed, extent))
    labels, _ = ndimage.label(marked, EIGHT)
    expected = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels == label
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        if map[inside].max() > np.float32(seed):
            expected.append((box, int(inside.sum()), float(map[inside].max())))
    assert sorted((r.box, r.area_px, r.peak) for r in found) == sorted(expected)


def test_corners_touch() -> None:
    found = regions(np.eye(5, dtype=np.float32), 0.5, 0.5)
    assert [(region.box, region.area_px) for region in found] == [((0, 0, 5, 5), 5)]


def test_a_blurred_blemish_is_outlined_at_half_its_height() -> None:
    map = np.zeros((3, 12), np.float32)
    map[1, 1:6] = [0.6, 0.71, 0.9, 0.71, 0.6]
    map[1, 8:11] = 0.7  # above the extent, but below the seed
    found = regions(map, 0.8, 0.5)
    assert [(region.box, region.area_px) for region in found] == [((2, 1, 3, 1), 3)]


@pytest.mark.parametrize("seed", [1.0, 0.1 + 0.2 - 1e-12, 0.3, 99.0])
def test_the_highest_pixel_always_starts_a_region(seed: float) -> None:
    """Also where the level lies between two float32 numbers, and on a flat map."""
    map = np.full((4, 6), 0.1, np.float32)
    map[2, 3] = np.float32(0.3)
    assert [region.box for region in regions(map, seed, seed)] == [(3, 2, 1, 1)]
    assert [region.area_px for region in regions(np.ones((4, 6), np.float32), seed, 0.0)] == [24]


def test_many_regions_come_highest_first() -> None:
    map = np.zeros((200, 200), np.float32)
    map[::2, ::2] = np.random.default_rng(0).random((100, 100), np.float32) + 1
    found = regions(map, 1.5, 0.5)
    assert len(found) == int((map > 1.5).sum())
    assert all(region.area_px == 1 for region in found)
