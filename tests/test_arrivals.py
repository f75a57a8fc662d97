"""What counts as landed: whole at two looks, with what belongs to it, and not judged yet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish import arrivals as room
from blemish.arrivals import Arrival, Arrivals, stamp_of
from blemish.artifact import Artifact
from blemish.images import write_png
from blemish.journal import Done
from graphs import artifact, several


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def looking(tmp_path: Path, clock: Clock, notes: list[str]) -> Callable[..., Arrivals]:
    def made(model: Artifact | None = None, **changed: Any) -> Arrivals:
        told: dict[str, Any] = {"without": (), "patience": 10.0, "note": notes.append}
        return Arrivals(tmp_path / "in", model or artifact(), clock=clock, **{**told, **changed})

    (tmp_path / "in").mkdir()
    return made


def picture(path: Path, value: int = 7) -> Path:
    write_png(path, np.full((12, 12, 3), value, np.uint8))
    return path


def names(found: list[Arrival]) -> list[str]:
    return [one.name for one in found]


def judged(found: list[Arrival]) -> dict[str, Done]:
    return {one.name: Done(*one.stamp[:2], b"x" * 32, one.stamp.changed) for one in found}


def test_a_file_is_whole_when_two_looks_find_it_the_same(
    looking: Callable[..., Arrivals], tmp_path: Path
) -> None:
    arrivals = looking()
    path = picture(tmp_path / "in" / "sub" / "a.png")
    assert arrivals.look({}) == []
    (found,) = arrivals.look({})
    assert found == Arrival(image=path, name="sub/a.png", stamp=found.stamp, late=False)
    assert found.stamp == stamp_of(path)
    assert found.stamp.size == path.stat().st_size
    assert names(arrivals.look({})) == ["sub/a.png"]  # until it is done
    assert arrivals.look(judged([found])) == []


def test_a_file_that_grows_is_waited_for(looking: Callable[..., Arrivals], tmp_path: Path) -> None:
    arrivals, path = looking(), picture(tmp_path / "in" / "a.png")
    whole = path.read_bytes()
    for end in range(0, len(whole), len(whole) // 5):
        path.write_bytes(whole[:end])
        assert arrivals.look({}) == []
    assert names(arrivals.look({})) == ["a.png"]


def test_a_size_that_was_set_beforehand_does_not_deceive(
    looking: Callable[..., Arrivals], tmp_path: Path
) -> None:
    """As copies over a network do: the size is there first, bytes follow, and the time changes."""
    arrivals, path = looking(), picture(tmp_path / "in" / "a.png")
    for second in range(5):
        os.utime(path, ns=(0, 10**18 + second))
        assert arrivals.look({}) == []
    assert names(arrivals.look({})) == ["a.png"]


def test_the_oldest_go_first(looking: Callable[..., Arrivals], tmp_path: Path) -> None:
    arrivals = looking()
    for name, second in (("c", 1), ("a", 3), ("b", 2), ("b2", 2)):
        os.utime(picture(tmp_path / "in" / f"{name}.png"), ns=(0, 10**18 + second))
    arrivals.look({})
    assert names(arrivals.look({})) == ["c.png", "b.png", "b2.png", "a.png"]


def test_a_look_takes_no_more_than_it_must(
    looking: Callable[..., Arrivals], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that between judging many it is seen what else has come, and gone."""
    monkeypatch.setattr(room, "MOST", 3)
    arrivals, done, found = looking(), dict[str, Done](), list[str]()
    for number in range(8):
        os.utime(picture(tmp_path / "in" / f"{number}.png"), (0, 100 - number))
    for _ in range(6):
        ready = arrivals.look(done)
        assert len(ready) <= 3
        for one in ready:
            arrivals.settle(one.name)
        found += names(ready)
        done |= judged(ready)
    assert found == [f"{number}.png" for number in range(7, -1, -1)]


