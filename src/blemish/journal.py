"""results.jsonl of a watched folder: the rows for whoever reads them, and what has been done.

A row is written and on the disk before it counts, and a file with a row is done: there is no second
record that could disagree. Why: docs/decisions/0012-watch.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from blemish.errors import DataError
from blemish.images import keep_names

RESULTS, LOCK = "results.jsonl", "results.lock"


class Done(NamedTuple):
    """What the last row of a name was about.

    size: bytes. modified: nanoseconds. sha256: of the file's bytes, empty if nobody could read
    them. changed: the system's own time of change, nanoseconds; 0 of a row that is read again,
    because copies and shares change it.
    """

    size: int
    modified: int
    sha256: bytes
    changed: int = 0


class Journal:
    """The rows of one output folder, which nobody else writes to while this one is open.

    folder: made if it is not there. done: name → the last row's file. repaired: whether a crash had
    left half a row, which is taken out.

    Raises DataError if another watcher has the folder, if it cannot be written, or if its
    results.jsonl holds what no watcher wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._lock_path = folder / RESULTS, folder / LOCK
        self.done: dict[str, Done] = {}
        self.repaired = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._lock_path)
        except OSError as error:
            raise _unwritable(self._lock_path, error) from error
        try:
            self._read()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._lock.close()  # and unlocks

    def add(self, name: str, done: Done, row: Mapping[str, Any]) -> str:
        """Writes the row of a name, waits until the disk has it, and gives its line without the
        end. Raises DataError if it cannot be written, or if the folder is another one by now."""
        line = json.dumps({**row, **_told(name, done)})
        self._require_same_folder()
        try:
            with self.path.open("ab", buffering=0) as file:  # anew: somebody may have moved it away
                _write(file, line.encode() + b"\n")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.done[name] = done
        return line

    def _read(self) -> None:
        try:
            with self.path.open("a+b") as file:
                file.seek(0)
                whole = self._read_rows(file)
                self.repaired = whole < file.seek(0, os.SEEK_END)
                if self.repaired:
                    file.truncate(whole)
                    os.fsync(file.fileno())
            keep_names(self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _read_rows(self, file: IO[bytes]) -> int:
        """Where the last whole row ends, in bytes."""
        whole = 0
        for number, line in enumerate(file, start=1):
            if _is_torn(line):
                after = file.read(1)
                if not after:
                    return whole
            name, done = _row(line, self.path, number)
            self.done[name] = done
            whole += len(line)
        return whole

    def _require_same_folder(self) -> None:
        """A share that was mounted over the folder meanwhile has rows of its own."""
        try:
            same = os.path.samestat(os.fstat(self._lock.fileno()), self._lock_path.stat())
        except OSError:
            same = False
        if not same:
            raise DataError(
                f"'{self.path.parent}' must be the folder that it was when the watch began, but"
                " another is there by now, or none: a share came or went. Start the watch again."
            )


def _told(name: str, done: Done) -> dict[str, Any]:
    return {
        "name": name,
        "bytes": done.size,
        "modified_ns": done.modified,
        "sha256": done.sha256.hex(),
    }


def _row(line: bytes, path: Path, number: int) -> tuple[str, Done]:
    try:
        row = json.loads(line)
        sizes = (row["bytes"], row["modified_ns"])
        if not isinstance(row["name"], str) or not all(type(size) is int for size in sizes):
            raise TypeError("types of other fields")
        return row["name"], Done(*sizes, bytes.fromhex(row["sha256"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"line {number} of '{path}' must be a row that blemish inspect --watch wrote, but is"
            f" {line[:60]!r}. Take it out, or give another output folder (-o)."
        ) from error


def _is_torn(line: bytes) -> bool:
    """Whether a power cut left this: half a row, or a row's length in zeros."""
    return (line.startswith(b"{") and not line.endswith(b"\n")) or b"\0" in line


def _write(file: IO[bytes], data: bytes) -> None:
    written = file.write(data)
    if written != len(data):  # what a full disk takes; the rest of a row is of no use
        raise OSError(0, f"{written} of {len(data)} bytes were taken")
    os.fsync(file.fileno())


def _locked(path: Path) -> IO[bytes]:
    """The open file, which the system unlocks when this process ends, however it ends."""
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, (BlockingIOError, PermissionError)):
            raise DataError(
                f"'{path.parent}' must be the output of one watcher, but another has it. Stop that"
                " one, or give each an output folder of its own (-o)."
            ) from error
        raise
    return file


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"'{path}' must be writable, but the system says: {error.strerror or error}."
        " Give another output folder (-o), or free some space."
    )
