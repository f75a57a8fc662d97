"""blemish synth: a data set with made-up defects from good photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from blemish.cli_parts import INCOMPLETE, Json, Layout, Quiet, Seed, bars, note
from blemish.errors import ConfigError


def synth(
    good: Annotated[Path, typer.Argument(help="Folder of good photographs, or a data set.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder of the data set.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Of defect; may be repeated.  [default: scratch to transplant; all with points]",
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Defects of each kind.", min=1)] = 10,
    seed: Seed = 0,
    layout: Layout = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KIND.NAME=VALUE", help="Change a setting: docs/synth.md."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make defects on good photographs: a data set with masks to try models on."""
    from blemish.data import open_data
    from blemish.synth import FLAT, MAKERS
    from blemish.synth.dataset import SHEET, write_dataset

    data = open_data(good, layout)
    solid = all(one.points or one.depth for one in data.train)
    kinds = kind or (MAKERS if solid else FLAT)
    made = write_dataset(
        data,
        output,
        settings=chosen(kinds, set_ or []),
        count=count,
        seed=seed,
        track=bars(quiet),
    )
    for sentence in made.left_out:
        note(quiet)(sentence)
    if as_json:
        told = {"folder": str(output), "layout": made.layout, "train": made.train}
        told |= {"test": {"good": made.test, **made.counts}, "left_out": made.left_out}
        print(json.dumps(told))
    elif not quiet:
        counts = ", ".join(f"{name} {number}" for name, number in made.counts.items())
        print(f"Good parts to learn from: {made.train}, to test: {made.test}. Defects: {counts}.")
        print(f"Wrote {output}; a look at it: {output / SHEET}")
    if made.left_out:
        raise typer.Exit(INCOMPLETE)


def chosen(kinds: Any, words: list[str]) -> dict[str, Any]:
    """kind → its parameters, changed by words like scratch.width=0.01. Raises ConfigError."""
    from blemish.settings import configure
    from blemish.synth import settings_of

    settings = {kind: settings_of(kind) for kind in kinds}
    for word in words:
        name, equals, value = word.partition("=")
        kind, dot, setting = name.partition(".")
        if not equals or not dot or kind not in settings:
            raise ConfigError(
                f"--set must be followed by kind.name=value, its kind one of {', '.join(settings)},"
                f" but is '{word}'. The names are in docs/synth.md."
            )
        settings[kind] = configure(settings[kind], {setting: value})
    return settings
