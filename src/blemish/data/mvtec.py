"""The layout of MVTec AD, read as it is.

    train/good/000.png
    test/good/000.png
    test/<defect>/000.png
    ground_truth/<defect>/000_mask.png      or 000.png, as in VisA once prepared

The test part never gets into the training part. Either part may be absent.
"""

from __future__ import annotations

from pathlib import Path

from blemish.data.dataset import Dataset
from blemish.data.listing import folders_in, images_below, images_in, link_notes, no_images
from blemish.data.pairing import pair_masks, refuse_masks_without_images, refuse_twins
from blemish.errors import DataError
from blemish.records import Sample

GOOD = "good"
_PARTS = ("train", "test", "ground_truth")


def is_mvtec(root: Path) -> bool:
    """Whether a folder has train/good or test; what is in them, `read_mvtec` judges."""
    return _is_folder(root / "train" / GOOD) or _is_folder(root / "test")


def read_mvtec(root: Path) -> Dataset:
    """Read one category.

    Raises:
        DataError: no train/good beside test, no image at all, images one folder too deep,
            an image without its mask or a mask without its image, or two images in one folder
            that differ in their suffix only.
    """
    train = _read_train(root)
    test = _read_test(root)
    if not train and not test:
        raise no_images(root)
    notes = (*_unused_notes(root), *link_notes(root))
    return Dataset(root=root, layout="mvtec", train=train, test=test, notes=notes)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read_train(root: Path) -> tuple[Sample, ...]:
    folder = root / "train" / GOOD
    if _is_folder(folder):
        images = _images_of_type(folder)
        if not images:
            raise no_images(folder)
        return tuple(Sample(image=image, split="train", defect_type=GOOD) for image in images)
    if _is_folder(root / "train"):
        raise DataError(
            f"{root / 'train'} must hold the photographs of good parts in a folder named {GOOD}, "
            f"but there is no {folder}. Move them there."
        )
    return ()


def _read_test(root: Path) -> tuple[Sample, ...]:
    test, truth = root / "test", root / "ground_truth"
    types = folders_in(test) if _is_folder(test) else []
    _refuse_masks_of_no_type(truth, test, {folder.name for folder in types})
    return tuple(sample for folder in types for sample in _read_type(folder, truth))


def _read_type(folder: Path, truth: Path) -> list[Sample]:
    images = _images_of_type(folder)
    masks = truth / folder.name
    paired: dict[Path, Path] = {}
    if folder.name != GOOD and _is_folder(masks):
        paired = pair_masks(folder, images, masks, images_in(masks))
    return [
        Sample(image=image, split="test", defect_type=folder.name, mask=paired.get(image))
        for image in images
    ]


def _images_of_type(folder: Path) -> list[Path]:
    images = images_in(folder)
    deeper = [] if images else images_below(folder)
    if deeper:
        raise DataError(
            f"{folder} must hold its images directly, but they lie deeper, like {deeper[0]}. "
            f"Move them up into {folder}."
        )
    refuse_twins(images)
    return images


def _refuse_masks_of_no_type(truth: Path, test: Path, types: set[str]) -> None:
    if not _is_folder(truth):
        return
    for folder in folders_in(truth):
        if folder.name not in types | {GOOD}:
            refuse_masks_without_images(folder, images_in(folder), test / folder.name)


def _unused_notes(root: Path) -> list[str]:
    notes = [
        f"{folder}: images outside of its sub-folders not used: {len(loose)}."
        for folder in (root / "train", root / "test")
        if _is_folder(folder) and (loose := images_in(folder))
    ]
    beside = [folder for folder in folders_in(root) if folder.name not in _PARTS]
    inside = folders_in(root / "train") if _is_folder(root / "train") else []
    for folder in [*beside, *(folder for folder in inside if folder.name != GOOD)]:
        if images := images_below(folder):
            notes.append(
                f"{folder}: images not used: {len(images)}. Good parts to fit on belong in "
                f"{root / 'train' / GOOD}, parts to evaluate on in {root / 'test'}."
            )
    return notes
