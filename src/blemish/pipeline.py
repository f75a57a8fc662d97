"""Many images side by side, their results in order: decode, resize, infer and draw overlap.

Each worker takes an image from its file to its verdict, so that one decodes while another infers.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from blemish.engines import cores
from blemish.errors import BlemishError, ConfigError, about
from blemish.records import Outcome

T = TypeVar("T")
R = TypeVar("R")
_Told = tuple[Any, BaseException | None]  # a result, or why there is none

MOST_BY_DEFAULT = 4  # workers; each holds an image and its map
AHEAD = 4  # items taken ahead for each worker; of 2, workers waited for new ones
THREADS = "blemish-inspect"  # what they are called, for whoever looks at a process
LARGE = 2**24  # pixels from which on an image has its workers wait for each other


def workers_for(asked: int) -> int:
    """How many workers; 0 asks for one a core, at most 4. Raises ConfigError below 0."""
    if asked < 0:
        raise ConfigError(
            f"workers must be 0 (one a core, at most {MOST_BY_DEFAULT}) or more, but are {asked}."
            " Give the number of images to inspect at once."
        )
    return asked or min(cores(), MOST_BY_DEFAULT)


def threads_each(workers: int) -> int:
    """Threads for the session that workers share: 0, one a core, for one; of several each runs the
    graph on its share of the cores."""
    return 0 if workers == 1 else max(1, cores() // workers)


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """work(item) for each item, in the items' order, on several threads.

    At most 4 * workers + 1 items are taken before the first of them is passed on, so memory is
    bounded however many there are. One worker is the caller's own thread, which takes nothing
    ahead. An error of work or of items is raised in its turn. Whoever stops early (or is stopped:
    Ctrl-C) waits for the items in hand, and leaves no thread behind.
    """
    if workers == 1:
        yield from map(work, items)
        return
    # Simple queues and no futures: Ctrl-C between the lines of a future's Python code would leave
    # its lock taken, and the worker, and whoever waits for it, hanging.
    asked: SimpleQueue[tuple[int, T] | None] = SimpleQueue()
    told: SimpleQueue[tuple[int, _Told]] = SimpleQueue()

    def serve() -> None:
        while (task := asked.get()) is not None:
            try:
                told.put((task[0], (work(task[1]), None)))
            except BaseException as error:  # raised where its result would be passed on
                told.put((task[0], (None, error)))

    pool = [Thread(target=serve, name=f"{THREADS}_{n}", daemon=True) for n in range(workers)]

    def stop() -> None:
        with suppress(Empty):
            while True:
                asked.get_nowait()
        for _ in pool:
            asked.put(None)
        for thread in pool:
            if thread.is_alive():  # all were started, unless that is what failed
                thread.join()

    atexit.register(stop)  # if the program ends before whoever asked does
    try:
        for thread in pool:
            thread.start()
        yield from _passed_on(items, asked, told, AHEAD * workers)
    finally:
        stop()
        atexit.unregister(stop)


def _passed_on(
    items: Iterable[T],
    asked: SimpleQueue[tuple[int, T] | None],
    told: SimpleQueue[tuple[int, _Told]],
    ahead: int,
) -> Iterator[Any]:
    came: dict[int, _Told] = {}
    passed = given = 0

    def is_next_there(*, wait: bool) -> bool:
        """After all that can be had, and if need be waited for, has been taken."""
        with suppress(Empty):
            while True:
                number, outcome = told.get(block=wait and passed not in came)
                came[number] = outcome
        return passed in came

    def ready(most: int) -> Iterator[Any]:
        """What is there, in order; waits only while more than `most` are not passed on."""
        nonlocal passed
        while passed < given and is_next_there(wait=given - passed > most):
            yield _result(*came.pop(passed))
            passed += 1

    for item in items:
        asked.put((given, item))
        given += 1
        yield from ready(ahead)  # at once: the next item may be long in coming
    yield from ready(0)


def _result(result: R, error: BaseException | None) -> R:
    if error is not None:
        raise error
    return result


def failed(file: Path | None, error: Exception) -> Outcome:
    """The outcome of an image that could not be inspected: its error's sentence."""
    if isinstance(error, MemoryError):
        return Outcome(
            file=file,
            error=f"'{file}' must fit into memory with its map, but there is too little left. Use"
            " fewer workers, or cut the image into pieces.",
        )
    if not isinstance(error, BlemishError):
        return Outcome(
            file=file,
            error=f"'{file}' must be an image that can be judged, but it led to"
            f" {type(error).__name__}: {error}. Save it as PNG, and tell us.",
        )
    return Outcome(file=file, error=str(error) if file is None else about(error, file))


def large_ones_alone(work: Callable[[T], R], pixels_of: Callable[[T], int]) -> Callable[[T], R]:
    """The same work, but of images of more than 16 megapixels one at a time, beside small ones:
    two plates of 100 megapixels might not fit into memory. pixels_of: 0 where nobody knows."""
    alone = Lock()

    def careful(item: T) -> R:
        if pixels_of(item) <= LARGE:
            return work(item)
        with alone:
            return work(item)

    return careful
