"""One part as camera and 3D sensor saw it, each with what the model sees, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blemish.errors import DataError
from blemish.records import Mask, Pixels, Prediction
from blemish.report.overlay import RGB, captioned, paint
from blemish.report.relief import relief
from blemish.scans import Scan

GAP = (24, 27, 31)  # RGB, between the two


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One part to be shown.

    pixels: (H, W, C), the photograph as it was read. prediction: with a map of the same (H, W).
    levels: the calibration's (extent, seed), as for overlay.paint. mask: (H, W), what a person
    marked; None if nobody did. scan: of the same (H, W); None for parts without one.
    """

    pixels: Pixels
    prediction: Prediction
    levels: tuple[float, float]
    mask: Mask | None = None
    scan: Scan | None = None


def draw_pair(
    image: Pixels | None, scan: Scan | None, prediction: Prediction, levels: tuple[float, float]
) -> RGB:
    """The painted photograph, the painted relief to its right, and draw_overlay's bar below both.

    image: (H, W, 1 or 3) uint8 or uint16. scan: of the same (H, W). prediction, levels: as in
    paint. Where one of the two is None the other stands alone and the bar says what is missing.
    Returns (H + bar, 2 W + gap, 3) uint8 RGB, or as draw_overlay does for one picture. Raises
    ShapeError if sizes differ, DataError without photograph and scan.
    """
    if image is None and scan is None:
        raise DataError(
            "a part must have a photograph or a scan to be drawn, but has neither. Pass one."
        )
    views = [image, None if scan is None else relief(scan)]
    painted = [paint(view, prediction, levels) for view in views if view is not None]
    height, width = painted[0].shape[:2]
    if len(painted) == 2:
        gap = np.full((height, max(2, width // 60), 3), GAP, np.uint8)
        return captioned(np.concatenate([painted[0], gap, painted[1]], axis=1), prediction)
    return captioned(painted[0], prediction, "no photograph" if image is None else "no scan")
