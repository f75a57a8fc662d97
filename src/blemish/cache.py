"""Where derived things are kept between runs: frozen graphs and features. Safe to delete."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

BUDGET = 8 * 2**30  # bytes kept after a fit; the least recently used go first


def cache_folder() -> Path:
    """$BLEMISH_CACHE, or the system's place for caches."""
    chosen = os.environ.get("BLEMISH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("blemish"))


def trim(folder: Path, budget: int = BUDGET) -> None:
    """Deletes the least recently used files until at most `budget` bytes are left."""
    files = [(entry.stat(), entry) for entry in folder.rglob("*") if entry.is_file()]
    excess = sum(stat.st_size for stat, _ in files) - budget
    for stat, entry in sorted(files, key=lambda pair: pair[0].st_mtime):
        if excess <= 0:
            return
        entry.unlink(missing_ok=True)
        excess -= stat.st_size
