"""What lies on disk: folders and images, in one order on every system.

Hidden names are left out, and so are the pictures that blemish writes itself, and everything that
a link would reach outside of the folder that was asked for. Order is plain: by code point,
folder by folder ("10.png" before "9.png").
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from blemish.errors import DataError
from blemish.images import IMAGE_SUFFIXES

# Network drives of one maker keep thumbnails in a folder of this name, and they end in .jpg.
_THUMBNAILS = "@eaDir"
# What `inspect -o` and `synth` leave behind, perhaps among the photographs.
_OURS = (".overlay.png", ".map.tiff", "contact-sheet.png")
# Masks of MVTec AD's layout: not photographs, though they are images.
_MASKS = "ground_truth"
# What lies beside a folder rgb of photographs in data sets with 3D data.
_RGB, _BESIDE_RGB = "rgb", ("xyz", "disparity", "depth", "gt")
# Eyecandies: the photograph of a part, of its seventeen files, is the one under this light.
LIGHT = 4
_NUMBERED, _PART = re.compile(r"(\d+)_\w+\.\w+"), (f"image_{LIGHT}.png", "depth.png")


Skip = Callable[[DataError], object]

# Files that the reader at work shall take for no photographs; absolute paths.
_ASIDE: ContextVar[frozenset[str]] = ContextVar("aside", default=frozenset())


@contextmanager
def leaving_out(files: Iterable[Path]) -> Iterator[None]:
    """While this lasts nothing in this file lists these files as images: every layout reads its
    folder as if they were not there."""
    token = _ASIDE.set(frozenset(_whole(file) for file in files))
    try:
        yield
    finally:
        _ASIDE.reset(token)


def list_images(path: str | os.PathLike[str]) -> list[Path]:
    """Photographs to look at: one file as it was named, or those below a folder, sorted.

    A file that is named is returned whatever its suffix: whether it is an image, its reader says.

    Raises:
        DataError: nothing is there, or the folder holds no image.
    """
    named = Path(path)
    if os.path.isfile(named):
        return [named]
    require_folder(named)
    photographs = photographs_below(named)
    if not photographs:
        raise no_images(named)
    return photographs


def photographs_below(folder: Path, skip: Skip | None = None) -> list[Path]:
    """Images in a folder and in all its sub-folders, sorted by path, less those that data sets keep
    beside photographs: masks in ground_truth; where a folder has photographs in rgb beside xyz,
    disparity, depth or gt, all that is not in rgb; of Eyecandies' parts all but one photograph.

    A folder of these that was asked for by its own name is given as it is. skip: is told of folders
    that cannot be read, and the others are listed.

    Raises:
        DataError: a folder cannot be read, and there is no skip.
    """
    below, depth = images_below(folder, skip), len(folder.parts)
    images = [one for one in below if _MASKS not in one.parts[depth:]]
    return _without_other_lights(_without_siblings_of_rgb(images, folder))


def _without_siblings_of_rgb(images: list[Path], root: Path) -> list[Path]:
    shelves = {image.parent for image in images if image.parent.name == _RGB}
    solid = {
        rgb.parent
        for rgb in shelves - {root}
        if any((rgb.parent / name).is_dir() for name in _BESIDE_RGB)
    }
    if not solid:
        return images

    def is_beside(image: Path) -> bool:
        inside = image.relative_to(root).parents  # each folder on the way, and the one it lies in
        way = [root / part for part in inside]
        return any(
            outer in solid and inner.name != _RGB
            for inner, outer in zip([image, *way], way, strict=False)
        )

    return [image for image in images if not is_beside(image)]


def _without_other_lights(images: list[Path]) -> list[Path]:
    every = set(images)

    def is_other(image: Path) -> bool:
        number = _NUMBERED.fullmatch(image.name)
        items = [image.with_name(f"{number[1]}_{item}") for item in _PART] if number else []
        return bool(items) and every.issuperset(items) and image != items[0]

    return [image for image in images if not is_other(image)]


def require_folder(path: Path) -> None:
    """Pass if path is a folder.

    Raises:
        DataError: it is a file, or it does not exist.
    """
    if os.path.isfile(path):
        raise DataError(
            f"{path} must be a folder of images, but it is a file. "
            f"Give the folder it lies in: {path.parent}"
        )
    if not os.path.isdir(path):
        raise DataError(
            f"{path} must be a file or a folder, but it does not exist. Check the path."
        )


def no_images(folder: Path) -> DataError:
    """The error for a folder without a single image; says what was looked for."""
    links = links_out(folder)
    aside = f" (links out of the folder, not followed: {links})" if links else ""
    return DataError(
        f"{folder} must hold images ({' '.join(IMAGE_SUFFIXES)}), but none was found{aside}. "
        "Check the path, or convert the images to one of these formats."
    )


def folders_in(folder: Path) -> list[Path]:
    """Visible folders directly in a folder, sorted; links are not folders.

    Raises:
        DataError: the folder cannot be read.
    """
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, sorted by name.

    Raises:
        DataError: the folder cannot be read.
    """
    return _images(folder, folder)


