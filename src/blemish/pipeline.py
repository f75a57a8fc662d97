"""Many images side by side, their results in order: decode, resize, infer and draw overlap.

Each worker takes an image from its file to its verdict, so that one decodes while another infers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TypeVar

from blemish.engines import cores
from blemish.errors import BlemishError, ConfigError, about
from blemish.records import Outcome

T = TypeVar("T")
R = TypeVar("R")

MOST_BY_DEFAULT = 4  # workers; each holds an image and its map
AHEAD = 2  # items taken ahead for each worker
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

    At most 2 * workers + 1 items are taken before the first of them is passed on, so memory is
    bounded however many there are. One worker is the caller's own thread, which takes nothing
    ahead. An error of work or of items is raised in its turn. Whoever stops early (or is stopped:
    Ctrl-C) waits for the items in hand, and leaves no thread behind.
    """
    if workers == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers, THREADS) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                # What is ready goes at once: the next item may be long in coming.
                while waiting and (len(waiting) > AHEAD * workers or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


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
