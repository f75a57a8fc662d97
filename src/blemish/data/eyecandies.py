"""The layout of Eyecandies: rendered sweets under six lights, with depth.

    <split>/data/000_image_0.png ... 000_image_5.png    one photograph a light
    <split>/data/000_depth.png, 000_info_depth.yaml     16 bits, and the metres they stand for
    <split>/data/000_normals.png, 000_pose.txt
    <split>/data/000_mask.png                           what is wrong, and by kind:
    <split>/data/000_bumps_mask.png, 000_dents_mask.png, 000_colors_mask.png, 000_normals_mask.png

Splits are train, val, test_public and test_private. Numbers have three digits in train and two in
test_public. A part is defective if and only if its mask marks a pixel, so that the masks of
test_public are read. test_private has no masks and is not used; neither is val.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from blemish.data.dataset import Dataset
from blemish.data.listing import LIGHT, files_in, link_notes, no_images
from blemish.errors import DataError
from blemish.images import read_image
from blemish.records import Sample

KINDS = ("bumps", "dents", "colors", "normals")
_SPLITS = ("train", "val", "test_public", "test_private")
_NUMBERED = re.compile(r"(\d+)_(\w+\.\w+)")

Items = dict[str, Path]  # "depth.png" → its file


def is_eyecandies(root: Path) -> bool:
    """Whether a folder is one of Eyecandies' classes."""
    return any((root / split / "data").is_dir() for split in _SPLITS)


def read_eyecandies(root: Path, light: int = LIGHT) -> Dataset:
    """Read one class.

    light: which of the photographs, 0 to 5, is the image; 4 is the light from the left, which the
    papers take as RGB.

    Raises:
        DataError: no image, only parts without labels, or an item that others of its split have
            and one has not.
        ImageError: a mask cannot be read.
    """
    train = _read_train(root / "train" / "data", light)
    test = _read_test(root / "test_public" / "data", light)
    notes = link_notes(root)
    for split, why in (("val", "good parts"), ("test_private", "parts without labels")):
        if unused := len(_numbered(root / split / "data")):
            notes.append(f"{root / split}: {why} not used: {unused}.")
    if not train and not test:
        raise _nothing(root, notes)
    return Dataset(root=root, layout="eyecandies", train=train, test=test, notes=tuple(notes))


def _nothing(root: Path, notes: list[str]) -> DataError:
    if not notes:
        return no_images(root)
    return DataError(
        f"{root} must hold train or test_public, but neither has images. {' '.join(notes)} "
        "To inspect parts without labels, give their photographs to blemish inspect."
    )


def _read_train(data: Path, light: int) -> tuple[Sample, ...]:
    numbered = _numbered(data)
    _require_partners(data, numbered, light, ())
    return tuple(
        Sample(
            image=items[f"image_{light}.png"], split="train", defect_type="good", **_third(items)
        )
        for items in numbered.values()
    )


def _read_test(data: Path, light: int) -> tuple[Sample, ...]:
    numbered = _numbered(data)
    _require_partners(data, numbered, light, ("mask.png",))
    samples = []
    for items in numbered.values():
        defect = _defect(items)
        samples.append(
            Sample(
                image=items[f"image_{light}.png"],
                split="test",
                defect_type=defect,
                mask=items["mask.png"] if defect != "good" else None,
                **_third(items),
            )
        )
    return tuple(samples)


def _third(items: Items) -> dict[str, Any]:
    return {
        "depth": items["depth.png"],
        "depth_range": items["info_depth.yaml"],
        "normals": items.get("normals.png"),
        "pose": items.get("pose.txt"),
    }


def _numbered(data: Path) -> dict[str, Items]:
    """Number as it is written → its items, sorted by number."""
    found: dict[str, Items] = {}
    for file in files_in(data) if data.is_dir() else ():
        if match := _NUMBERED.fullmatch(file.name):
            found.setdefault(match[1], {})[match[2]] = file
    return dict(sorted(found.items()))


def _require_partners(
    data: Path, numbered: dict[str, Items], light: int, labels: tuple[str, ...]
) -> None:
    everywhere = {name for items in numbered.values() for name in items}
    optional = {"normals.png", "pose.txt"} & everywhere
    for number, items in numbered.items():
        for name in (f"image_{light}.png", "depth.png", "info_depth.yaml", *labels, *optional):
            if name not in items:
                raise DataError(
                    f"{next(iter(items.values()))} must have {data / f'{number}_{name}'} beside "
                    "it, but that is missing. Unpack the data set again, or remove both."
                )


def _defect(items: Items) -> str:
    """good, the only kind of defect that is marked, or combined."""
    if not _marks(items["mask.png"]):
        return "good"
    kinds = [kind for kind in KINDS if _marks(items.get(f"{kind}_mask.png"))]
    return kinds[0] if len(kinds) == 1 else "combined" if kinds else "defect"


def _marks(mask: Path | None) -> bool:
    return mask is not None and bool(read_image(mask).any())
