"""A contact sheet: made-up defects at a glance, a row for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from blemish.records import Mask, Pixels
from blemish.report.overlay import RGB, as_rgb, outline

COLUMNS = 4
_SIDE = 180  # px of a view; a cell has two, the whole picture and the defect from near
_GAP, _HEAD = 6, 22  # px
_PAPER, _INK = 250, (40, 40, 40)


def cell(image: Pixels, mask: Mask) -> RGB:
    """(180, 360, 3): the picture with an outline around the defect, and the defect from near.

    image: (H, W, 1 or 3) uint8 or uint16. mask: (H, W), not empty.
    """
    shown = as_rgb(image)
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    half = max(16, round(0.65 * max(np.ptp(rows), np.ptp(columns))))
    v, u = (int(ends[0] + ends[-1]) // 2 for ends in (rows, columns))
    near = shown[max(0, v - half) : v + half + 1, max(0, u - half) : u + half + 1]
    # Outlined at the size it is seen, or the line would vanish.
    scale = min(1.0, 2 * _SIDE / max(shown.shape[:2]))
    size = [max(1, round(side * scale)) for side in reversed(shown.shape[:2])]
    small = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), np.uint8)
    marks = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0
    return np.concatenate([_fitted(outline(small, np.asarray(marks))), _fitted(near)], axis=1)


def sheet(cells: Mapping[str, Sequence[RGB]]) -> RGB:
    """One picture of all cells, (H, W, 3): the kind's name above each row."""
    columns = max(len(row) for row in cells.values())
    width = columns * (2 * _SIDE + _GAP) + _GAP
    height = len(cells) * (_HEAD + _SIDE + _GAP)
    page = np.full((height, width, 3), _PAPER, np.uint8)
    for line, (kind, row) in enumerate(cells.items()):
        top = line * (_HEAD + _SIDE + _GAP)
        place = (_GAP, top + _HEAD - 6)
        cv2.putText(page, kind, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
        for column, one in enumerate(row):
            left = _GAP + column * (2 * _SIDE + _GAP)
            page[top + _HEAD : top + _HEAD + _SIDE, left : left + 2 * _SIDE] = one
    return page


def _fitted(image: RGB) -> RGB:
    """Into a square of one view, on dark ground."""
    scale = _SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in reversed(image.shape[:2])]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    view = np.full((_SIDE, _SIDE, 3), 24, np.uint8)
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    view[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=how)
    return view
