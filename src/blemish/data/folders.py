"""Plain folders, the way photographs come from a camera.

Either nothing but good parts, in sub-folders of any name and depth:

    DATA/monday/001.png

or good parts beside folders of defects, with or without masks:

    DATA/good/001.png                       or ok/ or normal/
    DATA/<defect>/001.png
    DATA/ground_truth/<defect>/001_mask.png or 001.png, or masks/ instead of ground_truth/

Both kinds are read in all sub-folders; a mask lies as deep as its image. Good parts are in `train`
and in `test`, see `Dataset`. Where photographs lie in a folder rgb beside 3D data, only they are
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blemish.data.dataset import Dataset, Layout
from blemish.data.listing import (
    folders_in,
    images_below,
    images_in,
    link_notes,
    no_images,
    photographs_below,
)
from blemish.data.pairing import pair_masks, refuse_masks_without_images, refuse_twins
from blemish.errors import DataError
from blemish.records import Sample

_GOOD = frozenset({"good", "ok", "normal"})
_MASKS = ("ground_truth", "masks")
# Below a folder of good parts only, these names say that it is something else after all.
_BAD = frozenset({"bad", "ng", "nok", "defect", "defects", "defective", "anomaly", "anomalies"})
_TELLING = _GOOD | _BAD | frozenset(_MASKS) | {"train", "test"}


def is_types(root: Path) -> bool:
    """Whether a folder has a folder of good parts."""
    return bool(_good_folders(root))


def read_types(root: Path) -> Dataset:
    """Read good parts beside folders of defects.

    Raises:
        DataError: no image, no or two folders of good parts, masks among the images, an image
            without its mask or a mask without its image, or two images in one folder that differ
            in their suffix only.
    """
    found = _good_folders(root)
    if len(found) != 1:
        raise DataError(
            f"{root} must have one folder of good parts, but it has {_named(found) or 'none'}. "
            "Move all good parts into one folder named good."
        )
    good = found[0]
    truth = next((root / name for name in _MASKS if (root / name).is_dir()), root / _MASKS[0])
    types = [folder for folder in folders_in(root) if folder.name not in (*_MASKS, good.name)]
    _refuse_masks_of_no_type(root, truth, {folder.name for folder in (*types, good)})
    images = photographs_below(good)
    if not images:
        raise no_images(good)
    refuse_twins(images)
    defects = [sample for folder in types for sample in _read_type(folder, truth / folder.name)]
    return _dataset(root, "types", images, defects)


def read_images(root: Path) -> Dataset:
    """Read a folder of good parts and nothing else.

    Raises:
        DataError: no image, folders that say that other things lie there as well, or two images
            in one folder that differ in their suffix only.
    """
    _refuse_several_parts(root, images_below(root))
    images = photographs_below(root)
    if not images:
        raise no_images(root)
    refuse_twins(images)
    return _dataset(root, "images", images, ())


def _good_folders(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if folder.name.lower() in _GOOD]


def _dataset(
    root: Path, layout: Layout, good: Sequence[Path], defects: Sequence[Sample]
) -> Dataset:
    train = tuple(Sample(image=image, split="train", defect_type="good") for image in good)
    known = [Sample(image=image, split="test", defect_type="good") for image in good]
    test = sorted([*known, *defects], key=lambda sample: sample.image.parts)
    notes = link_notes(root)
    if layout == "types" and (loose := images_in(root)):
        notes.append(f"{root}: images outside of its sub-folders not used: {len(loose)}.")
    return Dataset(root=root, layout=layout, train=train, test=tuple(test), notes=tuple(notes))


def _read_type(folder: Path, masks: Path) -> list[Sample]:
    images = photographs_below(folder)
    refuse_twins(images)
    _refuse_masks_among(images, masks)
    paired: dict[Path, Path] = {}
    if masks.is_dir():
        paired = pair_masks(folder, images, masks, images_below(masks))
    return [
        Sample(image=image, split="test", defect_type=folder.name, mask=paired.get(image))
        for image in images
    ]


def _refuse_masks_among(images: Sequence[Path], masks: Path) -> None:
    stems = {image.with_suffix("") for image in images}
    for image in images:
        if image.stem.endswith("_mask") and image.with_name(image.stem[:-5]) in stems:
            raise DataError(
                f"{image} must be a photograph, but it is named like the mask of the image "
                f"beside it. Move the masks of this kind to {masks}."
            )


def _refuse_masks_of_no_type(root: Path, truth: Path, types: set[str]) -> None:
    if not truth.is_dir():
        return
    for folder in folders_in(truth):
        if folder.name not in types:
            refuse_masks_without_images(folder, images_below(folder), root / folder.name)


def _refuse_several_parts(root: Path, images: Sequence[Path]) -> None:
    """Pass if no folder name below root says that not every image shows a good part."""
    parts: dict[Path, str] = {}
    for image in images:
        folders = image.relative_to(root).parts[:-1]
        for depth, name in enumerate(folders):
            if name.lower() in _TELLING:
                parts.setdefault(root.joinpath(*folders[:depth]), name)
                break
    if root in parts:
        raise DataError(
            f"{root} must hold good parts only, or good parts in a folder named good, "
            f"but it has a folder {parts[root]} and none named good. "
            f"Move the good parts to {root / 'good'}, or give their folder alone."
        )
    if parts:
        raise DataError(
            f"{root} must be the folder of one part, but it holds {_named(list(parts), root)}. "
            f"Choose one of them, for instance {next(iter(parts))}"
        )


def _named(folders: Sequence[Path], root: Path | None = None) -> str:
    names = [str(folder.relative_to(root) if root else folder.name) for folder in folders]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
