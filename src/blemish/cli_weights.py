"""blemish weights: pretrained files, online and offline, with their licences."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from blemish.cli_parts import FOUND, Json, Quiet, bars, note
from blemish.errors import needs_extra

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fetch, import, check and pack the pretrained weights that presets need.",
)

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="WEIGHTS...", help="Names, or presets like fbft/paper.", show_default=False
    ),
]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Say what there is: size, licence, commercial use, which presets need it, whether it is here.

    Nothing is downloaded.
    """
    from blemish.nets.pretrained import PRETRAINED
    from blemish.nets.room import where

    rows = [(one, where(one)) for one in PRETRAINED.values()]
    if as_json:
        print(json.dumps([{**asdict(one), "file_here": path and str(path)} for one, path in rows]))
    else:
        print("\n".join(line for one, path in rows for line in told(one, path)))


@app.command()
def fetch(words: Words, as_json: Json = False, quiet: Quiet = False) -> None:
    """Download weights, go on where an earlier attempt ended, check and keep them."""
    from blemish.nets.fetch import fetch as fetch_one
    from blemish.nets.pretrained import named
    from blemish.nets.room import where

    files = {}
    for one in named(words):
        here = where(one)
        if here is None:
            note(quiet)(f"{one.name}: {one.licence}, {clearance(one)}; from {one.url}")
        files[one.name] = here or fetch_one(one, bars(quiet))
    say(files, as_json, quiet)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .pth, .safetensors or bundle.")],
    as_: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Which weights these are.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take in weights from a file: tensors only, never code."""
    from blemish.nets.bundle import import_bundle, is_bundle
    from blemish.nets.room import import_file
    from blemish.nets.weights import carried

    if as_ is None and is_bundle(file):
        taken = import_bundle(file, bars(quiet))
    else:
        with needs_extra("taking weights in", "train"):
            taken = [import_file(file, as_)]
    for one, path in taken:
        if carried(one.name, path)["sha256"] != one.sha256:
            note(quiet)(f"{one.name}: not the published {one.file}, so its licence is unknown.")
    say({one.name: path for one, path in taken}, as_json, quiet)


@app.command(epilog="Exit codes: 0 all are whole; 1 some are damaged.")
def verify(as_json: Json = False, quiet: Quiet = False) -> None:
    """Hash all weights again and say which are damaged."""
    from blemish.nets.room import verify as verify_all

    checked = verify_all(bars(quiet))
    if as_json:
        print(json.dumps([{**asdict(one), "path": str(one.path)} for one in checked]))
    else:
        for one in checked:
            if one.damage or not quiet:
                print(f"{one.path}: {one.damage or 'whole'}")
    damaged = [one for one in checked if one.damage]
    if damaged:
        note(quiet)(
            f"{len(damaged)} of {len(checked)} must go: delete them, then fetch or import again."
        )
        raise typer.Exit(FOUND)


@app.command()
def bundle(
    words: Words,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the bundle goes.")] = Path(
        "weights.bundle"
    ),
    quiet: Quiet = False,
) -> None:
    """Pack weights into one file, for blemish weights import on a machine without internet."""
    from blemish.nets.bundle import bundle as pack

    with needs_extra("taking weights in", "train"):
        packed = pack(words, output, bars(quiet))
    if not quiet:
        names = ", ".join(one.name for one in packed)
        print(f"Wrote {output} ({size(output.stat().st_size)}): {names}.")
        print(f"On the other machine: blemish weights import {output.name}")


def say(files: dict[str, Path], as_json: bool, quiet: bool) -> None:
    """Prints where weights are now."""
    if as_json:
        print(json.dumps({name: str(path) for name, path in files.items()}))
    elif not quiet:
        for name, path in files.items():
            print(f"{name}: {path}")


def told(one: Any, path: Path | None) -> list[str]:
    """An entry of the table for people."""
    return [
        f"{one.name}: {size(one.size)}, {one.licence}, {clearance(one)},"
        f" {'here' if path else 'not here'}",
        f"    for {', '.join(one.presets)}; from {one.source}",
        f"    because {one.why}; learnt from {one.data}",
    ]


def clearance(one: Any) -> str:
    """Whether weights are cleared for commercial use, in words."""
    return f"{'cleared' if one.commercial else 'not cleared'} for commercial use"


def size(count: int | None) -> str:
    """Bytes for people."""
    return "size unknown" if count is None else f"{count / 1e6:,.0f} MB"
