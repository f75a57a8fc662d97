"""Where things are kept between runs: derived ones, which are trimmed, and pretrained weights."""

from __future__ import annotations

import os
from pathlib import Path

from blemish.errors import DataError, needs_extra
from blemish.images import write_whole

BUDGET = 8 * 2**30  # bytes of derived things kept after a fit; the least recently used go first
WEIGHTS = "weights"  # the one folder that is not derived: nothing in it can be made again


def cache_folder() -> Path:
    """$BLEMISH_CACHE, or the system's place for caches."""
    chosen = os.environ.get("BLEMISH_CACHE")
    if chosen:
        return Path(chosen)
    with needs_extra("finding the system's place for caches", "train"):
        import platformdirs
    return Path(platformdirs.user_cache_dir("blemish"))


def weights_folder() -> Path:
    """The weights room: what was fetched or imported, kept until somebody deletes it."""
    return cache_folder() / WEIGHTS


def backgrounds_folder() -> Path:
    """Which points of a scan are the part's, once that was found out (background.py)."""
    return cache_folder() / "backgrounds"


def keep(path: Path, data: bytes) -> None:
    """Writes a file of the cache, whole or not at all. Raises DataError."""
    try:
        write_whole(path, data)
    except DataError as error:
        raise DataError(
            f"{error} It belongs to the cache: set BLEMISH_CACHE to another folder for it."
        ) from error


def trim(folder: Path, budget: int = BUDGET) -> None:
    """Deletes the least recently used files until at most `budget` bytes are left; no weights."""
    derived = (entry for entry in folder.rglob("*") if folder / WEIGHTS not in entry.parents)
    files = [(entry.stat(), entry) for entry in derived if entry.is_file()]
    excess = sum(stat.st_size for stat, _ in files) - budget
    for stat, entry in sorted(files, key=lambda pair: pair[0].st_mtime):
        if excess <= 0:
            return
        entry.unlink(missing_ok=True)
        excess -= stat.st_size
