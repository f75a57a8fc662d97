"""Folders for tests. Where only names are read, empty files do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def grow(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def numbered(folder: str, count: int, ending: str = ".png") -> list[str]:
    return [f"{folder}/{number:03}{ending}" for number in range(count)]


def mask(file: Path, marked: int = 0, size: tuple[int, int] = (6, 8), value: int = 255) -> Path:
    """A mask whose first pixels are marked."""
    pixels = np.zeros(size, np.uint8)
    pixels.reshape(-1)[:marked] = value
    return picture(file, pixels)


def picture(file: Path, pixels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def kinds(samples: object) -> dict[str, int]:
    """How many samples there are of each kind."""
    found = [sample.defect_type for sample in samples]  # type: ignore[attr-defined]
    return {kind: found.count(kind) for kind in found}
