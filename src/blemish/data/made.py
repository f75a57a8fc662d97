"""Data sets made on the spot: whole or not there, and never over anything else."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from blemish.errors import ConfigError, DataError

MARKER = "blemish-demo.json"


def make_set(
    folder: str | os.PathLike[str],
    made: Mapping[str, int],
    names: Sequence[str],
    write: Callable[[Path], None],
) -> Path:
    """Calls `write` with an empty folder beside the one wanted, which appears when it is complete.

    made: what the set is made from: whole numbers, of which seed may be 0. names: its files. If the
    very same set is there already, it is left as it is.

    Raises:
        ConfigError: a count below 1, or a negative seed.
        DataError: the folder holds something else, or could not be written.
    """
    _require_settings(made)
    target = Path(folder)
    if _is_made(target, made, names):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".blemish-demo-", dir=target.parent) as beside:
            fresh = Path(beside) / "demo"
            for name in names:
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            write(fresh)
            (fresh / MARKER).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
            if target.is_dir():
                target.rmdir()
            fresh.rename(target)
    except OSError as error:
        raise DataError(
            f"{target} must be a place to write the demo to, but writing failed: "
            f"{error.strerror or error}. Free some space there, or give another folder."
        ) from error
    return target


def _require_settings(made: Mapping[str, int]) -> None:
    for name, value in made.items():
        least = 0 if name == "seed" else 1
        if value < least:
            raise ConfigError(f"{name} of the demo must be {least} or more, but it is {value}.")


def _is_made(target: Path, made: Mapping[str, int], names: Sequence[str]) -> bool:
    """Whether this very set is there, whole.

    Raises:
        DataError: something else is.
    """
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return False
    there = _read_marker(target / MARKER)
    if there is None:
        raise DataError(
            f"{target} must be a new or empty folder for the demo, but it holds something else. "
            "Give another folder."
        )
    if there != made:
        raise DataError(
            f"{target} must be a new or empty folder for this demo ({_told(made)}), but it holds "
            f"another one ({_told(there)}). Delete it, or give another folder."
        )
    lost = [name for name in names if not (target / name).is_file()]
    if lost:
        raise DataError(
            f"{target} must hold the whole demo, but {lost[0]} is missing (files missing: "
            f"{len(lost)}). Delete the folder to make the demo again, or give another folder."
        )
    return True


def _read_marker(marker: Path) -> dict[str, object] | None:
    try:
        read = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def _told(made: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made.items())
