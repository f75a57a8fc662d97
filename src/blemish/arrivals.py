"""What has landed in a watched folder, whole, and was not judged yet.

A camera may still be writing. A file is taken for whole once its size and times, and those of what
belongs to it, were the same at two looks; whether it can be decoded, its reader says. Nothing but
looking is asked of the folder, so it may lie on a network share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from blemish.artifact import Artifact
from blemish.data.listing import photographs_below
from blemish.data.partners import partners_of
from blemish.errors import DataError, ImageError
from blemish.journal import Done
from blemish.records import Sample
from blemish.scans import scan_files
from blemish.shots import PHOTOGRAPH, POINTS

MOST = 1000  # photographs of a look; the next ones wait for the next


class Stamp(NamedTuple):
    """A file's state as far as one can tell without reading it: bytes, nanoseconds. changed: tells
    a file put in the place of one with the same size and time (of seconds, on some shares)."""

    size: int
    modified: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A photograph that was the same at two looks. name: below the folder, with /. late: whether it
    was waited for long enough, so that it is judged as it is."""

    image: Path
    name: str
    stamp: Stamp
    late: bool


@dataclass
class _Waiting:
    marks: tuple[Stamp | None, ...]
    since: float
    told: bool = False


class Arrivals:
    """Looks into a folder again and again.

    without: modalities that are not waited for. patience: seconds that a photograph waits for what
    belongs to it. note: is told what is odd, once. clock: seconds, never backwards.
    """

    def __init__(
        self,
        folder: Path,
        artifact: Artifact,
        *,
        without: Sequence[str],
        patience: float,
        note: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.folder, self._artifact, self._patience = folder, artifact, patience
        sight = artifact.sight
        names = (PHOTOGRAPH,) if sight is None else sight.modalities
        self._wanted = set(names) - set(without)
        self._note, self._clock = note, clock
        self._waiting: dict[str, _Waiting] = {}
        self._troubles: set[str] = set()

    def look(self, done: dict[str, Done]) -> list[Arrival]:
        """Photographs that are whole and not done, oldest first. Times of change of what is done
        are filled in."""
        now, ready = self._clock(), []
        fresh = self._fresh(done)
        for name, (image, stamp) in sorted(fresh.items(), key=_age)[:MOST]:
            sample = self._sample(image)
            marks = (stamp, *(stamp_of(file) for file in _partners(sample)))
            waiting = self._waiting.get(name)
            if waiting is None or waiting.marks != marks:
                self._waiting[name] = _Waiting(marks, now)
                continue
            late = now - waiting.since >= self._patience
            if late or self._is_complete(sample):
                ready.append(Arrival(image=image, name=name, stamp=stamp, late=late))
        return ready

    def settle(self, name: str) -> None:
        """A name was judged, or begins anew: it is waited for no longer."""
        self._waiting.pop(name, None)

    def explain(self, name: str, why: str) -> None:
        """Notes, once, why a name is still waited for."""
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.told:
            waiting.told = True
            self._note(f"waiting: {why}")

    def _fresh(self, done: dict[str, Done]) -> dict[str, tuple[Path, Stamp]]:
        troubles: set[str] = set()
        images = photographs_below(self.folder, lambda error: troubles.add(str(error)))
        fresh, depth = {}, len(self.folder.parts)
        for image in images:
            name, stamp = "/".join(image.parts[depth:]), stamp_of(image)
            if stamp is not None and not _is_done(name, stamp, done):
                fresh[name] = image, stamp
        if fresh and self._artifact.sight is not None:
            aside = self._aside(images, troubles)
            for name in [name for name, one in fresh.items() if one[0] in aside]:
                del fresh[name]
                self.settle(name)
        self._tell(troubles, fresh)
        return fresh

    def _aside(self, images: Sequence[Path], troubles: set[str]) -> set[Path]:
        """Photographs that belong to another one."""
        try:
            return partners_of(images, self._artifact.sensor, self._artifact.others)
        except DataError as error:
            troubles.add(str(error))
            return set()

    def _tell(self, troubles: set[str], fresh: Mapping[str, object]) -> None:
        for sentence in sorted(troubles - self._troubles):
            self._note(f"waiting: {sentence}")
        if self._troubles and not troubles:
            self._note(f"'{self.folder}' can be read again.")
        gone = [] if troubles else [name for name in self._waiting if name not in fresh]
        for name in gone:
            self._note(f"'{self.folder / name}' went away before it was judged.")
            self.settle(name)
        self._troubles = troubles

    def _sample(self, image: Path) -> Sample | None:
        try:
            return self._artifact.sample_of(image)
        except ImageError:  # it says why when it is read
            return None

    def _is_complete(self, sample: Sample | None) -> bool:
        if sample is None:
            return False
        there = {PHOTOGRAPH, *(name for name, _ in sample.others)}
        return self._wanted <= there | ({POINTS} if scan_files(sample) else set())


def stamp_of(path: Path) -> Stamp | None:
    """None if it cannot be told: the file is gone, or the share is."""
    try:
        told = path.stat()
    except OSError:
        return None
    return Stamp(told.st_size, told.st_mtime_ns, told.st_ctime_ns)


def _age(fresh: tuple[str, tuple[Path, Stamp]]) -> tuple[int, str]:
    """The oldest first."""
    name, (_, stamp) = fresh
    return stamp.modified, name


def _partners(sample: Sample | None) -> list[Path]:
    if sample is None:
        return []
    return [*(file for _, file in sample.others), *scan_files(sample)]


def _is_done(name: str, stamp: Stamp, done: dict[str, Done]) -> bool:
    known = done.get(name)
    if known is None or known[:2] != stamp[:2] or known.changed not in (0, stamp.changed):
        return False
    done[name] = known._replace(changed=stamp.changed)
    return True
