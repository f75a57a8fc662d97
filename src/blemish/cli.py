"""The command line: one short function a verb; all logic is elsewhere.

Exit codes: 0 done · 1 a defect was found (inspect --fail-on-defect), data doctor has findings,
weights verify found damage, or verify that runtimes differ · 2 the command line is wrong · 3 it
could not be done, and the message says what to do · 4 done, but some files could not be read · 130
stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

import blemish
from blemish.cli_data import app as data_app
from blemish.cli_export import export, verify
from blemish.cli_fit import fit
from blemish.cli_inspect import inspect
from blemish.cli_parts import (
    FAILED,
    INCOMPLETE,
    STOPPED,
    Json,
    Layout,
    Part,
    Quiet,
    Runtime,
    Threads,
    Without,
    bars,
    coarse,
    note,
    summary,
)
from blemish.cli_synth import synth
from blemish.cli_weights import app as weights_app
from blemish.errors import BlemishError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Learns what good parts look like, then finds, outlines and measures defects.",
    epilog="Exit codes: 0 done; 1 a defect was found (inspect --fail-on-defect), data doctor has"
    " findings, weights verify found damage, or verify that runtimes differ; 2 the command line is"
    " wrong; 3 it could not be done; 4 done, but some files could not be read; 130 Ctrl-C.",
)

app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

Thresholds = Annotated[
    int | None,
    typer.Option(
        min=2, metavar="N", help="AUPRO between N thresholds, as papers do (99).  [default: dense]"
    ),
]


app.command()(fit)
app.command()(inspect)


@app.command()
def evaluate(
    part: Part,
    data: Annotated[Path, typer.Argument(help="Data set with good and defective parts.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for an HTML report.")
    ] = None,
    layout: Layout = "auto",
    thresholds: Thresholds = None,
    without: Without = None,
    runtime: Runtime = "auto",
    threads: Threads = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how good a model is on parts whose defects are known."""
    from blemish.data import open_data
    from blemish.metrics.evaluate import Evaluator
    from blemish.report.page import write_report
    from blemish.report.text import about, figures_table
    from blemish.scoring import score_dataset, view

    inspector = blemish.load(part, runtime=runtime, threads=threads)
    left_out, told = without or [], inspector.artifact
    calibration = told.calibration_without(left_out)
    evaluator = Evaluator(pixel_threshold=calibration.extent)
    opened = open_data(data, layout, sensor=told.sensor, others=told.others)
    judged = score_dataset(inspector, opened, evaluator, without=left_out, track=bars(quiet))
    for sentence in judged.left_out:
        note(quiet)(sentence)
    evaluation = evaluator.result(calibration.threshold, n_thresholds=thresholds)
    if as_json:
        print(json.dumps(evaluation.to_json() | {"runtime": str(inspector.runtime)}))
    elif not quiet:
        print(figures_table(evaluation))
    if output is not None:
        words = ["blemish", "evaluate", str(part), str(data), "-o", str(output)]
        words += ["--layout", layout] * (layout != "auto") + coarse(thresholds)
        words += [f"--without={name}" for name in left_out]
        words += ["--runtime", runtime] * (runtime != "auto")
        ran = f"{inspector.runtime} ({inspector.runtime.how})"
        page = write_report(
            output,
            title=f"{part.name} on {data.resolve().name}",
            evaluation=evaluation,
            items=judged.items,
            views=lambda item: view(inspector, item, left_out),
            info=about(inspector.artifact) | {"evaluated with": ran},
            command=shlex.join(words),
        )
        print(f"Report: {page}", file=sys.stderr if as_json else sys.stdout)
    if judged.unreadable:
        raise typer.Exit(INCOMPLETE)


