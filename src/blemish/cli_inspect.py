"""The verb inspect: which images are defective, and where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import blemish
from blemish.cli_parts import FOUND, INCOMPLETE, Json, Part, Quiet, Runtime, Threads, Without, bars
from blemish.track import silent


def inspect(
    part: Part,
    images: Annotated[list[Path], typer.Argument(help="Images or folders.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for overlays and maps.")
    ] = None,
    without: Without = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Images inspected at once.  [default: one a core, at most 4]"
        ),
    ] = 0,
    runtime: Runtime = "auto",
    threads: Threads = 0,
    as_json: Json = False,
    fail_on_defect: Annotated[
        bool, typer.Option("--fail-on-defect", help="Exit with 1 if there is a defect.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Say which images are defective, and where."""
    from blemish.pipeline import workers_for
    from blemish.scoring import inspect_all, jobs

    todo = jobs(images, output)
    count = min(workers_for(workers), len(todo))
    inspector = blemish.load(part, runtime=runtime, threads=threads).one_of(count)
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


def row(outcome: Any) -> str:
    """One line of inspect's table."""
    if outcome.prediction is None:
        return f"error    {outcome.error}"
    p = outcome.prediction
    largest = max((region.area_px for region in p.regions), default=0)
    count = f"{len(p.regions)} region" + "s" * (len(p.regions) > 1)
    where = f"{count}, largest {largest} px" if p.regions else ""
    less = f"without {', '.join(p.missing)}" if p.missing else ""
    told = "  ".join(one for one in (where, less) if one)
    return f"{p.verdict:<7}  {p.score:9.4g}  p {p.p_value:6.4f}  {outcome.file}  {told}".rstrip()
