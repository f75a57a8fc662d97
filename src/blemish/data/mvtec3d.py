"""Photographs beside what a 3D sensor saw, pixel on pixel.

MVTec 3D-AD, as published or with the background removed, and Eyecandies converted to it:

    <split>/<type>/rgb/000.png
    <split>/<type>/xyz/000.tiff             organised point cloud in metres
    <split>/<type>/gt/000.png               of defective parts; all black where a part is good

with splits train, validation and test. Disparity instead of points makes it "rgbd", depth "depth",
which can be used only with the camera that places it in space:

    <split>/<type>/disparity/000.png        16 bits, larger is nearer, missing is 0
    <split>/<type>/depth/000.png            or another format that scans.py reads

The good parts of `validation` are not used: published figures learn from train/good alone, and
blemish calibrates on parts of its own that it holds back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blemish.data.dataset import Dataset
from blemish.data.listing import files_in, folders_in, images_in, link_notes, no_images
from blemish.data.pairing import pair_masks, refuse_twins
from blemish.errors import DataError
from blemish.records import Sample
from blemish.scans import DEPTH_SUFFIXES, POINT_SUFFIXES
from blemish.sensors import Kind

Third = Literal["mvtec3d", "rgbd", "depth"]
_GOOD = "good"


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """The folder beside rgb. kind: the field of a sample for its files. what: as errors say."""

    folder: str
    kind: Kind
    what: str
    suffixes: tuple[str, ...]


_BESIDE: dict[Third, _Beside] = {
    "mvtec3d": _Beside(folder="xyz", kind="points", what="point cloud", suffixes=POINT_SUFFIXES),
    "rgbd": _Beside(
        folder="disparity", kind="disparity", what="disparity", suffixes=DEPTH_SUFFIXES
    ),
    "depth": _Beside(folder="depth", kind="depth", what="depth", suffixes=DEPTH_SUFFIXES),
}


def is_mvtec3d(root: Path) -> bool:
    """Whether photographs and point clouds lie beside each other."""
    return _has(root, "mvtec3d")


def is_rgbd(root: Path) -> bool:
    """Whether photographs and disparities lie beside each other."""
    return _has(root, "rgbd")


def is_depth(root: Path) -> bool:
    """Whether photographs and depth lie beside each other."""
    return _has(root, "depth")


def read_mvtec3d(root: Path) -> Dataset:
    """Read one class with point clouds. Raises DataError, see read_rgbd."""
    return _read(root, "mvtec3d")


def read_rgbd(root: Path) -> Dataset:
    """Read one part with disparities.

    Raises:
        DataError: no image, defective parts in train, an image without its points, disparity, depth
            or mask, or one of these without its image.
    """
    return _read(root, "rgbd")


def read_depth(root: Path) -> Dataset:
    """Read one part with depth that nobody can place yet. Raises DataError, see read_rgbd."""
    return _read(root, "depth")


def _has(root: Path, layout: Third) -> bool:
    third = _BESIDE[layout].folder
    splits = [root / "train", root / "test"]
    types = [kind for split in splits if split.is_dir() for kind in folders_in(split)]
    return any((kind / "rgb").is_dir() and (kind / third).is_dir() for kind in types)


def _read(root: Path, layout: Third) -> Dataset:
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


def _read_split(folder: Path, split: Literal["train", "test"], layout: Third) -> tuple[Sample, ...]:
    kinds = folders_in(folder) if folder.is_dir() else []
    return tuple(sample for kind in kinds for sample in _read_type(kind, split, layout))


def _read_type(kind: Path, split: Literal["train", "test"], layout: Third) -> list[Sample]:
    rgb, beside, truth = kind / "rgb", _BESIDE[layout], kind / "gt"
    images = images_in(rgb) if rgb.is_dir() else []
    refuse_twins(images)
    there = kind / beside.folder
    files = files_in(there) if there.is_dir() else []
    scans = [file for file in files if file.suffix.lower() in beside.suffixes]
    partners = pair_masks(rgb, images, there, scans, ending="", what=beside.what)
    marked = images_in(truth) if kind.name != _GOOD and truth.is_dir() else None
    masks = {} if marked is None else pair_masks(rgb, images, truth, marked, ending="")
    third: dict[Path, dict[str, Any]] = {image: {beside.kind: partners[image]} for image in images}
    return [
        Sample(
            image=image,
            split=split,
            defect_type=kind.name,
            mask=masks.get(image),
            **third[image],
        )
        for image in images
    ]
