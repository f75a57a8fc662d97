"""Where a photograph's partners lie, as a person writes it: a path seen from its own folder.

../xyz/{stem}.tiff         {stem} is the photograph's name without its suffix
{stem-_rgb}_depth.png      the same less the letters _rgb: 001_rgb.png → 001_depth.png
../scans/{stem}.*          a single * in the last name stands for any letters
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from blemish.errors import ConfigError

_LONGEST = 1000  # letters; no path is longer, and a pattern may come out of a stranger's file
_STEM = re.compile(r"\{stem(?:-([^{}/*]+))?\}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder, and how the name of a file in it begins and ends; nothing lies between the two
    unless `open` says so."""

    folder: Path
    start: str
    end: str
    open: bool

    def __str__(self) -> str:
        return str(self.folder / f"{self.start}{'*' * self.open}{self.end}")


def require_pattern(pattern: object, what: str) -> None:
    """Raises ConfigError unless it is a pattern. what: as which errors name it.

    >>> require_pattern("../xyz/{stem}.tiff", "--points")
    """
    if isinstance(pattern, str) and len(pattern) <= _LONGEST and _is_pattern(pattern):
        return
    raise ConfigError(
        f"{what} must be a path with / as seen from the photograph's folder, with {{stem}} for its"
        " name without suffix and at most one * in the last name, but is"
        f" {str(pattern)[:_LONGEST]!r}. Write, for example, ../xyz/{{stem}}.tiff or"
        " {stem-_rgb}_depth.png."
    )


def _is_pattern(text: str) -> bool:
    folder, _, name = text.rpartition("/")
    return (
        text.isprintable()
        and bool(_STEM.search(text))
        and not re.search(r"[{}\\]", _STEM.sub("", text))
        and not text.startswith("/")
        and not PureWindowsPath(text).drive
        and "*" not in folder
        and name.count("*") <= 1
        and name not in ("", ".", "..")
    )


def place(image: Path, pattern: str) -> Place | None:
    """Where the partner of a photograph must lie; None if the photograph's name has not the letters
    that the pattern takes out of it.

    >>> str(place(Path("train/rgb/7_rgb.png"), "../xyz/{stem-_rgb}.*"))
    'train/xyz/7.*'
    """
    # Each piece is filled in by itself: the photograph's own name may hold a * or a brace.
    folder, _, name = pattern.rpartition("/")
    start, star, end = name.partition("*")
    filled = [_filled(piece, image.stem) for piece in (folder, start, end)]
    if None in filled:
        return None
    folder, start, end = (str(piece) for piece in filled)
    return Place(folder=_walk(image.parent, folder), start=start, end=end, open=bool(star))


def _walk(base: Path, steps: str) -> Path:
    # By names alone: a link's own parent is not where the person who wrote .. looks.
    for step in Path(steps).parts:
        up = step == ".." and base.name not in ("", "..")
        base = base.parent if up else base / step
    return base


def _filled(piece: str, stem: str) -> str | None:
    less = [found[1] or "" for found in _STEM.finditer(piece)]
    if not all(letters in stem for letters in less):
        return None
    return _STEM.sub(lambda found: stem.replace(found[1], "", 1) if found[1] else stem, piece)