@app.command()
def info(part: Part, as_json: Json = False) -> None:
    """Say what a model is, where it came from and what its threshold promises."""
    from blemish.artifact import open_artifact
    from blemish.engines import installed
    from blemish.report.text import about, rehearsal_table

    artifact = open_artifact(part)
    if as_json:
        print(json.dumps(summary(part, artifact)))
        return
    here = ", ".join(f"{name} {version}" for name, version in installed().items())
    for name, value in (about(artifact) | {"runtimes here": here}).items():
        print(f"{name + ':':<16}{value}")
    if "rehearsal" in artifact.about:
        print(f"\n{rehearsal_table(artifact.about['rehearsal'])}")


@app.command()
def bench(
    suite: Annotated[Path, typer.Argument(help="Suite (TOML), or a data set's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results.")] = Path(
        "blemish-bench"
    ),
    data: Annotated[
        Path | None, typer.Option(help="Folder of the suite's data sets.  [default: $BLEMISH_DATA]")
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Score another tool's maps (TIFF), too."),
    ] = None,
    thresholds: Thresholds = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods on data sets: tables, curves, sizes, pictures; resumable."""
    from blemish.bench.page import write_page
    from blemish.bench.run import RESULTS, run_suite
    from blemish.bench.suite import read_suite
    from blemish.bench.tables import markdown, problems
    from blemish.images import write_whole

    read = read_suite(suite, data=data, maps=maps or [], n_thresholds=thresholds)
    rows = run_suite(read, output, track=bars(quiet))
    words = ["blemish", "bench", str(suite), *[f"--maps={one}" for one in maps or []]]
    foot = f"Made by `{shlex.join(words + coarse(thresholds))}`, blemish {blemish.__version__}."
    table = markdown(read.name, rows, foot)
    write_whole(output / "table.md", table.encode())
    page = write_page(read, rows, output, foot)
    if as_json:
        print((output / RESULTS).read_text(encoding="utf-8"), end="")
    elif not quiet:
        print(f"{table}\nReport: {page}")
    if failed := problems(rows):
        note(quiet)(f"{len(failed)} of {len(rows)} were not measured; the tables say why.")
        raise typer.Exit(INCOMPLETE)


app.command()(synth)
app.command()(export)
app.command()(verify)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything.")] = Path(
        "blemish-demo"
    ),
    scans: Annotated[
        bool, typer.Option("--scans", help="A part seen by a 3D sensor, too, and method lsfa.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the made-up parts.", min=0)] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a data set of a made-up part, learn from it, inspect it and write a report."""
    from blemish.data.demo import make_demo
    from blemish.data.demo3d import make_demo3d

    steps = bars(quiet)
    method, rate = ("lsfa", "5%") if scans else ("padim", "1%")
    if scans:  # of 100 parts a fifth can be spared: one training, and no other to calibrate it
        make_demo3d(output / "data", seed=seed, train_good=100, categories=["lid"], track=steps)
    else:
        make_demo(output / "data", seed=seed, track=steps)
    data, part = output / "data" / ("lid" * scans), output / "part.blemish"
    words = f"--method {method} --false-alarms {rate} " * scans
    note(quiet)(f"1/3  blemish fit {data} {words}-o {part}")
    fit(data, part, method=method, false_alarms=rate, quiet=quiet)
    note(quiet)(f"2/3  blemish inspect {part} {data / 'test'} -o {output / 'inspected'}")
    inspect(part, [data / "test"], output / "inspected", quiet=True)
    note(quiet)(f"3/3  blemish evaluate {part} {data} -o {output / 'report'}")
    evaluate(part, data, output / "report", quiet=quiet)


def main() -> None:
    """Runs the command line; every refusal is one sentence, never a traceback."""
    if hasattr(signal, "SIGPIPE"):  # `| head`: end like other tools, not with exit code 1
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name may hold what a terminal cannot say
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="blemish")
    except BlemishError as error:
        print(f"blemish: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns Ctrl-C into exit 130, silently
        if isinstance(end, SystemExit) and end.code != STOPPED:
            raise
        print("blemish: stopped. Nothing half-written was left.", file=sys.stderr)
        sys.exit(STOPPED)
