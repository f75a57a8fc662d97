"""A scan to be turned in a browser: the surface as a mesh, under the photograph or under the map.

Drawn by three.js, which the page carries: it opens from a file and asks nobody for anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask
from blemish.report.html import data_uri, small_jpeg, smaller
from blemish.report.overlay import RGB
from blemish.report.relief import means, on_pixels, upright
from blemish.scans import Scan

MESH = 160  # points along a mesh's longer side
TEXTURE = (512, 512)  # largest height and width of a picture on it
QUALITY = 85  # of JPEG: a dozen of scenes shall fit on a page
FLAT = 0.15  # of the picture's width: how high a scan stands whose heights have no unit
STRAY = 0.001  # share of points, at either end, that may lie far off
HOLE = 0xFFFF  # a number of the mesh that stands for no point


@dataclass(frozen=True, kw_only=True)
class Script:
    """What draws scenes. text: JavaScript, once a page. source: its hash as a source of a content
    security policy."""

    text: str
    source: str


def scene_script() -> Script:
    """three.js and the viewer, as one script that takes every element of the class "scene"."""
    here = Path(__file__).parent
    text = "".join(
        (here / name).read_text(encoding="utf-8") for name in ("three.min.js", "scene.js")
    )
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Script(text=text, source=f"'sha256-{digest}'")


def scene(scan: Scan, photograph: RGB, painted: RGB) -> str:
    """One part for scene_script's viewer, as JSON that is safe inside an HTML page.

    photograph: (H, W, 3) uint8, lies on the scan pixel on pixel. painted: (H, W, 3) uint8, lies on
    it when the viewer asks for the map. Holes are cut out of both pixel by pixel, but for those
    narrower than three pixels, which would only flicker.
    """
    corners, there = _mesh(scan)
    low = corners[there].min(0) if there.any() else np.zeros(3, np.float32)
    span = float(np.ptp(corners[there], axis=0).max()) if there.any() else 0.0
    steps = np.rint((corners - low) * ((HOLE - 1) / (span or 1.0)))
    numbers = np.where(there[..., None], steps, HOLE).astype("<u2")
    around = np.ones((3, 3), np.uint8)
    shown = cv2.morphologyEx(scan.seen.astype(np.uint8), cv2.MORPH_CLOSE, around) > 0
    return json.dumps(
        {
            "size": there.shape,
            "points": base64.b64encode(numbers.tobytes()).decode("ascii"),
            "photograph": data_uri(small_jpeg(photograph, TEXTURE, QUALITY)),
            "map": data_uri(small_jpeg(painted, TEXTURE, QUALITY)),
            "seen": None if shown.all() else _mask_uri(np.asarray(shown)),
        }
    )


def _mesh(scan: Scan) -> tuple[Cloud, Mask]:
    """Points as the viewer has them before him on a coarser grid, and where there are any."""
    points, weight = upright(scan), scan.seen.astype(np.float32)
    if scan.seen.any():
        low, high = np.quantile(points[scan.seen], (STRAY, 1 - STRAY), axis=0).astype(np.float32)
        reach = high - low  # a stray point must not make the rest small
        points = np.clip(points, low - reach, high + reach)
        if on_pixels(scan) and reach[2] > 0:
            points[..., 2] *= FLAT * max(scan.seen.shape) / reach[2]
    size = smaller((weight.shape[0], weight.shape[1]), (MESH, MESH))
    thin = [means(points[..., axis], weight, size) for axis in range(3)]
    return np.stack([field for field, _ in thin], axis=2), np.asarray(thin[0][1] > 0.05)


def _mask_uri(seen: Mask) -> str:
    """A PNG of the mask, white where something was seen, no larger than a texture."""
    pixels: npt.NDArray[np.uint8] = seen.astype(np.uint8) * np.uint8(255)
    size = smaller((seen.shape[0], seen.shape[1]), TEXTURE)
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".png", (small > 127).astype(np.uint8) * np.uint8(255))
    return data_uri(data.tobytes(), "png")
