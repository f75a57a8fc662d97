"""CutPaste: rectangles and scars of the right size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises import check_promises, check_where, images, textured

from blemish.errors import ConfigError, SynthError
from blemish.synth.cutpaste import CutPaste, cutpaste


@given(image=images(), seed=st.integers(0, 2**32 - 1), scar=st.booleans())
@settings(max_examples=40)
def test_promises(image: npt.NDArray[Any], seed: int, scar: bool) -> None:
    check_promises(cutpaste, image, seed, CutPaste(scar=scar))


def test_rectangles_have_the_papers_area_and_aspect() -> None:
    image = textured((240, 320, 3))
    areas, aspects = [], []
    for seed in range(200):
        mask = cutpaste(image, None, np.random.default_rng(seed)).mask
        _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
        assert mask.sum() == width * height
        areas.append(mask.mean())
        aspects.append(height / width)
    assert 0.018 < min(areas) < 0.03
    assert 0.14 < max(areas) <= 0.15
    assert abs(np.mean(areas) - 0.085) < 0.01
    assert 0.28 < min(aspects) < 0.4
    assert 2.5 < max(aspects) < 3.4
    assert 0.4 < np.mean(np.array(aspects) > 1) < 0.6


def test_scars_are_thin_turned_strips() -> None:
    image = textured((256, 256, 3))
    turns = []
    for seed in range(100):
        mask = cutpaste(image, None, np.random.default_rng(seed), config=CutPaste(scar=True)).mask
        outline = np.argwhere(mask)[:, ::-1].astype(np.float32)
        _, sides, _ = cv2.minAreaRect(outline)
        assert 1 <= min(sides) <= 18
        assert 8 <= max(sides) <= 27
        spread = np.cov(outline.T)
        turns.append(abs(spread[0, 1]) > 1)
    assert np.mean(turns) > 0.5


def test_without_jitter_a_piece_is_found_again() -> None:
    image = textured((60, 60, 1))
    done = cutpaste(image, None, np.random.default_rng(0), config=CutPaste(jitter=0))
    x, y, width, height = cv2.boundingRect(done.mask.astype(np.uint8))
    piece = done.image[y : y + height, x : x + width]
    assert cv2.matchTemplate(image, piece, cv2.TM_SQDIFF_NORMED).min() < 1e-5


@pytest.mark.parametrize("scar", [True, False])
def test_where_is_for_the_middle(scar: bool) -> None:
    config = CutPaste(scar=scar, area=(0.01, 0.02), aspect=(0.9, 1.1))
    check_where(cutpaste, textured(), config, reach=9)


@pytest.mark.parametrize("scar", [True, False])
def test_black_allows_no_defect(scar: bool) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(SynthError, match="a cutpaste must visibly change"):
        cutpaste(black, None, np.random.default_rng(0), config=CutPaste(scar=scar))


@pytest.mark.parametrize(
    ("name", "value"),
    [("area", (0, 0.1)), ("aspect", (0.01, 1)), ("jitter", 1), ("scar_width", (0.2, 0.1)),
     ("scar_length", (0.1, 2)), ("scar_turn", 100)],
)  # fmt: skip
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"cutpaste.{name} must be"):
        CutPaste(**{name: value})
