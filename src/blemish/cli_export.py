"""The verbs export and verify: a model for programs without blemish, and proof that all agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from blemish.artifact import open_artifact
from blemish.cli_parts import FOUND, Json, Layout, Part, Quiet, bars, note
from blemish.errors import ConfigError, needs_extra


def export(
    part: Part,
    to: Annotated[
        str, typer.Option("--to", help="onnx, openvino, tensorrt-ready, or (--int8) blemish.")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder, or file for blemish.  [default: beside PART]"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Put the backbone into eight bits; needs --data.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the good parts that the model learnt from.")
    ] = None,
    layout: Layout = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the model for programs without blemish; optionally in eight bits."""
    with needs_extra("exporting", "export"):
        from blemish.export_files import default_output, write_folder

    target = output or default_output(part, to)
    default_output(part, to)
    artifact = open_artifact(part)
    _require_together(to, int8, data)
    said = {}
    if data is not None:
        with needs_extra("exporting", "export"):
            from blemish.int8 import in_eight_bits

        artifact, agreement = in_eight_bits(
            artifact,
            data,
            layout=layout,
            symmetric=to == "tensorrt-ready",
            track=bars(quiet),
            warn=note(quiet),
        )
        said = artifact.about["int8"]
        note(quiet or as_json)(f"In eight bits: {agreement}.")
    if to == "blemish":
        artifact.save(target)
    else:
        write_folder(artifact, to, target)
    if as_json:
        print(json.dumps({"to": to, "output": str(target), "int8": said or None}))
    elif not quiet:
        print(f"Wrote {target}.")


def _require_together(to: str, int8: bool, data: Path | None) -> None:
    if int8 != (data is not None):
        raise ConfigError(
            "--int8 must come with --data, the folder of the good parts that the model learnt from,"
            " and --data with --int8. Give both or none."
        )
    if to == "blemish" and not int8:
        raise ConfigError("--to blemish must come with --int8: the file is one already.")


def verify(
    part: Part,
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Images or folders.  [default: made-up ones]", show_default=False),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare all installed runtimes on the same images; exit code 1 if they do not agree."""
    from blemish.data import list_images
    from blemish.verify import table
    from blemish.verify import verify as compared

    paths = [path for given in images or [] for path in list_images(given)]
    rows = compared(open_artifact(part), paths, bars(quiet))
    if as_json:
        print(json.dumps([row.to_json() for row in rows]))
    elif not quiet:
        print(table(rows))
    if not all(row.agrees for row in rows):
        raise typer.Exit(FOUND)
