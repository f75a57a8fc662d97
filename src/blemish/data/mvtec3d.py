"""Photographs beside what a 3D sensor saw, pixel on pixel.

MVTec 3D-AD, as published or with the background removed, and Eyecandies converted to it:

    <split>/<type>/rgb/000.png
    <split>/<type>/xyz/000.tiff             organised point cloud in metres
    <split>/<type>/gt/000.png               of defective parts; all black where a part is good

with splits train, validation and test. Disparity instead of points makes it "rgbd":

    <split>/<type>/disparity/000.png        16 bits, larger is nearer, missing is 0

The good parts of `validation` are not used: published figures learn from train/good alone, and
blemish calibrates on parts of its own that it holds back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from blemish.data.dataset import Dataset
from blemish.data.listing import folders_in, images_in, link_notes, no_images
from blemish.data.pairing import pair_masks, refuse_twins
from blemish.errors import DataError
from blemish.records import Sample

_GOOD = "good"


def is_mvtec3d(root: Path) -> bool:
    """Whether photographs and point clouds lie beside each other."""
    return _has(root, "xyz")


def is_rgbd(root: Path) -> bool:
    """Whether photographs and disparities lie beside each other."""
    return _has(root, "disparity")


def read_mvtec3d(root: Path) -> Dataset:
    """Read one class with point clouds. Raises DataError, see read_rgbd."""
    return _read(root, "mvtec3d")


def read_rgbd(root: Path) -> Dataset:
    """Read one part with disparities.

    Raises:
        DataError: no image, defective parts in train, an image without its points, disparity or
            mask, or one of these without its image.
    """
    return _read(root, "rgbd")


def _has(root: Path, third: str) -> bool:
    splits = [root / "train", root / "test"]
    types = [kind for split in splits if split.is_dir() for kind in folders_in(split)]
    return any((kind / "rgb").is_dir() and (kind / third).is_dir() for kind in types)


def _read(root: Path, layout: Literal["mvtec3d", "rgbd"]) -> Dataset:
    train = _read_split(root / "train", "train", layout)
    test = _read_split(root / "test", "test", layout)
    if not train and not test:
        raise no_images(root)
    for sample in train:
        if sample.is_defect:
            raise DataError(
                f"{root / 'train'} must hold good parts only, in {root / 'train' / _GOOD}, but "
                f"there is {sample.image}. Move parts with defects to {root / 'test'}."
            )
    notes = link_notes(root)
    kept_back = root / "validation" / _GOOD / "rgb"
    if kept_back.is_dir():
        notes.append(f"{kept_back}: good parts not used: {len(images_in(kept_back))}.")
    return Dataset(root=root, layout=layout, train=train, test=test, notes=tuple(notes))


def _read_split(
    folder: Path, split: Literal["train", "test"], layout: Literal["mvtec3d", "rgbd"]
) -> tuple[Sample, ...]:
    kinds = folders_in(folder) if folder.is_dir() else []
    return tuple(sample for kind in kinds for sample in _read_type(kind, split, layout))


def _read_type(
    kind: Path, split: Literal["train", "test"], layout: Literal["mvtec3d", "rgbd"]
) -> list[Sample]:
    rgb, clouds, truth = kind / "rgb", kind / "xyz", kind / "gt"
    images = images_in(rgb) if rgb.is_dir() else []
    refuse_twins(images)
    points = _partners(rgb, images, clouds, "point cloud") if layout == "mvtec3d" else {}
    near = kind / "disparity"
    disparities = _partners(rgb, images, near, "disparity") if layout == "rgbd" else {}
    masks = _partners(rgb, images, truth, "mask") if kind.name != _GOOD and truth.is_dir() else {}
    return [
        Sample(
            image=image,
            split=split,
            defect_type=kind.name,
            mask=masks.get(image),
            points=points.get(image),
            disparity=disparities.get(image),
        )
        for image in images
    ]


def _partners(rgb: Path, images: list[Path], folder: Path, what: str) -> dict[Path, Path]:
    found = images_in(folder) if folder.is_dir() else []
    return pair_masks(rgb, images, folder, found, ending="", what=what)
