"""Where the part lies in a photograph of a part on a plain ground, as FractalAD finds it."""

from __future__ import annotations

import cv2
import numpy as np

from blemish.records import Mask, Pixels
from blemish.synth.base import white

_SIDE = 256  # px; the recipe's sizes below belong to it
_CORNER = 20  # px a side: what is taken for ground


def foreground(image: Pixels) -> Mask:
    """(H, W) bool: what differs from the top left corner; everything when nothing does.

    image: (H, W, 1 or 3) uint8 or uint16. In grey at 256 x 256, blurred: on a bright ground (the
    corner's mean is above 128 of 255) what is at least 50 darker than it, on a dark one what is
    more than 10 brighter.
    """
    small = cv2.resize(image, (_SIDE, _SIDE))
    grey = small if image.shape[2] == 1 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    grey = cv2.blur(grey.astype(np.float32) * np.float32(255 / white(image)), (5, 5))
    ground = float(grey[:_CORNER, :_CORNER].mean())
    found = grey <= ground - 50 if ground > 128 else grey > ground + 10
    smooth = cv2.medianBlur(found.astype(np.uint8), 5)
    native = cv2.resize(smooth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    return native if native.any() else np.ones(image.shape[:2], np.bool_)


def shorter_side(mask: Mask) -> float:
    """Pixels of the shorter side of the smallest rectangle, however turned, around the largest
    outline in a mask."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    return float(min(cv2.minAreaRect(largest)[1])) + 1  # from pixel centre to pixel centre
