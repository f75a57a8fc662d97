"""What a folder holds, once it has been read: samples, and remarks for the person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blemish.records import Sample

Layout = Literal["mvtec", "types", "images"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One part's pictures on disk; no pixel is read.

    layout: "mvtec" (train/good, test/<type>), "types" (good/ beside folders of defects) or
        "images" (a folder of good parts and nothing else).
    train: good parts to fit on, sorted by path; empty when the folder only has a test part.
    test: parts to evaluate on, sorted by path. In layout "mvtec" no file is in both. In layouts
        "types" and "images" the good parts are in both, once with split "train" and once with
        split "test", because nothing on disk parts them: whoever evaluates must leave out the
        pictures that were fitted.
    notes: sentences on what lies in the folder and is not used; to be shown, never an error.
    """

    root: Path
    layout: Layout
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
