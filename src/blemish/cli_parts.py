"""What the verbs of the command line share: exit codes, options, progress and remarks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import typer

from blemish.track import Track, silent

FOUND, FAILED, INCOMPLETE, STOPPED = 1, 3, 4, 130
T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars, notes or summary.")]
Layout = Annotated[str, typer.Option(help="auto, or a name from docs/data.md.")]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]


def note(quiet: bool) -> Any:
    """Prints a sentence to the person, beside the results."""
    return (lambda sentence: None) if quiet else (lambda sentence: print(sentence, file=sys.stderr))


def bars(quiet: bool) -> Track:
    """Progress with time left, on a terminal; silent elsewhere."""
    if quiet or not sys.stderr.isatty():
        return silent
    from rich.console import Console
    from rich.progress import Progress

    def shown(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        # On a terminal results go above the bar; results for a file or a pipe stay out of its way.
        with Progress(
            console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
        ) as progress:
            yield from progress.track(items, total=total, description=doing)

    return shown
