"""The layout of DAGM 2007: synthetic textures with weak labels.

    Class1/Train/0576.PNG
    Class1/Train/Label/0576_label.PNG       of defective images only: an ellipse around the defect
    Class1/Train/Label/Labels.txt           a list that some copies contradict
    Class1/Test/...                         the same

Some copies nest it as Class1/Class1. An image is defective if and only if its label is there.
Methods learn from good parts alone, so that the defective images of Train are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from blemish.data.dataset import Dataset
from blemish.data.listing import images_in, link_notes, no_images
from blemish.data.pairing import pair_masks, refuse_twins
from blemish.records import Sample

_LABEL = "_label"
_DEFECT = "defect"


def is_dagm(root: Path) -> bool:
    """Whether a folder is one of DAGM's classes, nested or not."""
    return any(_has_labels(base) for base in (root, root / root.resolve().name))


def read_dagm(root: Path) -> Dataset:
    """Read one class: the clean images of Train, and all of Test.

    Raises:
        DataError: no image, a label without its image, or two images that differ in their suffix
            only.
    """
    nested = root / root.resolve().name
    base = nested if _has_labels(nested) else root
    train, train_notes = _read_split(base / "Train", "train")
    test, test_notes = _read_split(base / "Test", "test")
    if not train and not test:
        raise no_images(base)
    clean = tuple(sample for sample in train if not sample.is_defect)
    notes = [*link_notes(root), *train_notes, *test_notes]
    if dropped := len(train) - len(clean):
        notes.append(f"{base / 'Train'}: defective images not used: {dropped}.")
    return Dataset(root=root, layout="dagm", train=clean, test=tuple(test), notes=tuple(notes))


def _has_labels(base: Path) -> bool:
    return any((base / split / "Label").is_dir() for split in ("Train", "Test"))


def _read_split(folder: Path, split: Literal["train", "test"]) -> tuple[list[Sample], list[str]]:
    if not folder.is_dir():
        return [], []
    images = images_in(folder)
    refuse_twins(images)
    labels = folder / "Label"
    masks = images_in(labels) if labels.is_dir() else []
    paired = pair_masks(folder, images, labels, masks, ending=_LABEL, every=False, what="label")
    samples = [
        Sample(
            image=image,
            split=split,
            defect_type=_DEFECT if image in paired else "good",
            mask=paired.get(image),
        )
        for image in images
    ]
    return samples, _contradictions(labels / "Labels.txt", samples)


def _contradictions(listed: Path, samples: list[Sample]) -> list[str]:
    """A remark if Labels.txt says otherwise than the label files, which decide."""
    flags = _flags(listed)
    wrong = [
        sample.image.name
        for sample in samples
        if flags.get(sample.image.name.casefold(), sample.is_defect) != sample.is_defect
    ]
    if not wrong:
        return []
    return [
        f"{listed}: contradicts the label files for {len(wrong)} images, like {wrong[0]}. "
        "The label files decide."
    ]


def _flags(listed: Path) -> dict[str, bool]:
    """File name → whether the list calls it defective; what is not understood is left out."""
    try:
        text = listed.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}
    rows = [line.split() for line in text.splitlines()]
    return {
        row[2].casefold(): row[1] == "1" for row in rows if len(row) > 2 and row[1] in ("0", "1")
    }
