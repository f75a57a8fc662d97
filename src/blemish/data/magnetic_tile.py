"""The layout of the magnetic tile set as it is published (Huang, Qiu, Yuan 2020).

    MT_Free/Imgs/exp1_num_1.jpg             good parts; their masks, .png, are all black
    MT_Blowhole/Imgs/exp1_num_2.jpg         and so MT_Break, MT_Crack, MT_Fray and MT_Uneven
    MT_Blowhole/Imgs/exp1_num_2.png         its mask

Nobody split it: the good parts are in `train` and in `test`, see `Dataset`. The same tile was
photographed up to six times, as exp1 to exp6.
"""

from __future__ import annotations

from pathlib import Path

from blemish.data.dataset import Dataset
from blemish.data.listing import folders_in, images_in, link_notes, no_images
from blemish.data.pairing import pair_masks, refuse_twins
from blemish.records import Sample

_GOOD = "MT_Free"


def is_magnetic_tile(root: Path) -> bool:
    """Whether a folder has MT_Free/Imgs."""
    return (root / _GOOD / "Imgs").is_dir()


def read_magnetic_tile(root: Path) -> Dataset:
    """Read all six folders.

    Raises:
        DataError: no good part, a photograph without its mask or a mask without its photograph.
    """
    good = _photographs(root / _GOOD / "Imgs")
    if not good:
        raise no_images(root)
    train = tuple(Sample(image=image, split="train", defect_type="good") for image in good)
    known = [Sample(image=image, split="test", defect_type="good") for image in good]
    kinds = [kind for kind in folders_in(root) if kind.name.startswith("MT_")]
    defects = [sample for kind in kinds if kind.name != _GOOD for sample in _read_kind(kind)]
    test = sorted([*known, *defects], key=lambda sample: sample.image.parts)
    notes = tuple(link_notes(root))
    return Dataset(root=root, layout="magnetic_tile", train=train, test=tuple(test), notes=notes)


def _photographs(folder: Path) -> list[Path]:
    everything = images_in(folder) if folder.is_dir() else []
    found = [image for image in everything if image.suffix.lower() != ".png"]
    refuse_twins(found)
    return found


def _read_kind(kind: Path) -> list[Sample]:
    folder = kind / "Imgs"
    images = _photographs(folder)
    everything = images_in(folder) if folder.is_dir() else []
    masks = [image for image in everything if image.suffix.lower() == ".png"]
    paired = pair_masks(folder, images, folder, masks, ending="")
    name = kind.name.removeprefix("MT_").lower()
    return [
        Sample(image=image, split="test", defect_type=name, mask=paired[image]) for image in images
    ]
