"""What all pages share: one file each, nothing from outside, names of files made harmless."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2

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
