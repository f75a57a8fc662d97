"""What all pages share: one file each, nothing from outside, names of files made harmless."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import jinja2
import numpy as np

from blemish.report.overlay import RGB

NOTHING = "–"


def template(name: str) -> jinja2.Template:
    """A template of this folder, with the filters percent and figure."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and folders are anyone's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["figure"] = lambda value: NOTHING if value is None else f"{value:.3f}"
    return environment.get_template(name)


def small_jpeg(picture: RGB, largest: tuple[int, int]) -> bytes:
    """A picture, (H, W, 3) RGB, as a JPEG of at most `largest` (H, W); never enlarged."""
    height, width = picture.shape[:2]
    scale = min(largest[0] / height, largest[1] / width, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]))
    return data.tobytes()


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a link that carries it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _percent(rate: float | None) -> str:
    """A rate with as many digits as it can carry: 0.25 %, 3.4 %, 97 %."""
    if rate is None:
        return NOTHING
    per_cent = 100 * rate
    digits = 0 if per_cent in (0, 100) or 10 <= per_cent <= 90 else 1 + (0 < per_cent < 0.1)
    return f"{per_cent:.{digits}f} %"
