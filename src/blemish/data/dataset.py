"""What a folder holds, once it has been read: samples, and remarks for the person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blemish.records import Sample

Layout = Literal[
    "visa",
    "dagm",
    "mvtec3d",
    "rgbd",
    "depth",
    "eyecandies",
    "magnetic_tile",
    "kolektor",
    "kolektor2",
    "mvtec",
    "types",
    "images",
]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One part's pictures on disk.

    layout: how they lie there, see docs/data.md.
    train: good parts to fit on, sorted by path; empty when the folder only has a test part.
    test: parts to evaluate on, sorted by path. In layouts "magnetic_tile", "kolektor", "types" and
        "images" the good parts are in both, once with split "train" and once with split "test",
        because nothing on disk parts them: whoever evaluates must leave out the pictures that
        were fitted. In all others no file is in both.
    notes: sentences on what lies in the folder and is not used; to be shown, never an error.
    """

    root: Path
    layout: Layout
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
