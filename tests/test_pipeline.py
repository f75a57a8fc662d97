"""Many images side by side: order, bounds, errors, early ends, and the same bits as one by one."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import blemish
from blemish import pipeline
from blemish.errors import ConfigError, ImageError
from blemish.images import pixel_count, write_png
from blemish.pipeline import THREADS, in_order, large_ones_alone, threads_each, workers_for
from blemish.runtime import Inspector
from blemish.scoring import inspect_all, jobs
from blemish.shots import PHOTOGRAPH, Shot
from graphs import artifact


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        write_png(path, np.full((20 + number, 30, 3), number, np.uint8))
    return paths


def ours() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith(THREADS)}


# ---------------------------------------------------------------- in_order


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_items_order(workers: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(in_order(work, range(40), workers)) == [n * n for n in range(40)]
    assert not ours()


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_work_at_once(workers: int) -> None:
    meet = threading.Barrier(workers, timeout=30)
    assert list(in_order(lambda _: meet.wait() >= 0, range(workers), workers)) == [True] * workers


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_is_taken_ahead_than_promised(workers: int) -> None:
    taken, most = 0, 1 if workers == 1 else 4 * workers + 1

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    for passed, _ in enumerate(itertools.islice(in_order(str, endless(), workers), 200)):
        assert taken - passed <= most
    assert not ours()


def test_one_worker_answers_before_it_asks_for_more() -> None:
    """A live camera's picture gets its verdict before the next is taken."""
    steps: list[str] = []

    def camera() -> Iterator[int]:
        for number in range(3):
            steps.append(f"asked {number}")
            yield number

    for number in in_order(lambda number: number, camera(), 1):
        steps.append(f"told {number}")
    assert steps == [f"{what} {number}" for number in range(3) for what in ("asked", "told")]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_in_its_turn_and_leaves_no_thread(workers: int) -> None:
    def work(number: int) -> int:
        if number == 5:
            raise ImageError("the fifth")
        return number

    found = in_order(work, range(100), workers)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ImageError, match="the fifth"):
        next(found)
    assert not ours()


def test_an_error_of_the_items_leaves_no_thread() -> None:
    def broken() -> Iterator[int]:
        yield from range(4)
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        list(in_order(str, broken(), 3))
    assert not ours()


def test_who_stops_early_waits_for_what_is_in_hand_alone() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.01)
        done.append(number)
        return number

    for number in in_order(work, range(1000), 2):
        if number == 3:
            break
    assert not ours()
    settled = len(done)
    assert settled <= 4 + 2 * 2 + 1
    time.sleep(0.05)
    assert len(done) == settled