def test_only_photographs_land(looking: Callable[..., Arrivals], tmp_path: Path) -> None:
    arrivals, folder = looking(), tmp_path / "in"
    for name in (".hidden.png", "a.png.tmp", "a.txt", "b.overlay.png", ".blemish/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(picture(tmp_path / "p.png"), folder / name)
    arrivals.look({})
    assert arrivals.look({}) == []


def test_what_is_done_is_known_by_size_and_time_across_runs(
    looking: Callable[..., Arrivals], tmp_path: Path
) -> None:
    path = picture(tmp_path / "in" / "a.png")
    told = path.stat()
    done = {"a.png": Done(told.st_size, told.st_mtime_ns, b"x" * 32)}  # as a journal reads it
    arrivals = looking()
    assert arrivals.look(done) == arrivals.look(done) == []
    assert done["a.png"].changed == told.st_ctime_ns


@pytest.mark.parametrize("how", ["written", "touched", "replaced"])
def test_what_was_written_again_lands_again(
    looking: Callable[..., Arrivals], tmp_path: Path, how: str
) -> None:
    arrivals, path = looking(), picture(tmp_path / "in" / "a.png")
    arrivals.look({})
    done = judged(arrivals.look({}))
    arrivals.settle("a.png")
    before = path.stat()
    if how == "written":
        picture(path, 200)
    elif how == "touched":
        os.utime(path)
    else:  # another file of the same size and time, as on a share that counts in seconds
        other = picture(tmp_path / "other.png", 9)
        assert other.stat().st_size == before.st_size
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(path)
    assert arrivals.look(done) == []
    assert names(arrivals.look(done)) == ["a.png"]


def test_patience_makes_late(
    looking: Callable[..., Arrivals], tmp_path: Path, clock: Clock
) -> None:
    arrivals, path = looking(), picture(tmp_path / "in" / "a.png")
    arrivals.look({})
    clock.now += 9.9
    assert [one.late for one in arrivals.look({})] == [False]
    clock.now += 0.2
    assert [one.late for one in arrivals.look({})] == [True]
    os.utime(path)  # it begins anew
    assert arrivals.look({}) == []
    assert [one.late for one in arrivals.look({})] == [False]


def test_a_file_that_goes_away_is_told_once(
    looking: Callable[..., Arrivals], tmp_path: Path, notes: list[str]
) -> None:
    arrivals, path = looking(), picture(tmp_path / "in" / "a.png")
    arrivals.look({})
    path.unlink()
    assert arrivals.look({}) == arrivals.look({}) == []
    assert notes == [f"'{path}' went away before it was judged."]


def test_a_share_that_drops_is_waited_for(
    looking: Callable[..., Arrivals], tmp_path: Path, notes: list[str]
) -> None:
    folder = tmp_path / "in"
    arrivals = looking()
    picture(folder / "a.png")
    arrivals.look({})
    done = judged(arrivals.look({}))
    arrivals.settle("a.png")
    picture(folder / "b.png")
    arrivals.look(done)
    folder.rename(tmp_path / "away")
    for _ in range(3):
        assert arrivals.look(done) == []
    assert len(notes) == 1
    assert notes[0].startswith(f"waiting: {folder} must be readable, but opening it failed: ")
    (tmp_path / "away").rename(folder)
    assert names(arrivals.look(done)) == ["b.png"]  # neither forgotten nor judged again
    assert notes[1:] == [f"'{folder}' can be read again."]


def test_one_folder_that_cannot_be_read_does_not_stop_the_others(
    looking: Callable[..., Arrivals],
    tmp_path: Path,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrivals, locked = looking(), tmp_path / "in" / "locked"
    picture(locked / "a.png")
    picture(tmp_path / "in" / "b.png")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        arrivals.look({})
        assert names(arrivals.look({})) == ["b.png"]
    assert len(notes) == 1
    assert "locked must be readable, but opening it failed: Permission denied" in notes[0]
    arrivals.look({})
    assert set(names(arrivals.look({}))) == {"b.png", "locked/a.png"}


# ---------------------------------------------------------------- several modalities


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ones((12, 12, 3), np.float32))
    return path


def test_a_photograph_waits_for_its_scan(
    looking: Callable[..., Arrivals], tmp_path: Path, clock: Clock
) -> None:
    arrivals = looking(several())
    picture(tmp_path / "in" / "rgb" / "1.png")
    arrivals.look({})
    clock.now += 5
    assert arrivals.look({}) == []
    points = scan(tmp_path / "in" / "xyz" / "1.npy")
    assert arrivals.look({}) == []  # it may still be written
    points.write_bytes(points.read_bytes() + b"more")
    assert arrivals.look({}) == []
    found = arrivals.look({})
    assert names(found) == ["rgb/1.png"]
    assert not found[0].late


def test_a_scan_that_never_comes_makes_late(
    looking: Callable[..., Arrivals], tmp_path: Path, clock: Clock
) -> None:
    arrivals = looking(several())
    picture(tmp_path / "in" / "rgb" / "1.png")
    arrivals.look({})
    clock.now += 10
    assert [(one.name, one.late) for one in arrivals.look({})] == [("rgb/1.png", True)]


def test_what_is_left_out_is_not_waited_for(
    looking: Callable[..., Arrivals], tmp_path: Path
) -> None:
    arrivals = looking(several(), without=("points",))
    picture(tmp_path / "in" / "rgb" / "1.png")
    arrivals.look({})
    assert names(arrivals.look({})) == ["rgb/1.png"]


def test_a_further_photograph_is_none_by_itself(
    looking: Callable[..., Arrivals], tmp_path: Path, notes: list[str]
) -> None:
    arrivals = looking(several("infrared", points=False))
    picture(tmp_path / "in" / "infrared" / "1.png")  # it lands first
    assert arrivals.look({}) == arrivals.look({}) == []
    picture(tmp_path / "in" / "light" / "1.png")
    assert arrivals.look({}) == []
    assert names(arrivals.look({})) == ["light/1.png"]
    assert notes == []


def test_two_files_that_could_be_the_scan_are_for_the_reader_to_refuse(
    looking: Callable[..., Arrivals], tmp_path: Path, clock: Clock
) -> None:
    arrivals = looking(several())
    picture(tmp_path / "in" / "rgb" / "1.png")
    scan(tmp_path / "in" / "xyz" / "1.npy")
    picture(tmp_path / "in" / "xyz" / "1.tiff")
    arrivals.look({})
    assert arrivals.look({}) == []
    clock.now += 10
    assert [one.late for one in arrivals.look({})] == [True]


def test_each_photograph_cannot_be_anothers_partner(
    looking: Callable[..., Arrivals], tmp_path: Path, notes: list[str]
) -> None:
    arrivals = looking(several("infrared", points=False, others={"infrared": "../{stem}/*.png"}))
    for number, other in ((1, 2), (2, 1)):
        picture(tmp_path / "in" / str(number) / f"{other}.png")
    arrivals.look({})
    assert len(notes) == 1
    assert "each of 2 images is another's partner" in notes[0]
