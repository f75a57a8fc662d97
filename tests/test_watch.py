"""A watched folder: every file has exactly one row, whatever happens to file, watch or machine."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands
from blemish import journal as room
from blemish.errors import ConfigError, DataError
from blemish.images import read_map, write_png
from blemish.journal import RESULTS, Journal
from blemish.records import Outcome
from blemish.runtime import Inspector
from blemish.scoring import inspect_all, jobs
from blemish.watch import Watch
from graphs import artifact, several

Rows = list[dict[str, Any]]
FIELDS = {"file", "verdict", "score", "p_value", "threshold", "regions", "ms", "runtime", "at",
          "model", "name", "bytes", "modified_ns", "sha256"}  # fmt: skip


def picture(path: Path, value: int = 7) -> Path:
    write_png(path, np.full((24, 16, 3), value, np.uint8))
    return path


def rows(out: Path) -> Rows:
    return [json.loads(line) for line in (out / RESULTS).read_bytes().splitlines()]


def looks(count: int) -> Callable[[], bool]:
    """Stops after some looks: a look asks four times at most whether to stop, files aside."""
    asked = itertools.count()
    return lambda: next(asked) > 4 * count


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def watching(tmp_path: Path, notes: list[str]) -> Callable[..., list[Outcome]]:
    """Watches `in` with results in `out` until so many outcomes came, or for some looks."""
    model = Inspector(artifact(), runtime="onnxruntime", threads=1)

    def watched(
        until: int = 0, *, inspector: Inspector = model, after: int = 8, **changed: Any
    ) -> list[Outcome]:
        told = {"patience": 0.1, "poll": 0.0, "note": notes.append, "model": "abc"} | changed
        seen: list[Outcome] = []
        limit, quiet = time.monotonic() + 60, looks(after)

        def stop() -> bool:
            assert time.monotonic() < limit, seen
            return len(seen) >= until if until else quiet()

        out = tmp_path / "out"
        with Journal(out) as journal:
            watch = Watch(
                inspector=inspector, folder=tmp_path / "in", journal=journal, pictures=out, **told
            )
            for outcome, line in watch.rows(stop):
                assert json.loads(line) == rows(out)[-1]  # on the disk before it is told
                seen.append(outcome)
        return seen

    (tmp_path / "in").mkdir()
    return watched


# ---------------------------------------------------------------- rows


def test_rows_and_pictures_say_what_inspect_says(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    for number in range(4):
        picture(tmp_path / "in" / f"sub {number % 2}" / f"{number}.png", 60 * number)
    found = watching(4)
    for one, row in zip(found, rows(tmp_path / "out"), strict=True):
        assert set(row) == FIELDS
        assert row == row | json.loads(json.dumps(one.to_json()))
        assert row["file"] == str(tmp_path / "in" / row["name"])
        data = Path(row["file"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert row["modified_ns"] == Path(row["file"]).stat().st_mtime_ns
        assert (row["model"], row["at"][-6:]) == ("abc", "+00:00")
    model = Inspector(artifact())
    list(inspect_all(model, jobs([tmp_path / "in"], tmp_path / "plain")))
    for one in found:
        plain = tmp_path / "plain" / Path(str(one.file)).relative_to(tmp_path / "in")
        kept = tmp_path / "out" / Path(str(one.file)).relative_to(tmp_path / "in")
        for suffix in ("overlay.png", "map.tiff"):
            ours = Path(f"{kept}.{suffix}").read_bytes()
            assert ours == plain.with_suffix(f".{suffix}").read_bytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_what_has_a_row_is_not_judged_again(
    watching: Callable[..., list[Outcome]], tmp_path: Path, workers: int
) -> None:
    for number in range(5):
        os.utime(picture(tmp_path / "in" / f"{number}.png"), (0, 1000 - number))
    found = watching(5, workers=workers)
    assert [Path(str(one.file)).stem for one in found] == ["4", "3", "2", "1", "0"]  # oldest first
    assert watching() == []
    os.utime(tmp_path / "in" / "1.png")  # touched
    shutil.copy(tmp_path / "in" / "2.png", tmp_path / "again")
    (tmp_path / "again").replace(tmp_path / "in" / "2.png")  # copied again
    assert watching(workers=workers) == []
    picture(tmp_path / "in" / "6.png")
    assert [Path(str(one.file)).name for one in watching(1, workers=workers)] == ["6.png"]
    assert len(rows(tmp_path / "out")) == 6


def test_new_content_under_an_old_name_has_a_row_of_its_own(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    path = picture(tmp_path / "in" / "a.png", 10)
    watching(1)
    picture(path, 250)
    watching(1)
    assert watching() == []
    assert [row["verdict"] for row in rows(tmp_path / "out")] == ["good", "defect"]
    assert read_map(tmp_path / "out" / "a.png.map.tiff").max() > 0.9


def test_a_file_written_while_it_is_read_is_looked_at_again(
    watching: Callable[..., list[Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "in" / "a.png", 10)
    read, often = Path.read_bytes, itertools.count()

    def slow(self: Path) -> bytes:
        data = read(self)
        if self == path and next(often) < 2:
            picture(path, 250)
        return data

    monkeypatch.setattr(Path, "read_bytes", slow)
    watching(1)
    (row,) = rows(tmp_path / "out")
    assert row["sha256"] == hashlib.sha256(read(path)).hexdigest()
    assert row["verdict"] == "defect"


def test_without_pictures_rows_are_all_there_is(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    picture(tmp_path / "in" / "a.png")
    with Journal(tmp_path / "out") as journal:
        watch = Watch(
            inspector=Inspector(artifact()), folder=tmp_path / "in", journal=journal,
            pictures=None, model="", poll=0.0,
        )  # fmt: skip
        next(watch.rows(lambda: False))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {RESULTS, room.LOCK}


def test_the_page_tells_every_field() -> None:
    page = Path(__file__).resolve().parents[1].joinpath("docs", "line.md").read_text("utf-8")
    table = page.partition("| field |")[2].partition("\n\n")[0]
    first = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == FIELDS | {"error", "missing"}


# ---------------------------------------------------------------- files that are not whole


def test_half_a_file_is_waited_for_and_broken_ones_are_told_once(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    whole = picture(tmp_path / "whole.png").read_bytes()
    folder = tmp_path / "in"
    (folder / "half.png").write_bytes(whole[:50])
    (folder / "empty.jpg").touch()
    assert watching(patience=1000.0) == []  # a camera may be slow
    (folder / "half.png").write_bytes(whole)
    assert [one.verdict for one in watching(1, patience=1000.0)] == ["good"]
    (found,) = watching(1)
    assert found.verdict == "error"
    assert "empty.jpg" in str(found.error)
    assert watching() == []
    os.utime(folder / "half.png")
    (folder / "empty.jpg").write_bytes(b"still none")
    assert [one.verdict for one in watching(1)] == ["error"]
    os.utime(folder / "empty.jpg")
    assert watching(after=40) == []
    picture(folder / "empty.jpg")
    assert [one.verdict for one in watching(1)] == ["good"]
    assert Counter(row["name"] for row in rows(tmp_path / "out")) == {"half.png": 1, "empty.jpg": 3}
    assert "0 bytes" in rows(tmp_path / "out")[1]["error"]


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EIO, False), (errno.ESTALE, False), (errno.EACCES, True)]
)
def test_a_share_that_is_away_is_waited_for_and_a_locked_file_is_told(
    watching: Callable[..., list[Outcome]],
    tmp_path: Path,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    told: bool,
) -> None:
    path = picture(tmp_path / "in" / "a.png")
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise OSError(number, os.strerror(number))
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        assert [one.verdict for one in watching(int(told), patience=0.0)] == ["error"] * told
        notes.clear()
        assert watching(patience=0.0) == []
    assert [note.startswith(f"waiting: '{path}' must be a readable") for note in notes] == [
        True
    ] * (not told)
    if told:
        assert os.strerror(number) in rows(tmp_path / "out")[0]["error"]
        path.write_bytes(path.read_bytes())  # or the next watch believes size and time
    assert [one.verdict for one in watching(1)] == ["good"]


def test_a_file_that_goes_while_it_is_read_has_no_row(
    watching: Callable[..., list[Outcome]],
    tmp_path: Path,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = picture(tmp_path / "in" / "a.png")
    read = Path.read_bytes

    def gone(self: Path) -> bytes:
        if self == path:
            path.unlink(missing_ok=True)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert watching(patience=0.0) == []
    assert notes == [f"'{path}' went away before it was judged."]


def test_whatever_a_file_brings_about_the_others_are_judged(
    watching: Callable[..., list[Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png", 9 * number)
    inspect = Inspector.inspect_shot

    def odd(self: Inspector, shot: Any) -> Any:
        if shot.pictures["photograph"].max() == 9:
            raise ZeroDivisionError("by the ninth")
        return inspect(self, shot)

    monkeypatch.setattr(Inspector, "inspect_shot", odd)
    found = watching(3)
    assert sorted(one.verdict for one in found) == ["error", "good", "good"]
    assert found[-1].verdict == "error"  # it was given time
    assert "ZeroDivisionError: by the ninth" in str(found[-1].error)
    assert str(tmp_path / "in" / "1.png") in str(found[-1].error)


def test_a_part_whose_scan_never_comes_is_judged_without(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    model = Inspector(several(), runtime="onnxruntime", threads=1)
    for number in (1, 2):
        picture(tmp_path / "in" / "rgb" / f"{number}.png")
    (tmp_path / "in" / "xyz").mkdir()
    np.save(tmp_path / "in" / "xyz" / "1.npy", np.ones((24, 16, 3), np.float32))
    found = watching(2, inspector=model)
    assert [row.get("missing", []) for row in rows(tmp_path / "out")] == [[], ["points"]]
    assert [one.verdict for one in found] == ["good", "good"]
    np.save(tmp_path / "in" / "xyz" / "2.npy", np.ones((24, 16, 3), np.float32))
    assert watching(inspector=model) == []  # the part has gone on
    with pytest.raises(ConfigError, match="--without must name some of"):
        watching(inspector=model, without=("infrared",))


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_ends_after_what_is_in_hand(
    watching: Callable[..., list[Outcome]], tmp_path: Path, workers: int
) -> None:
    for number in range(30):
        picture(tmp_path / "in" / f"{number:02d}.png", number)
    first = watching(3, workers=workers)
    assert 3 <= len(first) <= 3 + (4 * workers + 1) * (workers > 1)
    watching(30 - len(first), workers=workers)
    assert Counter(row["name"] for row in rows(tmp_path / "out")) == Counter(
        f"{number:02d}.png" for number in range(30)
    )


def test_pictures_that_cannot_be_written_end_the_watch_and_nothing_is_lost(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    picture(tmp_path / "in" / "a" / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").touch()
    with pytest.raises(DataError, match="must be writable"):
        watching(1)
    assert rows(tmp_path / "out") == []
    (tmp_path / "out" / "a").unlink()
    assert len(watching(1)) == 1


class Crash(BaseException):
    """The power goes."""


def crashing(patch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """The `at`-th time that something reaches the disk, or half of a row does, is the last."""
    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            raise Crash

    def around(work: Callable[..., Any]) -> Callable[..., Any]:
        def careful(*given: Any) -> Any:
            point()
            done = work(*given)
            point()
            return done

        return careful

    def torn(file: Any, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        point()
        file.write(data[len(data) // 2 :])
        os.fsync(file.fileno())

    patch.setattr(os, "fsync", around(os.fsync))
    patch.setattr(Path, "replace", around(Path.replace))
    patch.setattr(room, "_write", torn)
    return lambda: passed


def test_a_crash_at_any_step_leaves_one_row_for_each(
    watching: Callable[..., list[Outcome]], tmp_path: Path
) -> None:
    for number in range(2):
        picture(tmp_path / "in" / "s" / f"{number}.png", 90 * number)
    out = tmp_path / "out"
    for at in itertools.count(1):
        shutil.rmtree(out, ignore_errors=True)
        with pytest.MonkeyPatch.context() as patch:
            passed = crashing(patch, at)
            with suppress(Crash):
                watching(2)
        if passed() < at:  # it got through
            break
        for name in {row["name"] for row in whole_rows(out)}:
            assert (out / f"{name}.overlay.png").is_file()  # before the row says so
            assert read_map(out / f"{name}.map.tiff").shape == (24, 16)
        if left := 2 - len(whole_rows(out)):
            watching(left)
        assert watching(after=3) == []
        assert sorted(row["name"] for row in rows(out)) == ["s/0.png", "s/1.png"]
        assert not list(out.rglob("*.part"))
    assert at > 30


def whole_rows(out: Path) -> Rows:
    with suppress(FileNotFoundError):
        lines = (out / RESULTS).read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    return []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which file a number is")
def test_pictures_are_on_the_disk_before_their_row(
    watching: Callable[..., list[Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "in" / "s" / "a.png")
    kept: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: kept.append(Path(f"/proc/self/fd/{number}").readlink().name)
    )
    watching(1)
    assert kept[0] == "out"  # the name results.jsonl
    parts = [name for name in kept if name.endswith(".part")]
    assert len(parts) == 2  # overlay and map, each followed by its folder's names
    assert [kept[kept.index(part) + 1] in ("s", "out") for part in parts] == [True, True]
    assert "out" in kept[1:-1]  # the name of the folder s
    assert kept[-1] == RESULTS


# ---------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact().save(tmp_path_factory.mktemp("part") / "part.blemish")


FAST = ("--poll", "0.02", "--runtime", "onnxruntime")


def test_fail_on_defect_ends_at_the_first_one(
    run: commands.Run, part: Path, tmp_path: Path
) -> None:
    for number, value in enumerate((20, 250, 251)):
        os.utime(picture(tmp_path / "in" / f"{number}.png", value), (0, number))
    words = ("inspect", part, "--watch", tmp_path / "in", "-o", tmp_path / "out", *FAST)
    done = run(*words, "--fail-on-defect", "--json", "--workers", "1")
    assert done.code == 1
    assert done.lines() == rows(tmp_path / "out")
    assert [line["verdict"] for line in done.lines()] == ["good", "defect"]
    assert done.err.startswith(f"Watching '{tmp_path / 'in'}'; rows go to ")
    assert "which has 0 files" in done.err
    with (tmp_path / "out" / RESULTS).open("ab") as file:
        file.write(b'{"file": "cut')
    done = run(*words, "--fail-on-defect")  # goes on where it ended
    assert (done.code, done.out.count("\n")) == (1, 1)
    assert done.out.startswith("defect ")
    assert "2.png" in done.out
    assert "A crash had left half a row" in done.err
    assert "which has 2 files" in done.err
    assert run("info", part, "--json").lines()[0]["method"] == "brightness"


def test_rows_lie_in_the_folder_itself_unless_told(
    run: commands.Run, part: Path, tmp_path: Path
) -> None:
    picture(tmp_path / "in" / "a.png", 250)
    words = ("inspect", part, "--watch", tmp_path / "in", "--fail-on-defect", "-q", *FAST)
    done = run(*words)
    assert (done.code, done.err) == (1, "")
    assert len(rows(tmp_path / "in" / ".blemish")) == 1
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"a.png", ".blemish"}


def test_a_second_watcher_on_the_same_output_is_refused(
    run: commands.Run, part: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    with Journal(tmp_path / "out"):
        done = run("inspect", part, "--watch", tmp_path / "in", "-o", tmp_path / "out")
    assert (done.code, done.out) == (3, "")
    assert "must be the output of one watcher, but another has it" in done.err


def test_a_folder_that_is_not_there_is_refused(
    run: commands.Run, part: Path, tmp_path: Path
) -> None:
    done = run("inspect", part, "--watch", tmp_path / "typo")
    assert (done.code, done.out) == (3, "")
    assert "typo must be a file or a folder, but it does not exist" in done.err


@pytest.mark.parametrize(
    "words",
    [(), ("{in}", "--watch", "{in}"), ("--watch", "{in}", "--poll", "0"),
     ("--watch", "{in}", "--patience", "-1")],
)  # fmt: skip
def test_words_that_do_not_go_together_are_refused(
    run: commands.Run, part: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = run("inspect", part, *(word.format(**{"in": tmp_path}) for word in words))
    assert (done.code, done.out) == (2, "")
    assert "Usage: blemish inspect" in done.err


# ---------------------------------------------------------------- the program, killed

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")


def program(part: Path, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "from blemish.cli import main; main()"
    folders = ["--watch", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    return subprocess.Popen(
        [sys.executable, "-c", code, "inspect", str(part), *folders, *FAST, "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def land(folder: Path, numbers: Iterator[int], end: threading.Event) -> None:
    """Files land in all the ways that files land: slowly, by a new name, and whole."""
    for number in numbers:
        path = folder / f"line {number % 2}" / f"{number:03d}.png"
        picture(folder.parent / "made.png", 2 * number)
        whole = (folder.parent / "made.png").read_bytes()
        path.parent.mkdir(exist_ok=True)
        if number % 3:
            with path.open("wb") as file:
                file.write(whole[: len(whole) // 2])
                file.flush()
                time.sleep(0.03 * (number % 3 - 1))
                file.write(whole[len(whole) // 2 :])
        else:
            (folder / f".{number}").write_bytes(whole)
            (folder / f".{number}").replace(path)
        if end.wait(0.02):
            return


@POSIX
def test_killed_at_any_moment_and_started_again_each_file_has_one_row(
    part: Path, tmp_path: Path
) -> None:
    folder, out, count = tmp_path / "in", tmp_path / "out", 60
    folder.mkdir()
    end = threading.Event()
    landing = threading.Thread(target=land, args=(folder, iter(range(count)), end))
    landing.start()
    told: list[str] = []
    try:
        for kill in (0.0, 0.011, 0.023, 0.037):  # seconds after a first row: amid the next ones
            with program(part, tmp_path, "--workers", "2") as process:
                assert process.stdout is not None
                told.append(process.stdout.readline())
                time.sleep(kill)
                process.kill()
        with program(part, tmp_path) as process:
            assert process.stdout is not None
            limit = time.monotonic() + 60
            while len(whole_rows(out)) < count:
                assert time.monotonic() < limit
                told.append(process.stdout.readline())
            landing.join()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
    finally:
        end.set()
        landing.join()
    found = rows(out)
    assert Counter(row["name"] for row in found) == Counter(
        f"line {number % 2}/{number:03d}.png" for number in range(count)
    )
    for row in found:
        assert row["verdict"] in ("good", "defect"), row
        assert row["sha256"] == hashlib.sha256(Path(row["file"]).read_bytes()).hexdigest()
        assert read_map(out / f"{row['name']}.map.tiff").shape == (24, 16)
        assert (out / f"{row['name']}.overlay.png").is_file()
    assert all(json.loads(line) in found for line in told)


@POSIX
def test_ctrl_c_ends_cleanly(part: Path, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    with program(part, tmp_path) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["verdict"] == "good"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("blemish: stopped. Nothing half-written was left.\n")
    assert len(rows(tmp_path / "out")) == 1
