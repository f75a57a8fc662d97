"""One HTML file with the pictures behind what the doctor found; opens anywhere, asks no network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import jinja2
import numpy as np

from blemish.data.checks import Finding
from blemish.data.doctor import Checkup
from blemish.errors import ImageError
from blemish.images import read_image, write_whole
from blemish.report.overlay import as_rgb

GROUPS, MEMBERS, SINGLES = 12, 6, 24  # shown of a finding: groups, pictures of each, lone pictures
TILE = (120, 152)  # largest height and width of a thumbnail


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One thumbnail. source: a data URI; None if the file cannot be shown."""

    name: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A finding with its thumbnails. more: groups that are not shown."""

    finding: Finding
    groups: tuple[tuple[Tile, ...], ...]
    more: int


def write_checkup(folder: str | Path, checkup: Checkup, *, command: str) -> Path:
    """Writes folder/doctor.html, whole or not at all, and returns its path.

    command: command line that makes this page again. Raises DataError if it cannot be written.
    """
    shelves = [_shelf(finding, checkup.root) for finding in checkup.findings]
    text = _template().render(
        title=checkup.root.resolve().name,
        checkup=checkup,
        layout=checkup.data.layout if checkup.data else None,
        train=len(checkup.data.train) if checkup.data else 0,
        test=len(checkup.data.test) if checkup.data else 0,
        notes=checkup.data.notes if checkup.data else (),
        shelves=shelves,
        command=command,
    )
    path = Path(folder) / "doctor.html"
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # names need not be Unicode
    return path


def _shelf(finding: Finding, root: Path) -> Shelf:
    alone = all(len(group) == 1 for group in finding.groups)
    shown = finding.groups[: SINGLES if alone else GROUPS]
    groups = tuple(_tiles(group, root) for group in shown)
    if alone and groups:  # lone pictures stand in one row
        groups = (tuple(tile for group in groups for tile in group),)
    return Shelf(finding=finding, groups=groups, more=len(finding.groups) - len(shown))


def _tiles(group: tuple[Path, ...], root: Path) -> tuple[Tile, ...]:
    tiles = [_tile(path, root) for path in group[:MEMBERS]]
    rest = len(group) - len(tiles)
    return (*tiles, Tile(name=f"and {rest} more", source=None)) if rest else tuple(tiles)


def _tile(path: Path, root: Path) -> Tile:
    name = str(path.relative_to(root))
    try:
        picture = as_rgb(read_image(path))
    except ImageError:
        return Tile(name=name, source=None)
    height, width = picture.shape[:2]
    scale = min(TILE[0] / height, TILE[1] / width, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]))
    encoded = base64.b64encode(data.tobytes()).decode("ascii")
    return Tile(name=name, source=f"data:image/jpeg;base64,{encoded}")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and folders are anyone's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("checkup.html")
