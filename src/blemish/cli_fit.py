"""The verb fit: its options, read and handed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from blemish.cli_parts import (
    Json,
    Layout,
    MmPerPixel,
    Quiet,
    Runtime,
    Seed,
    bars,
    note,
    parse_rate,
    parse_settings,
    summary,
)
from blemish.cli_sensors import (
    Background,
    Baseline,
    Centre,
    Depth,
    DepthScale,
    Disparity,
    Focal,
    Other,
    Points,
    parse_others,
    parse_sensor,
)
from blemish.errors import needs_extra


def fit(
    data: Annotated[Path, typer.Argument(help="Folder of good photographs, or MVTec layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the model goes.")] = Path(
        "part.blemish"
    ),
    layout: Layout = "auto",
    method: Annotated[
        str, typer.Option(help="padim, patchcore, fbft, fractalad, stlm or lsfa.")
    ] = "padim",
    preset: Annotated[str, typer.Option(help="embedded or paper.")] = "embedded",
    size: Annotated[int | None, typer.Option(help="Side of the model's input, pixels.")] = None,
    pad: Annotated[
        bool, typer.Option("--pad", help="Repeat the edge to a square: keeps the aspect ratio.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Look at windows of this side, pixels of the photograph."),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="PX", help="That neighbouring windows share at least.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting.")
    ] = None,
    false_alarms: Annotated[
        str, typer.Option(help="Share of good parts that may be called defective.")
    ] = "1%",
    seed: Seed = 0,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Also say how made-up defects are found.")
    ] = False,
    commercial: Annotated[
        bool,
        typer.Option("--commercial", help="Refuse weights not cleared for commercial use."),
    ] = False,
    roi: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is inspected: polygons (JSON) or a mask."),
    ] = None,
    ignore: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is not: polygons (JSON) or a mask.")
    ] = None,
    mm_per_pixel: MmPerPixel = None,
    runtime: Runtime = "onnxruntime",
    points: Points = None,
    depth: Depth = None,
    disparity: Disparity = None,
    focal: Focal = None,
    centre: Centre = None,
    depth_scale: DepthScale = None,
    baseline: Baseline = None,
    drop_background: Background = None,
    other: Other = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn from good photographs, or photographs with 3D data (lsfa), and write a model."""
    sensor = parse_sensor(
        points, depth, disparity, focal, centre, depth_scale, baseline, drop_background
    )
    told = {"size": size, "pad": pad or None, "tile": tile, "overlap": overlap}
    settings = parse_settings(set_ or [])
    settings |= {name: value for name, value in told.items() if value is not None}
    with needs_extra("fitting", "train"):
        from blemish.fitting import fit_folder, writable  # torch takes seconds to import
    from blemish.area import read_area
    from blemish.report.text import rehearsal_table

    writable(output)
    inspector = fit_folder(
        data,
        layout=layout,
        method=method,
        preset=preset,
        settings=settings,
        false_alarms=parse_rate(false_alarms),
        seed=seed,
        rehearse=rehearse,
        commercial=commercial,
        sensor=sensor,
        others=parse_others(other or []),
        area=read_area(roi, ignore),
        mm_per_pixel=mm_per_pixel,
        runtime=runtime,
        track=bars(quiet),
        warn=note(quiet),
    )
    inspector.save(output)
    if as_json:
        print(json.dumps(summary(output, inspector.artifact)))
    elif not quiet:
        used, sight = inspector.artifact.about["data"]["used"], inspector.artifact.sight
        seen = "images" if sight is None else f"parts ({', '.join(sight.modalities)})"
        print(f"Learnt from {used} good {seen}. {inspector.artifact.calibration.note()}")
        if rehearse:
            print(rehearsal_table(inspector.artifact.about["rehearsal"]))
        print(f"Wrote {output} ({output.stat().st_size / 1e6:.0f} MB).")