@pytest.mark.parametrize(("asked", "machine", "got"), [(0, 1, 1), (0, 2, 2), (0, 64, 4), (9, 2, 9)])
def test_how_many_workers(
    asked: int, machine: int, got: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "cores", lambda: machine)
    assert workers_for(asked) == got
    assert threads_each(got) == (0 if got == 1 else max(1, machine // got))
    with pytest.raises(ConfigError, match=r"workers must be 0 .* or more, but are -1"):
        workers_for(-1)


def test_large_images_wait_for_each_other_and_small_ones_do_not() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work(pixels: int) -> int:
        nonlocal inside, most
        large = pixels > pipeline.LARGE
        with lock:
            inside += large
            most = max(most, inside)
        time.sleep(0.005)
        with lock:
            inside -= large
        return pixels

    sizes = [1, pipeline.LARGE + 1, pipeline.LARGE + 1] * 5
    careful = large_ones_alone(work, lambda pixels: pixels)
    assert list(in_order(careful, sizes, 4)) == sizes
    assert most == 1
    meet = threading.Barrier(2, timeout=30)
    beside = large_ones_alone(lambda _: meet.wait() >= 0, lambda pixels: pixels)
    assert list(in_order(beside, [pipeline.LARGE + 1, 5], 2)) == [True, True]


def test_pixels_are_counted_by_the_header(tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    assert pixel_count(path) == 600
    path.write_bytes(path.read_bytes()[:-20])  # the header is whole
    assert pixel_count(path) == 600
    path.write_bytes(b"no image")
    assert pixel_count(path) == pixel_count(tmp_path / "none.png") == 0


# ---------------------------------------------------------------- many images


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_inspect_many_says_what_inspect_says(tmp_path: Path, workers: int) -> None:
    model = Inspector(artifact())
    images = pictures(tmp_path, 12)
    images[4].write_bytes(b"broken")
    images[7].unlink()
    found = list(model.inspect_many(images, workers=workers))
    assert [one.file for one in found] == images
    for number, one in enumerate(found):
        assert (one.prediction is None) == (number in (4, 7)) == (one.verdict == "error")
        if one.prediction is None:
            assert str(images[number]) in str(one.error)
            assert one.to_json() == {
                "file": str(images[number]), "verdict": "error", "error": one.error,
            }  # fmt: skip
            continue
        alone = model.inspect(images[number])
        assert np.array_equal(one.prediction.map, alone.map)
        assert one.prediction.score == alone.score
        assert one.error is None
        assert one.to_json()["verdict"] == alone.verdict
    assert not ours()


def test_inspect_many_takes_whatever_inspect_takes(tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    pixels = np.full((9, 9), 200, np.uint8)
    shot = Shot(pictures={PHOTOGRAPH: pixels[..., None]})
    odd = np.zeros((3, 3), np.float64)
    found = list(Inspector(artifact()).inspect_many([str(path), pixels, shot, odd], workers=2))
    assert [one.file for one in found] == [path, None, None, None]
    assert [one.verdict for one in found] == ["good", "defect", "defect", "error"]
    assert found[1].to_json()["file"] is None
    assert "float32" in str(found[3].error)  # what every float becomes


def test_workers_share_one_session_which_is_kept() -> None:
    model = Inspector(artifact())
    assert model.one_of(1) is model
    assert model.one_of(64) is model.one_of(64) is not model
    told = Inspector(artifact(), threads=1)
    assert told.one_of(64) is told
    assert blemish.Outcome is type(next(model.inspect_many([np.zeros((9, 9), np.uint8)])))


def test_an_image_that_does_not_fit_into_memory_is_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Inspector, "_predict", full)
    images = pictures(tmp_path, 2)
    model = Inspector(artifact())
    for found in (model.inspect_many(images), inspect_all(model, jobs(images, None))):
        for one in found:
            assert one.verdict == "error"
            assert f"'{one.file}' must fit into memory" in str(one.error)


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_are_the_same_however_many_draw(tmp_path: Path, workers: int) -> None:
    images = pictures(tmp_path / "in", 9)
    images[2].write_bytes(b"")
    model = Inspector(artifact())
    todo = jobs([tmp_path / "in"], tmp_path / "out")
    assert [one.file for one in inspect_all(model, todo, workers=workers)] == images
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 16
    alone = jobs([tmp_path / "in"], tmp_path / "alone")
    list(inspect_all(model, alone))
    assert [f.read_bytes() for f in files] == [
        f.read_bytes() for f in sorted((tmp_path / "alone").iterdir())
    ]


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """No map outlives its outcome: at most those taken ahead are there at once."""
    import weakref

    pixels, alive = np.zeros((40, 40), np.uint8), weakref.WeakSet()
    many = itertools.repeat(pixels, 300)
    for one in Inspector(artifact()).inspect_many(many, workers=2):
        assert one.prediction is not None
        alive.add(one.prediction)
        assert len(alive) <= 4 * 2 + 3


CTRL_C = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
import itertools, numpy as np
from blemish.runtime import Inspector
sys.path.insert(0, {tests!r})
from graphs import artifact
pixels = np.zeros((300, 300), np.uint8)
try:
    for one in Inspector(artifact()).inspect_many(itertools.repeat(pixels), workers=2):
        print(one.verdict, flush=True)
except KeyboardInterrupt:
    left = [one for one in threading.enumerate() if one is not threading.main_thread()]
    sys.exit(f"stopped, {{len(left)}} threads left")
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise on Windows")
def test_ctrl_c_ends_all_threads() -> None:
    code = CTRL_C.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "good\n"
        process.send_signal(signal.SIGINT)
        for _ in process.stdout:
            pass
        assert process.wait(60) == 1
        assert process.stderr.read() == "stopped, 0 threads left\n"


OFTEN = """
import itertools, random, signal, threading
from blemish.pipeline import in_order
signal.signal(signal.SIGALRM, signal.default_int_handler)
for number in range(300):
    found = in_order(str, itertools.repeat(number), 2)
    next(found)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(number).uniform(0.0005, 0.003))
        for _ in found:
            pass
    except KeyboardInterrupt:
        found.close()
    assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no alarm")
def test_ctrl_c_leaves_no_lock_taken_wherever_it_comes() -> None:
    """A worker that waits for a lock which the interrupted caller took would keep it for ever."""
    done = subprocess.run(
        [sys.executable, "-c", OFTEN], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
