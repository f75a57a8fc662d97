"""Photograph and relief side by side: both painted alike, and a missing one is told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from blemish.errors import DataError, ShapeError
from blemish.records import Prediction
from blemish.regions import regions
from blemish.report.overlay import draw_overlay, paint
from blemish.report.relief import relief
from blemish.report.view import draw_pair
from blemish.scans import Scan
from scenes import tilted

SIZE = (120, 160)
LEVELS = (3.0, 6.0)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def defect(size: tuple[int, int] = SIZE) -> Prediction:
    map = np.ones(size, np.float32)
    map[size[0] // 3 :, size[1] // 2 :] = 8
    found = regions(map, LEVELS[1], LEVELS[0])
    return Prediction(
        score=8.0, p_value=0.01, threshold=5.0, verdict="defect", map=map, regions=found, ms=1.0
    )


def scan(size: tuple[int, int] = SIZE) -> Scan:
    return tilted(size, (0.2, 0.1))


def test_both_stand_side_by_side_over_one_bar() -> None:
    drawn = draw_pair(IMAGE, scan(), defect(), LEVELS)
    height, width = SIZE
    gap = drawn.shape[1] - 2 * width
    assert 2 <= gap <= 8
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[:height, :width], paint(IMAGE, defect(), LEVELS))
    expected = paint(relief(scan()), defect(), LEVELS)
    np.testing.assert_array_equal(drawn[:height, width + gap :], expected)
    between = drawn[:height, width : width + gap]
    assert (between == between[0, 0]).all()
    assert 12 < drawn.shape[0] - height < 40


@pytest.mark.parametrize("size", [(3, 4), (300, 40), (20, 900), (700, 1000)])
def test_pairs_of_any_size(size: tuple[int, int]) -> None:
    drawn = draw_pair(np.full((*size, 1), 900, np.uint16), scan(size), defect(size), LEVELS)
    assert drawn.shape[0] > size[0]
    assert drawn.shape[1] >= 2 * size[1] + 2


def test_one_alone_says_that_the_other_is_missing() -> None:
    plain = draw_overlay(IMAGE, defect(), LEVELS)
    photograph = draw_pair(IMAGE, None, defect(), LEVELS)
    surface = draw_pair(None, scan(), defect(), LEVELS)
    shaded = draw_overlay(relief(scan()), defect(), LEVELS)
    for alone, as_ever in ((photograph, plain), (surface, shaded)):
        assert alone.shape[1] == SIZE[1]
        np.testing.assert_array_equal(alone[: SIZE[0]], as_ever[: SIZE[0]])
        assert letters(alone) > letters(as_ever) + 10  # the bar says more
    bars = [alone[SIZE[0] :] for alone in (photograph, surface)]
    assert bars[0].shape != bars[1].shape or (bars[0] != bars[1]).any()  # and not the same


def letters(drawn: npt.NDArray[np.uint8]) -> int:
    return int((drawn[SIZE[0] :].min(axis=2) > 150).sum())


def test_neither_is_refused() -> None:
    with pytest.raises(DataError, match="a photograph or a scan"):
        draw_pair(None, None, defect(), LEVELS)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(60, 80\)"):
        draw_pair(IMAGE, scan((60, 80)), defect(), LEVELS)
