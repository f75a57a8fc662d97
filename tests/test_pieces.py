"""Connected pieces band by band, against SciPy's labels of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blemish import regions as room
from blemish.regions import Pieces, boxes, region_mask, regions

EIGHT = np.ones((3, 3))


def drawn(size: tuple[int, int], seed: int, share: float) -> tuple[npt.NDArray[np.float32], float]:
    """A map, and a level that about this share of it is above."""
    rng = np.random.default_rng(seed)
    map = ndimage.gaussian_filter(rng.standard_normal(size), rng.uniform(0, 2)).astype(np.float32)
    return map, float(np.quantile(map, 1 - share))


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
    band=st.integers(1, 400),
)
def test_peaks_are_those_of_whole_pieces(
    size: tuple[int, int], seed: int, share: float, band: int
) -> None:
    map, level = drawn(size, seed, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BAND", band)
        found = Pieces(map, lambda rows: map[rows] > level)
        peaks = np.concatenate([found.peaks[labels] for _, labels, _ in found.bands()])
    labels, count = ndimage.label(map > level, EIGHT)
    expected = np.full(size, -np.inf, np.float32)
    for label in range(1, count + 1):
        expected[labels == label] = map[labels == label].max()
    assert np.array_equal(peaks, expected)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 0.4),
)
def test_boxes_hold_every_mark_and_cut_no_piece(
    size: tuple[int, int], seed: int, share: float
) -> None:
    map, level = drawn(size, seed, share)
    marked = map > level
    labels, count = ndimage.label(marked, EIGHT)
    times = np.zeros(size, int)
    owners: dict[int, int] = {}
    for number, (rows, columns) in enumerate(boxes(marked)):
        times[rows, columns] += 1
        for label in set(labels[rows, columns].ravel().tolist()) - {0}:
            assert owners.setdefault(label, number) == number
    assert times.max(initial=0) <= 1
    assert (times[marked] == 1).all()
    assert len(owners) == count


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.01, 0.5), band=st.integers(1, 300))
def test_a_map_in_bands_has_the_same_regions(seed: int, share: float, band: int) -> None:
    map, level = drawn((33, 27), seed, share)
    whole = region_mask(map, level + 0.5, level), regions(map, level + 0.5, level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BAND", band)
        assert np.array_equal(region_mask(map, level + 0.5, level), whole[0])
        assert regions(map, level + 0.5, level) == whole[1]
