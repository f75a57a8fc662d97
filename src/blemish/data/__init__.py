"""The door: from a path on disk to samples. Never writes, and reads pixels only of masks that
alone say whether a part is good."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from blemish.data.dataset import Dataset
from blemish.data.layouts import LAYOUTS, Room, categories_below, recognise
from blemish.data.listing import images_below, leaving_out, list_images, require_folder
from blemish.data.partners import attach, partners_of
from blemish.errors import ConfigError, DataError
from blemish.scans import no_camera
from blemish.sensors import Sensor

__all__ = ["Dataset", "categories", "list_images", "open_data"]


def open_data(
    path: str | os.PathLike[str],
    layout: str = "auto",
    *,
    sensor: Sensor | None = None,
    others: Mapping[str, str] | None = None,
) -> Dataset:
    """Read one part's folder in the layout it has.

    layout: a name from docs/data.md where it shall not be recognised by itself. sensor, others: see
    partners.attach.

    Raises:
        DataError: nothing is there, it is not a data set, or it holds several of them, a partner is
            missing, or there is depth and nobody says of which camera; the message says what to do.
        ConfigError: a layout of that name is not known, or a name or a pattern of `others` is none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("good/1.png", "good/2.png", "scratch/1.png"):
    ...         file = Path(folder, name)
    ...         file.parent.mkdir(exist_ok=True)
    ...         file.touch()
    ...     data = open_data(folder)
    >>> data.layout, len(data.train), [sample.defect_type for sample in data.test]
    ('types', 2, ['good', 'good', 'scratch'])
    """
    root = Path(path)
    _require_layout(layout)
    require_folder(root)
    chosen = recognise(root) if layout == "auto" else layout
    for name, room in LAYOUTS.items():
        if name == chosen:
            data = attach(_read(room, root, sensor, others or {}), sensor, others)
            _require_camera(data)
            return data
    raise _several(root)


def categories(path: str | os.PathLike[str]) -> tuple[tuple[str, Path], ...]:
    """Name and folder of each data set that a folder holds, sorted; empty if it is one itself.

    Raises:
        DataError: nothing is there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("bottle/train/good", "cable/train/good"):
    ...         Path(folder, name).mkdir(parents=True)
    ...     [name for name, _ in categories(folder)]
    ['bottle', 'cable']
    """
    root = Path(path)
    require_folder(root)
    return categories_below(root) if recognise(root) is None else ()


def _require_layout(layout: str) -> None:
    known = ("auto", *LAYOUTS)
    if layout not in known:
        near = difflib.get_close_matches(layout, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"layout must be one of {', '.join(known)}, but is '{layout}'.{hint}")


def _read(room: Room, root: Path, sensor: Sensor | None, others: Mapping[str, str]) -> Dataset:
    images = images_below(root) if sensor or others else []
    with leaving_out(partners_of(images, sensor, others)):
        return room.read(root)


def _require_camera(data: Dataset) -> None:
    for sample in (*data.train, *data.test):
        if sample.depth and not sample.depth_range and not sample.sensor:
            raise DataError(
                f"{no_camera(sample)} To use photographs alone, give {sample.image.parent}."
            )


def _several(root: Path) -> DataError:
    found = categories_below(root)
    names = [name for name, _ in found]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return DataError(
        f"{root} must be the folder of one part, but it holds {', '.join(names[:20])}{more}. "
        f"Choose one of them, for instance {found[0][1]}"
    )
