"""A folder in which photographs land: each is judged once, across restarts, kills and power cuts.

Look, judge what is whole, write pictures, write the row, look again. A photograph is done when its
row is on the disk; whatever ends the watch before that leaves it to the next one, which writes the
same pictures over these. Why it is made so: docs/decisions/0012-watch.md.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from blemish.arrivals import Arrival, Arrivals, stamp_of
from blemish.errors import ImageError
from blemish.images import pixel_count, read_bytes
from blemish.journal import Done, Journal
from blemish.pipeline import failed, in_order, large_ones_alone
from blemish.records import Outcome
from blemish.runtime import Inspector
from blemish.scoring import draw

# What reading says while a share is away: the file may be whole, and is looked at again.
AWAY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENODEV}  # fmt: skip
SLICE = 0.05  # seconds between looks at whether to stop


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a folder is watched.

    journal: of the output folder. pictures: folder for overlays and maps, None writes none. model:
    what rows call the model. without: modalities that are left out. workers: photographs judged at
    once. poll: seconds between looks. patience: seconds that a photograph which cannot be decoded,
    or lacks what belongs to it, may have; then it is judged as it is. note: is told what is odd.
    clock: seconds, never backwards.
    """

    inspector: Inspector
    folder: Path
    journal: Journal
    pictures: Path | None
    model: str
    without: Sequence[str] = ()
    workers: int = 1
    poll: float = 0.5
    patience: float = 10.0
    note: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic

    def rows(self, stop: Callable[[], bool]) -> Iterator[tuple[Outcome, str]]:
        """Outcomes as they become known, each with its row in the journal, until `stop` says so:
        then the photographs in hand are the last. Raises DataError if rows or pictures cannot be
        written."""
        self.inspector.artifact.calibration_without(self.without)
        arrivals = Arrivals(
            self.folder,
            self.inspector.artifact,
            without=self.without,
            patience=self.patience,
            note=self.note,
            clock=self.clock,
        )
        careful = large_ones_alone(self._judge, lambda one: pixel_count(one.image))
        work = self._judge if self.workers == 1 else careful
        while not stop():
            began = self.clock()
            ready = arrivals.look(self.journal.done)
            looked = self.clock() - began
            with closing(in_order(work, _until(stop, ready), self.workers)) as found:
                for judged in found:
                    yield from self._kept(judged, arrivals)
            # A look at a hundred thousand files may take longer than the pause that was asked for.
            self._pause(max(self.poll - (self.clock() - began), 2 * looked), stop)

    def _judge(self, arrival: Arrival) -> _Judged:
        start = time.perf_counter()
        artifact, image = self.inspector.artifact, arrival.image
        try:
            shot, files = artifact.read(image)
            done = _done(arrival, files[0])
            if stamp_of(image) != arrival.stamp:
                return _Judged(arrival=arrival)
            if self._is_known(arrival, done):
                return _Judged(arrival=arrival, done=done)
            seen = shot.without(self.without)
            found = self.inspector.inspect_shot(seen)
        except Exception as error:  # whatever it is about a file, it never ends the watch
            return self._failed(arrival, error)
        found = replace(found, ms=(time.perf_counter() - start) * 1000)
        if self.pictures is not None:
            draw(artifact, self.pictures / arrival.name, seen, found, durable=True)
        return _Judged(arrival=arrival, done=done, outcome=Outcome(file=image, prediction=found))

    def _failed(self, arrival: Arrival, error: Exception) -> _Judged:
        """Nothing yet while it may still be written, copied, or its share be away."""
        gone = stamp_of(arrival.image) != arrival.stamp
        away = isinstance(error.__cause__, OSError) and error.__cause__.errno in AWAY
        if gone or away or not arrival.late:
            why = str(error) if away and arrival.late else None
            return _Judged(arrival=arrival, why=why)
        try:
            done = _done(arrival, read_bytes(arrival.image))
        except ImageError:  # nobody may read it, or it is empty
            done = _done(arrival, b"")
        if self._is_known(arrival, done):
            return _Judged(arrival=arrival, done=done)
        return _Judged(arrival=arrival, done=done, outcome=failed(arrival.image, error))

    def _is_known(self, arrival: Arrival, done: Done) -> bool:
        """Whether the last row of this name was about the same bytes: touched, or copied again."""
        last = self.journal.done.get(arrival.name)
        return last is not None and last.size == done.size > 0 and last.sha256 == done.sha256

    def _kept(self, judged: _Judged, arrivals: Arrivals) -> Iterator[tuple[Outcome, str]]:
        arrival, done, outcome = judged.arrival, judged.done, judged.outcome
        if done is None:  # if it has changed, the next look says so
            if judged.why is not None:
                arrivals.explain(arrival.name, judged.why)
            return
        arrivals.settle(arrival.name)
        if outcome is None:
            self.journal.done[arrival.name] = done
            return
        row = outcome.to_json() | {"at": _now(), "model": self.model}
        yield outcome, self.journal.add(arrival.name, done, row)

    def _pause(self, seconds: float, stop: Callable[[], bool]) -> None:
        end = self.clock() + seconds
        while not stop() and (left := end - self.clock()) > 0:
            time.sleep(min(left, SLICE))


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """done: None leaves it to the next look. outcome: None of a file that has its row already.
    why: it has been waited for so long."""

    arrival: Arrival
    done: Done | None = None
    outcome: Outcome | None = None
    why: str | None = None


def _until(stop: Callable[[], bool], ready: Sequence[Arrival]) -> Iterator[Arrival]:
    for arrival in ready:
        if stop():
            return
        yield arrival


def _done(arrival: Arrival, data: bytes) -> Done:
    return Done(
        size=arrival.stamp.size,
        modified=arrival.stamp.modified,
        sha256=hashlib.sha256(data).digest() if data else b"",
        changed=arrival.stamp.changed,
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
