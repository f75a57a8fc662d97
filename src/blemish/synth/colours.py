"""Colour changes at any depth: brightness, contrast, saturation and hue of 8 and 16 bits, grey
and RGB. Values are shares of white, float32, and are cut to 0 to 1."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Light = npt.NDArray[np.float32]  # (h, w, 1 or 3), 0 to 1


def jitter(
    light: Light,
    rng: np.random.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Light:
    """Changes those that are above 0, in random order, like torchvision's ColorJitter.

    brightness, contrast, saturation: the factor is drawn from 1 - this to 1 + this, 0 to 1.
    hue: turn of the colour wheel, from -this to this, 0 to 0.5. Grey has neither of the last two.
    """
    factors = [rng.uniform(1 - most, 1 + most) for most in (brightness, contrast, saturation)]
    turn = rng.uniform(-hue, hue)
    for kind in rng.permutation(4).tolist():
        if kind == 0 and brightness:
            light = _cut(light * np.float32(factors[0]))
        elif kind == 1 and contrast:
            light = _towards(light, _grey(light).mean(dtype=np.float32), factors[1])
        elif kind == 2 and saturation and light.shape[2] == 3:
            light = _towards(light, _grey(light), factors[2])
        elif kind == 3 and hue and light.shape[2] == 3:
            light = turn_hue(light, turn)
    return light


def turn_hue(light: Light, turn: float) -> Light:
    """Moves every colour along the wheel; turn 1 is once around.

    >>> turn_hue(np.array([[[1, 0, 0]]], np.float32), 1 / 3).round(3).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    wheel = cv2.cvtColor(light, cv2.COLOR_RGB2HSV)
    wheel[..., 0] = (wheel[..., 0] + np.float32(360 * turn)) % 360
    return _cut(cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB))


def _towards(light: Light, centre: Any, factor: float) -> Light:
    return _cut(centre + np.float32(factor) * (light - centre))


def _grey(light: Light) -> Light:
    if light.shape[2] == 1:
        return light
    return np.asarray(cv2.cvtColor(light, cv2.COLOR_RGB2GRAY), np.float32)[..., None]


def _cut(light: npt.NDArray[Any]) -> Light:
    return np.asarray(np.clip(light, 0, 1), np.float32)
