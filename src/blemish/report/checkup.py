"""One HTML file with the pictures behind what the doctor found; opens anywhere, asks no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blemish.data.checks import Finding
from blemish.data.doctor import Checkup
from blemish.errors import ImageError
from blemish.images import read_image, write_whole
from blemish.report.html import data_uri, small_jpeg, template
from blemish.report.overlay import as_rgb

GROUPS, MEMBERS, SINGLES = 12, 6, 24  # shown of a finding: groups, pictures of each, lone pictures
TILE = (120, 152)  # largest height and width of a thumbnail


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One thumbnail. source: a data URI; None where words stand instead."""

    name: str
    source: str | None
    instead: str = "no picture"


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
    text = template("checkup.html").render(
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
    more = Tile(name="", source=None, instead=f"and {rest} more")
    return (*tiles, more) if rest else tuple(tiles)


def _tile(path: Path, root: Path) -> Tile:
    name = str(path.relative_to(root))
    try:
        picture = as_rgb(read_image(path))
    except ImageError:
        return Tile(name=name, source=None)
    return Tile(name=name, source=data_uri(small_jpeg(picture, TILE)))
