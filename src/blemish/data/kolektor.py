"""The layouts of KolektorSDD and KolektorSDD2: every photograph has a label beside it.

    kos01/Part0.jpg, kos01/Part0_label.bmp          KolektorSDD: an item photographed in 8 parts
    train/10000.png, train/10000_GT.png, test/...   KolektorSDD2

A part is defective if and only if its label marks a pixel, so that the labels are read. Nobody
split KolektorSDD: its good parts are in `train` and in `test`, see `Dataset`. KolektorSDD2 has
defective parts in train, which are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from blemish.data.dataset import Dataset
from blemish.data.listing import folders_in, images_in, link_notes, no_images
from blemish.data.pairing import pair_masks
from blemish.images import read_image
from blemish.records import Sample

_DEFECT = "defect"
_LABEL, _TRUTH = "_label", "_GT"


def is_kolektor(root: Path) -> bool:
    """Whether a folder has items of KolektorSDD."""
    return any(_labelled(item, _LABEL) for item in _items(root))


def is_kolektor2(root: Path) -> bool:
    """Whether a folder has train or test with labels of KolektorSDD2."""
    return any(_labelled(root / split, _TRUTH) for split in ("train", "test"))


def read_kolektor(root: Path) -> Dataset:
    """Read all items of KolektorSDD.

    Raises:
        DataError: no image, a photograph without its label or a label without its photograph.
        ImageError: a label cannot be read.
    """
    test = tuple(sample for item in _items(root) for sample in _read(item, "test", _LABEL))
    if not test:
        raise no_images(root)
    good = [sample.image for sample in test if not sample.is_defect]
    train = tuple(Sample(image=image, split="train", defect_type="good") for image in good)
    notes = tuple(link_notes(root))
    return Dataset(root=root, layout="kolektor", train=train, test=test, notes=notes)


def read_kolektor2(root: Path) -> Dataset:
    """Read KolektorSDD2: the clean images of train, and all of test. Raises as read_kolektor."""
    train, test = (_read(root / split, split, _TRUTH) for split in ("train", "test"))
    if not train and not test:
        raise no_images(root)
    clean = tuple(sample for sample in train if not sample.is_defect)
    notes = link_notes(root)
    if dropped := len(train) - len(clean):
        notes.append(f"{root / 'train'}: defective images not used: {dropped}.")
    return Dataset(root=root, layout="kolektor2", train=clean, test=test, notes=tuple(notes))


def _items(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if re.fullmatch(r"kos\d+", folder.name.lower())]


def _labelled(folder: Path, ending: str) -> bool:
    return folder.is_dir() and any(image.stem.endswith(ending) for image in images_in(folder))


def _read(folder: Path, split: Literal["train", "test"], ending: str) -> tuple[Sample, ...]:
    found = images_in(folder) if folder.is_dir() else []
    labels = [image for image in found if image.stem.endswith(ending)]
    images = [image for image in found if not image.stem.endswith(ending)]
    paired = pair_masks(folder, images, folder, labels, ending=ending, what="label")
    return tuple(_sample(image, paired[image], split) for image in images)


def _sample(image: Path, label: Path, split: Literal["train", "test"]) -> Sample:
    marked = bool(read_image(label).any())
    return Sample(
        image=image,
        split=split,
        defect_type=_DEFECT if marked else "good",
        mask=label if marked else None,
    )
