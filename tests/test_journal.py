"""Rows of a watched folder: on the disk before they count, repaired after a crash, one writer."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from blemish.errors import DataError
from blemish.journal import LOCK, RESULTS, Done, Journal

ONE = Done(10, 123456789012345678, hashlib.sha256(b"one").digest(), 77)
TWO = Done(20, 5, b"")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RESULTS).read_bytes().splitlines()]


def filled(folder: Path) -> bytes:
    with Journal(folder) as journal:
        journal.add("a/1.png", ONE, {"verdict": "good"})
        journal.add("2.png", TWO, {"verdict": "error"})
    return (folder / RESULTS).read_bytes()


def test_rows_are_lines_of_json_which_tell_what_they_are_about(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "out") as journal:
        assert journal.done == {}
        line = journal.add("größe.png", ONE, {"verdict": "good"})
    (row,) = rows(tmp_path / "new" / "out")
    assert json.loads(line) == row
    assert row == {
        "verdict": "good", "name": "größe.png", "bytes": 10, "modified_ns": 123456789012345678,
        "sha256": ONE.sha256.hex(),
    }  # fmt: skip


def test_the_last_row_of_a_name_is_what_is_done(tmp_path: Path) -> None:
    filled(tmp_path)
    with Journal(tmp_path) as journal:
        assert journal.done == {"a/1.png": ONE._replace(changed=0), "2.png": TWO}
        journal.add("a/1.png", TWO, {})
    with Journal(tmp_path) as journal:
        assert journal.done == {"a/1.png": TWO, "2.png": TWO}
        assert not journal.repaired
    assert len(rows(tmp_path)) == 3


def test_wherever_a_crash_cuts_the_last_row_it_is_taken_out(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        (tmp_path / RESULTS).write_bytes(whole[:end])
        with Journal(tmp_path) as journal:
            assert set(journal.done) == {"a/1.png"}
            assert journal.repaired == (end > first)
            journal.add("2.png", TWO, {"verdict": "error"})
        assert (tmp_path / RESULTS).read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 300, b'{"verd' + b"\0" * 20, b"\0" * 20 + b"\n"])
def test_what_a_power_cut_leaves_in_zeros_is_taken_out(tmp_path: Path, tail: bytes) -> None:
    whole = filled(tmp_path)
    (tmp_path / RESULTS).write_bytes(whole + tail)
    with Journal(tmp_path) as journal:
        assert journal.repaired
        assert set(journal.done) == {"a/1.png", "2.png"}
    assert (tmp_path / RESULTS).read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        b"name,verdict\n", b"notes without an end", b"{}\n", b"[]\n", b"7\n",
        b'{"name": 7, "bytes": 1, "modified_ns": 1, "sha256": ""}\n',
        b'{"name": "a", "bytes": true, "modified_ns": 1, "sha256": ""}\n',
        b'{"name": "a", "bytes": 1, "modified_ns": 1, "sha256": "xx"}\n',
        b"\0\n{}\n", b"[" * 100_000 + b"\n", b"\xff\n",
    ],
)  # fmt: skip
def test_what_no_watcher_wrote_is_refused_and_left_alone(tmp_path: Path, line: bytes) -> None:
    whole = filled(tmp_path) + line
    (tmp_path / RESULTS).write_bytes(whole)
    for _ in range(2):  # it is unlocked again
        with pytest.raises(DataError, match=r"line 3 of .*results\.jsonl' must be a row that"):
            Journal(tmp_path)
    assert (tmp_path / RESULTS).read_bytes() == whole


def test_a_second_watcher_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(DataError, match="must be the output of one watcher"):
        Journal(tmp_path)
    with Journal(tmp_path):  # and let in afterwards
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="must be writable, but the system says: "):
        Journal(tmp_path / "file")
    (tmp_path / "out" / RESULTS).mkdir(parents=True)
    with pytest.raises(DataError, match=r"results\.jsonl' must be writable"):
        Journal(tmp_path / "out")


def test_a_system_that_cannot_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DataError, match=r"results\.lock' must be writable.*No locks available"):
        Journal(tmp_path)


def test_a_full_disk_ends_the_watch_and_the_next_one_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled(tmp_path)

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:9])

    with Journal(tmp_path) as journal, monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *_, **__: Full(path, "ab"))
        with pytest.raises(DataError, match=r"results\.jsonl' must be writable.*9 of .* bytes"):
            journal.add("3.png", ONE, {})
        assert "3.png" not in journal.done
    assert len((tmp_path / RESULTS).read_bytes()) == len(whole) + 9
    with Journal(tmp_path) as journal:
        assert journal.repaired
    assert (tmp_path / RESULTS).read_bytes() == whole


def test_a_share_that_comes_over_the_folder_is_noticed(tmp_path: Path) -> None:
    """Its rows are others, and ours would be written a second time."""
    out = tmp_path / "out"
    with Journal(out) as journal:
        out.rename(tmp_path / "away")
        with pytest.raises(DataError, match="must be the folder that it was"):
            journal.add("1.png", ONE, {})
        filled(out)
        with pytest.raises(DataError, match="must be the folder that it was"):
            journal.add("1.png", ONE, {})
    assert rows(tmp_path / "away") == []


def test_rows_that_were_moved_away_are_begun_anew(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add("1.png", ONE, {})
        (tmp_path / RESULTS).rename(tmp_path / "monday.jsonl")
        journal.add("2.png", TWO, {})
        assert set(journal.done) == {"1.png", "2.png"}
    assert [row["name"] for row in rows(tmp_path)] == ["2.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which file a number is")
def test_a_row_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []
    with Journal(tmp_path) as journal:
        monkeypatch.setattr(
            os, "fsync", lambda number: kept.append(Path(f"/proc/self/fd/{number}").read_bytes())
        )
        line = journal.add("1.png", ONE, {})
        assert kept == [line.encode() + b"\n"]


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"odd \xff.png")
    with Journal(tmp_path) as journal:
        journal.add(name, TWO, {})
    with Journal(tmp_path) as journal:
        assert journal.done == {name: TWO}
    assert (tmp_path / LOCK).is_file()
