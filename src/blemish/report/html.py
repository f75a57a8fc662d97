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


def small_jpeg(picture: RGB, largest: tuple[int, int], quality: int = 95) -> bytes:
    """A picture, (H, W, 3) RGB, as a JPEG of at most `largest` (H, W); never enlarged.

    quality: of JPEG, 1 to 100.
    """
    size = smaller((picture.shape[0], picture.shape[1]), largest)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    how = (cv2.IMWRITE_JPEG_QUALITY, quality)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), how)
    return data.tobytes()


def smaller(size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """(width, height), as OpenCV has it, of what is shrunk from `size` into `largest`, (H, W) both.

    >>> smaller((100, 400), (200, 200)), smaller((10, 20), (200, 200))
    ((200, 50), (20, 10))
    """
    scale = min(largest[0] / size[0], largest[1] / size[1], 1.0)
    return max(1, round(size[1] * scale)), max(1, round(size[0] * scale))


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    """A picture as a link that carries it. kind: jpeg or png."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def _percent(rate: float | None) -> str:
    """A rate with as many digits as it can carry: 0.25 %, 3.4 %, 97 %."""
    if rate is None:
        return NOTHING
    per_cent = 100 * rate
    digits = 0 if per_cent in (0, 100) or 10 <= per_cent <= 90 else 1 + (0 < per_cent < 0.1)
    return f"{per_cent:.{digits}f} %"
