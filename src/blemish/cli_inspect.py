"""The verb inspect: which images are defective, and where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import blemish
from blemish.cli_parts import (
    FOUND,
    INCOMPLETE,
    Json,
    MmPerPixel,
    Part,
    Quiet,
    Runtime,
    Threads,
    Without,
    bars,
    row,
)
from blemish.cli_watch import watch_folder
from blemish.track import silent


def inspect(
    part: Part,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Images or folders.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for overlays and maps.")
    ] = None,
    without: Without = None,
    mm_per_pixel: MmPerPixel = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Images inspected at once; 0 is one a core, at most 4."
        ),
    ] = 0,
    runtime: Runtime = "auto",
    threads: Threads = 0,
    as_json: Json = False,
    fail_on_defect: Annotated[
        bool, typer.Option("--fail-on-defect", help="Exit with 1 if there is a defect.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge each photograph once as it lands in DIR."),
    ] = None,
    poll: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="Of --watch: between looks.")
    ] = 0.5,
    patience: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Of --watch: for what is broken, or lacks its 3D data."
        ),
    ] = 10,
    quiet: Quiet = False,
) -> None:
    """Say which images are defective, and where."""
    if bool(images) == (watch is not None):
        raise typer.BadParameter("must be images or folders, or --watch DIR, not both or none.")
    if watch is not None:
        watch_folder(
            part,
            watch,
            output,
            runtime=runtime,
            threads=threads,
            without=without or [],
            mm_per_pixel=mm_per_pixel,
            workers=workers,
            poll=poll,
            patience=patience,
            as_json=as_json,
            fail_on_defect=fail_on_defect,
            quiet=quiet,
        )
        return
    from blemish.pipeline import workers_for
    from blemish.scoring import inspect_all, jobs

    todo = jobs(images or [], output)
    count = min(workers_for(workers), len(todo))
    inspector = blemish.load(part, runtime=runtime, threads=threads).one_of(count)
    if mm_per_pixel is not None:
        inspector.rescale(mm_per_pixel)
    track = silent if as_json and sys.stdout.isatty() else bars(quiet)
    counts = {"good": 0, "defect": 0, "error": 0}
    found = inspect_all(inspector, todo, without or (), count)
    for outcome in track(found, "Inspecting", len(todo)):
        counts[outcome.verdict] += 1
        print(json.dumps(outcome.to_json()) if as_json else row(outcome), flush=True)
    if not as_json and not quiet:
        print(f"{counts['good']} good, {counts['defect']} defect, {counts['error']} not readable.")
    if counts["error"]:
        raise typer.Exit(INCOMPLETE)
    if fail_on_defect and counts["defect"]:
        raise typer.Exit(FOUND)
