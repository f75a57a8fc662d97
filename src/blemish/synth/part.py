"""Where the part lies, if the picture shows one part on a ground that differs from it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.records import Mask, Pixels
from blemish.synth.base import greatest, own_range

_Array = npt.NDArray[Any]
_SIDE = 256  # px of the longer side at which the part is looked for
_APART = 0.15  # of the image's own range, by which part and ground differ on average
_SOLID = 0.85  # of its convex outline that a part fills
_CUT = 0.1  # of the image's border that a part may cover


def find_part(image: Pixels) -> Mask | None:
    """(H, W) bool, True on the part, or None where no one part stands out: textures, close-ups.

    image: (H, W, 1 or 3) uint8 or uint16. The ground is the median colour along the border; how far
    each pixel's colour is from it is cut in two (Otsu, IEEE Trans. SMC 9, 1979). What is found must
    be one solid piece, hardly touch the border, and differ clearly; its holes belong to it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.5).reshape(size[1], size[0], -1)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    away = greatest(np.abs(small - np.median(border, axis=0)))
    levels = np.clip(away * (255 / max(float(away.max()), 1e-6)), 0, 255).astype(np.uint8)
    _, cut = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(cut, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    part = cv2.drawContours(np.zeros_like(levels), [largest], -1, 1, cv2.FILLED)
    if not _stands_out(np.asarray(part > 0), np.asarray(away), largest, own_range(image)):
        return None
    smooth = cv2.resize(part.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth > 0.5)


def _stands_out(part: Mask, away: _Array, outline: _Array, levels: float) -> bool:
    area, hull = cv2.contourArea(outline), cv2.contourArea(cv2.convexHull(outline))
    edge = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    if not 0.02 * part.size < area < 0.9 * part.size or area < _SOLID * hull:
        return False
    apart = float(away[part].mean() - away[~part].mean())
    return bool(edge.mean() <= _CUT and apart > _APART * levels)
