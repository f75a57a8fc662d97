"""What the verbs of the command line share: exit codes, options, progress, words read and said."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from blemish.errors import ConfigError
from blemish.track import Track, silent

FOUND, FAILED, INCOMPLETE, STOPPED = 1, 3, 4, 130
T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars, notes or summary.")]
Layout = Annotated[str, typer.Option(help="auto, or a name from docs/data.md.")]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]
MmPerPixel = Annotated[
    float | None, typer.Option(metavar="X", help="Side of a pixel; sizes are told in mm, too.")
]
Part = Annotated[Path, typer.Argument(help="A file written by blemish fit.", show_default=False)]
Runtime = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="onnxruntime, openvino, or with a device onnxruntime:cuda, :tensorrt or :directml,"
        " openvino:gpu or :npu. auto: $BLEMISH_RUNTIME, or the soonest done.",
    ),
]
Threads = Annotated[
    int, typer.Option(min=0, metavar="N", help="Of one run on the CPU; 0 takes one a core.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Leave out photograph, points or another; repeatable."),
]


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


def parse_rate(text: str) -> float:
    """'1%' or '0.01' → 0.01. Raises ConfigError."""
    try:
        rate = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1:
        raise ConfigError(
            f"--false-alarms must be a share between 0 and 1 or a percentage like 1%, not '{text}'."
        )
    return rate


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """name=value words → a dict of strings. Raises ConfigError."""
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--set must be followed by name=value, got '{pair}'.")
    return dict(pair.split("=", 1) for pair in pairs)


def coarse(thresholds: int | None) -> list[str]:
    """The option as it was given, for the line that makes a page again."""
    return [] if thresholds is None else ["--thresholds", str(thresholds)]


def summary(path: Path, artifact: Any) -> dict[str, Any]:
    """What `fit --json` and `info --json` print: the manifest and what follows from it."""
    from dataclasses import asdict

    calibration, area = artifact.calibration, artifact.frame.area
    return {
        "file": str(path),
        **artifact.about,
        "frame": {**asdict(artifact.frame), "area": area and area.told()},
        "mm_per_pixel": artifact.mm_per_pixel,
        "calibration": asdict(calibration),
        "threshold": calibration.threshold,
        "promised_false_alarm_rate": calibration.promised,
        "promise": calibration.note(),
        **artifact.several(),
    }


def row(outcome: Any) -> str:
    """One line of inspect's table."""
    if outcome.prediction is None:
        return f"error    {outcome.error}"
    from blemish.regions import sizes  # OpenCV would slow down every other verb

    p, where = outcome.prediction, ""
    if p.regions:
        largest = max(p.regions, key=lambda one: one.area_px)
        count = f"{len(p.regions)} region" + "s" * (len(p.regions) > 1)
        where = f"{count}, largest {sizes(largest)}"
    less = f"without {', '.join(p.missing)}" if p.missing else ""
    told = "  ".join(one for one in (where, less) if one)
    return f"{p.verdict:<7}  {p.score:9.4g}  p {p.p_value:6.4f}  {outcome.file}  {told}".rstrip()
