"""Folders for tests. Only names are read, so that empty files do."""

from __future__ import annotations

from pathlib import Path


def grow(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def numbered(folder: str, count: int, ending: str = ".png") -> list[str]:
    return [f"{folder}/{number:03}{ending}" for number in range(count)]
