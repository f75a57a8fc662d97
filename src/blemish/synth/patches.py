"""Laying pieces onto an image: where a rectangle overlaps it, and what counts as a defect."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.synth.base import LEAST, VISIBLE, Altered, greatest, merged, white

Place = tuple[slice, slice]  # rows and columns
Size = tuple[int, int]  # (H, W)


def overlap(corner: tuple[int, int], piece: Size, size: Size) -> tuple[Place, Place]:
    """Where in an image of this size a piece with its corner at (y, x) lies, and which part of the
    piece that is.

    >>> overlap((-2, 5), (4, 4), (10, 10))
    ((slice(0, 2, None), slice(5, 9, None)), (slice(2, 4, None), slice(0, 4, None)))
    """
    first = [max(0, at) for at in corner]
    last = [min(long, at + side) for at, side, long in zip(corner, piece, size, strict=True)]
    inside = (slice(first[0], last[0]), slice(first[1], last[1]))
    y, x = corner
    return inside, (slice(first[0] - y, last[0] - y), slice(first[1] - x, last[1] - x))


def lay(
    image: Pixels, points: Cloud | None, place: Place, painted: npt.NDArray[Any], mask: Mask
) -> Altered | None:
    """The image with what was painted inside the mask, or None where hardly anybody could see it:
    fewer than 4 pixels changed by more than 2 % of white.

    painted: (h, w, C) in the image's levels, any real values. mask: (h, w). The mask is kept whole,
    as the papers do that paste pieces: they teach where a piece lies, also where it looks alike.
    """
    before, top = image[place], white(image)
    rounded = np.clip(np.rint(painted), 0, top).astype(image.dtype)
    done = merged(mask, rounded, before)
    change = greatest(np.abs(done.astype(np.float32) - before))
    if (change > VISIBLE * top).sum() < LEAST:
        return None
    altered, marked = image.copy(), np.zeros(image.shape[:2], np.bool_)
    altered[place], marked[place] = done, mask
    return Altered(image=altered, points=None if points is None else points.copy(), mask=marked)
