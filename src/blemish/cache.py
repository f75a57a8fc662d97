"""Where derived things are kept between runs: frozen graphs and features. Safe to delete."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from blemish.errors import DataError
from blemish.images import write_whole

BUDGET = 8 * 2**30  # bytes kept after a fit; the least recently used go first


def cache_folder() -> Path:
    """$BLEMISH_CACHE, or the system's place for caches."""
    chosen = os.environ.get("BLEMISH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("blemish"))


def keep(path: Path, data: bytes) -> None:
    """Writes a file of the cache, whole or not at all. Raises DataError."""
    try:
        write_whole(path, data)
    except DataError as error:
        raise DataError(
            f"{error} It belongs to the cache: set BLEMISH_CACHE to another folder for it."
        ) from error


def trim(folder: Path, budget: int = BUDGET) -> None:
    """Deletes the least recently used files until at most `budget` bytes are left."""
    files = [(entry.stat(), entry) for entry in folder.rglob("*") if entry.is_file()]
    excess = sum(stat.st_size for stat, _ in files) - budget
    for stat, entry in sorted(files, key=lambda pair: pair[0].st_mtime):
        if excess <= 0:
            return
        entry.unlink(missing_ok=True)
        excess -= stat.st_size