def files_in(folder: Path) -> list[Path]:
    """Files of any kind directly in a folder, sorted by name; none that a link would reach outside.

    Raises:
        DataError: the folder cannot be read.
    """
    files = [entry for entry in _entries(folder) if os.path.isfile(entry.path)]
    return [Path(entry.path) for entry in files if _is_inside(entry, folder)]


def files_below(folder: Path) -> list[Path]:
    """Files of any kind in a folder and in all its sub-folders, sorted by path.

    Raises:
        DataError: a folder cannot be read.
    """
    found = [file for part in _tree(folder) for file in files_in(part)]
    return sorted(found, key=lambda file: file.parts)


def images_below(folder: Path, skip: Skip | None = None) -> list[Path]:
    """Images in a folder and in all its sub-folders, sorted by path. skip: as photographs_below's.

    Raises:
        DataError: a folder cannot be read, and there is no skip.
    """
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        part = waiting.pop()
        try:
            inside = folders_in(part)
            found += _images(part, folder)
            waiting += inside
        except DataError as error:
            if skip is None:
                raise
            skip(error)
    return sorted(found, key=lambda image: image.parts)


def links_out(folder: Path) -> int:
    """How many links below a folder lead to an image or a folder outside of it."""
    return sum(
        (os.path.isdir(entry.path) or _looks_like_image(entry)) and not _is_inside(entry, folder)
        for part in _tree(folder)
        for entry in _entries(part)
    )


def link_notes(root: Path) -> list[str]:
    """A remark on the links that were not followed; empty when there are none."""
    links = links_out(root)
    told = (
        f"{root}: links out of this folder not followed: {links}. Only files inside it are read; "
        "copy the files to use them."
    )
    return [told] if links else []


def _tree(folder: Path) -> Iterator[Path]:
    waiting = [folder]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += folders_in(part)


def _whole(path: Path) -> str:
    """However a path was written, one name for each place; links are not followed."""
    return os.path.normpath(path.absolute())


def _images(folder: Path, root: Path) -> list[Path]:
    aside = _ASIDE.get()
    return [
        Path(entry.path)
        for entry in _entries(folder)
        if _looks_like_image(entry)
        and _is_inside(entry, root)
        and not (aside and _whole(Path(entry.path)) in aside)
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if _is_visible(entry.name)]
    except OSError as error:
        raise DataError(
            f"{folder} must be readable, but opening it failed: {error.strerror or error}. "
            "Check its permissions, or give another folder."
        ) from error
    return sorted(visible, key=lambda entry: entry.name)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != _THUMBNAILS


def is_ours(name: str) -> bool:
    """Whether a file is one that blemish writes."""
    return name.lower().endswith(_OURS)


def _looks_like_image(entry: os.DirEntry[str]) -> bool:
    # os.path.isfile, because entry.is_file() raises on a link to itself.
    name = entry.name.lower()
    suits = name.endswith(IMAGE_SUFFIXES) and not is_ours(name)
    return suits and os.path.isfile(entry.path)


def _is_inside(entry: os.DirEntry[str], root: Path) -> bool:
    if not entry.is_symlink():
        return True
    return Path(entry.path).resolve().is_relative_to(root.resolve())
