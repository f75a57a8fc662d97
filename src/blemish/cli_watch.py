"""What the verb inspect does with --watch: rows of a folder as photographs land in it."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

import blemish
from blemish.cli_parts import FOUND, STOPPED, note, row

HIDDEN = ".blemish"  # in the watched folder: rows of a watch that was given no other place


def watch_folder(
    part: Path,
    folder: Path,
    output: Path | None,
    *,
    runtime: str,
    threads: int,
    without: list[str],
    mm_per_pixel: float | None,
    workers: int,
    poll: float,
    patience: float,
    as_json: bool,
    fail_on_defect: bool,
    quiet: bool,
) -> None:
    """Judges photographs as they land, until SIGTERM (exit code 0), Ctrl-C (130), or, if asked to,
    the first defect (1). Raises DataError, ArtifactError, ConfigError."""
    from blemish.data.listing import require_folder
    from blemish.journal import Journal
    from blemish.pipeline import workers_for
    from blemish.watch import Watch

    require_folder(folder)
    count = workers_for(workers)
    inspector = blemish.load(part, runtime=runtime, threads=threads).one_of(count)
    if mm_per_pixel is not None:
        inspector.rescale(mm_per_pixel)
    model = hashlib.sha256(part.read_bytes()).hexdigest()[:12]
    with Journal(output or folder / HIDDEN) as journal, stopping() as stop:
        _begin(note(quiet), folder, journal)
        watch = Watch(
            inspector=inspector,
            folder=folder,
            journal=journal,
            pictures=output,
            model=model,
            without=without,
            workers=count,
            poll=poll,
            patience=patience,
            note=note(quiet),
        )
        counts = {"good": 0, "defect": 0, "error": 0}
        for outcome, line in watch.rows(lambda: bool(stop)):
            counts[outcome.verdict] += 1
            print(line if as_json else row(outcome), flush=True)
            if fail_on_defect and outcome.verdict == "defect":
                raise typer.Exit(FOUND)
    if not as_json and not quiet:
        print(f"{counts['good']} good, {counts['defect']} defect, {counts['error']} not readable.")
    if signal.SIGINT in stop:
        raise typer.Exit(STOPPED)


def _begin(tell: Callable[[str], None], folder: Path, journal: Any) -> None:
    if journal.repaired:
        tell("A crash had left half a row; it is taken out, and its photograph judged again.")
    tell(
        f"Watching '{folder}'; rows go to '{journal.path}', which has {len(journal.done)} files."
        " Ctrl-C or SIGTERM ends it after the photographs in hand."
    )


@contextmanager
def stopping() -> Iterator[list[int]]:
    """A list that SIGTERM and Ctrl-C add themselves to while this lasts, instead of ending the
    program; the second one ends it."""
    came: list[int] = []
    before: dict[int, Any] = {}
    told: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)

    def hear(number: int, _: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    for number in told:
        before[number] = signal.signal(number, hear)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
