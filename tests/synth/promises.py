"""What must hold for every maker of defects, whatever the image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from blemish.synth.base import Altered, Maker

SIZES = ((16, 16), (17, 31), (64, 48), (20, 300), (300, 20), (97, 130))


@st.composite
def images(draw: st.DrawFn) -> npt.NDArray[Any]:
    """Smooth noise of every size, depth and number of channels, read-only."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from(SIZES))
    channels, white = draw(st.sampled_from((1, 3))), draw(st.sampled_from((255, 4095, 65535)))
    coarse = rng.random((max(2, size[0] // 5), max(2, size[1] // 5), channels), np.float32)
    smooth = cv2.resize(coarse, size[::-1]).reshape(*size, channels)
    light = np.clip(smooth + 0.1 * rng.random(smooth.shape, np.float32), 0, 1)
    image = (light * white).astype(np.uint8 if white == 255 else np.uint16)
    image.flags.writeable = False
    return image


def check_promises(maker: Maker, image: npt.NDArray[Any], seed: int, config: Any) -> Altered:
    """One defect without points; asserts what base.py promises."""
    points = np.random.default_rng(seed).random((*image.shape[:2], 3), np.float32)
    points.flags.writeable = False
    first = maker(image, points, np.random.default_rng(seed), config=config)
    again = maker(image.copy(), points.copy(), np.random.default_rng(seed), config=config)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.image.dtype == image.dtype
    assert first.image.shape == image.shape
    assert first.mask.dtype == np.bool_
    assert first.mask.shape == image.shape[:2]
    assert first.mask.any()
    assert np.array_equal(first.image[~first.mask], image[~first.mask])
    assert not np.array_equal(first.image, image)
    assert not np.shares_memory(first.image, image)
    assert np.array_equal(first.points, points)
    brightest = next(w for w in (255, 1023, 4095, 16383, 65535) if image.max() <= w)
    assert first.image.max() <= brightest
    return first


def check_where(maker: Maker, image: npt.NDArray[Any], config: Any, reach: float) -> None:
    """A defect's middle lies where it may: here at one pixel only."""
    for seed, (y, x) in enumerate(((20, 30), (60, 70), (0, 0), (79, 99), (40, 0))):
        where = np.zeros(image.shape[:2], np.bool_)
        where[y, x] = True
        mask = maker(image, None, np.random.default_rng(seed), where=where, config=config).mask
        rows, columns = np.nonzero(mask)
        assert np.abs(rows - y).max() <= reach
        assert np.abs(columns - x).max() <= reach


def textured(size: tuple[int, int, int] = (80, 100, 3), seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return np.asarray(cv2.blur(noise, (3, 3)), np.uint8).reshape(size)
