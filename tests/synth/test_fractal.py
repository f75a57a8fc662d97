"""Fractal defects: where they lie, how large they are, what may stop them."""

from __future__ import annotations

import cv2
import numpy as np

from blemish.synth.fractal import Fractal, fractal


def test_masks_are_as_large_as_the_released_codes() -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8), (900, 900))
    pasted, widened, native = [], [], []
    for _ in range(400):
        mask = fractal(image, None, rng, config=Fractal(rim=0, noise_chance=0)).mask
        small = cv2.resize(mask.astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST)
        pasted.append(small.mean())
        widened.append(cv2.dilate(small, np.ones((3, 3)), iterations=3).mean())
        native.append(fractal(image, None, rng).mask.mean())
    assert 0.022 < np.mean(pasted) < 0.030  # 2.6 % in fractalad.md, section 2.5
    for areas in (widened, native):
        assert 0.048 < np.mean(areas) < 0.061  # 5.4 %
        low, middle, high = np.percentile(areas, (5, 50, 95))
        assert 0.007 < low < 0.016  # 1.1 %
        assert 0.036 < middle < 0.055  # 4.4 %
        assert 0.105 < high < 0.15  # 12.3 %
