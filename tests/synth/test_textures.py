"""Textures: from the user's folder, or drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import DataError, ImageError
from blemish.synth.textures import PATTERNS, texture


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    channels=st.sampled_from((1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_drawn_textures_fit(size: tuple[int, int], channels: int, seed: int) -> None:
    first, again = (texture(size, channels, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (*size, channels)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0 <= first.min() <= first.max() <= 1


def test_every_pattern_is_a_pattern() -> None:
    for pattern in PATTERNS:
        field = pattern((64, 80), np.random.default_rng(0))
        assert field.shape == (64, 80)
        assert (field.min(), field.max()) == (0, pytest.approx(1))
        assert field.std() > 0.05


def test_large_ones_are_enlarged() -> None:
    assert texture((1500, 40), 3, np.random.default_rng(0)).shape == (1500, 40, 3)


def test_pictures_of_a_folder_fill_the_size(tmp_path: Path) -> None:
    folder = tmp_path / "dtd" / "striped"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), np.full((30, 20, 3), (0, 51, 255), np.uint8))
    (folder / "notes.txt").write_text("no picture")
    light = texture((50, 70), 3, np.random.default_rng(0), str(tmp_path / "dtd"))
    assert np.allclose(light, (1, 0.2, 0), atol=1e-6)
    grey = texture((10, 7), 1, np.random.default_rng(0), str(tmp_path / "dtd"))
    assert grey.shape == (10, 7, 1)
    assert np.allclose(grey, 0.299 + 0.587 * 0.2, atol=1e-3)


def test_grey_pictures_serve_colour_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 20), 51, np.uint8))
    assert np.allclose(texture((9, 9), 3, np.random.default_rng(0), str(tmp_path)), 0.2)


def test_folders_without_pictures_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder with pictures of textures"):
        texture((9, 9), 3, np.random.default_rng(0), str(tmp_path))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").write_bytes(b"\x89PNG damaged")
    with pytest.raises(ImageError):
        texture((9, 9), 3, np.random.default_rng(0), str(tmp_path / "more"))
