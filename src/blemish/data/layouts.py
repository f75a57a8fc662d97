"""Which layout a folder has, and which folders below it are data sets of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blemish.data.dagm import is_dagm, read_dagm
from blemish.data.dataset import Dataset, Layout
from blemish.data.eyecandies import is_eyecandies, read_eyecandies
from blemish.data.folders import is_types, read_images, read_types
from blemish.data.kolektor import is_kolektor, is_kolektor2, read_kolektor, read_kolektor2
from blemish.data.listing import folders_in
from blemish.data.magnetic_tile import is_magnetic_tile, read_magnetic_tile
from blemish.data.mvtec import is_mvtec, read_mvtec
from blemish.data.mvtec3d import (
    is_depth,
    is_mvtec3d,
    is_rgbd,
    read_depth,
    read_mvtec3d,
    read_rgbd,
)
from blemish.data.visa import is_visa, read_visa


@dataclass(frozen=True, kw_only=True)
class Room:
    """One layout: whether a folder has it (by names alone), and how it is read."""

    fits: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


# The first that fits is taken: what has the most telling names comes first.
LAYOUTS: dict[Layout, Room] = {
    "visa": Room(fits=is_visa, read=read_visa),
    "dagm": Room(fits=is_dagm, read=read_dagm),
    "mvtec3d": Room(fits=is_mvtec3d, read=read_mvtec3d),
    "rgbd": Room(fits=is_rgbd, read=read_rgbd),
    "depth": Room(fits=is_depth, read=read_depth),
    "eyecandies": Room(fits=is_eyecandies, read=read_eyecandies),
    "magnetic_tile": Room(fits=is_magnetic_tile, read=read_magnetic_tile),
    "kolektor": Room(fits=is_kolektor, read=read_kolektor),
    "kolektor2": Room(fits=is_kolektor2, read=read_kolektor2),
    "mvtec": Room(fits=is_mvtec, read=read_mvtec),
    "types": Room(fits=is_types, read=read_types),
    "images": Room(fits=lambda root: not categories_below(root), read=read_images),
}
_DEEPEST = 2  # VisA, once prepared, keeps its objects in a folder named 1cls


def recognise(root: Path) -> Layout | None:
    """The layout of one data set; None for a folder of several."""
    return next((name for name, room in LAYOUTS.items() if room.fits(root)), None)


def categories_below(root: Path, deepest: int = _DEEPEST) -> tuple[tuple[str, Path], ...]:
    """Name and folder of every data set in a folder, or in its folders; plain photographs do not
    count, because any folder of them may be part of another."""
    found: list[tuple[str, Path]] = []
    for folder in folders_in(root):
        if any(room.fits(folder) for name, room in LAYOUTS.items() if name != "images"):
            found.append((folder.name, folder))
        elif deepest > 1:
            below = categories_below(folder, deepest - 1)
            found += [(f"{folder.name}/{name}", one) for name, one in below]
    return tuple(found)
