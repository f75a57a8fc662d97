"""The options that say where 3D data and further photographs lie, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer

from blemish.data.partners import require_others
from blemish.errors import ConfigError
from blemish.sensors import Camera, Kind, Sensor

Points = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Where each photograph's points lie: ../xyz/{stem}.tiff."),
]
Depth = Annotated[str | None, typer.Option(metavar="PATTERN", help="Or its depth; needs --focal.")]
Disparity = Annotated[str | None, typer.Option(metavar="PATTERN", help="Or its disparity.")]
Focal = Annotated[
    str | None, typer.Option(metavar="FX[,FY]", help="Focal length of the camera, pixels.")
]
Centre = Annotated[
    str | None,
    typer.Option(metavar="CX,CY", help="Where its axis meets the picture.  [default: the middle]"),
]
DepthScale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER", help="One unit of the files: metres (0.001), disparity pixels (1/256)."
    ),
]
Baseline = Annotated[
    str | None, typer.Option(metavar="METRES", help="Between the two cameras of a disparity.")
]
Background = Annotated[
    bool | None,
    typer.Option(
        "--drop-background/--keep-background",
        help="Whether the plane that parts lie on is taken out.  [default: keep]",
    ),
]
Other = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=PATTERN", help="A further photograph of the part; repeatable."),
]


def parse_sensor(
    points: str | None = None,
    depth: str | None = None,
    disparity: str | None = None,
    focal: str | None = None,
    centre: str | None = None,
    scale: str | None = None,
    baseline: str | None = None,
    background: bool | None = None,
) -> Sensor | None:
    """The sensor that options tell; None where none is given. background: whether to drop it.

    Raises ConfigError on what is no number, is out of range or does not go together.

    >>> parse_sensor(depth="../depth/{stem}.png", focal="600", scale="0.001").camera
    Camera(focal=(600.0, 600.0), centre=None)
    """
    patterns: dict[Kind, str | None] = {"points": points, "depth": depth, "disparity": disparity}
    given = [(kind, pattern) for kind, pattern in patterns.items() if pattern is not None]
    how = {
        "--focal": focal,
        "--centre": centre,
        "--depth-scale": scale,
        "--baseline": baseline,
        "--drop-background": background,
    }
    told = [name for name, value in how.items() if value is not None]
    if not given and not told:
        return None
    if len(given) != 1:
        raise ConfigError(
            f"{', '.join(told) or '3D data'} must come with one of --points, --depth and"
            f" --disparity, but {len(given) or 'none'} of them {'are' if given else 'is'} given."
            " Give one, for example --points '../xyz/{stem}.*', where MVTec 3D-AD has them."
        )
    if centre is not None and focal is None:
        raise ConfigError(
            f"--centre must come with --focal FX[,FY], but is '{centre}' alone. Give both from the"
            " camera's calibration."
        )
    kind, pattern = given[0]
    camera = None if focal is None else _camera(focal, centre)
    return Sensor(
        kind=kind,
        pattern=pattern,
        camera=camera,
        scale=1.0 if scale is None else _numbers("--depth-scale", scale, (1,))[0],
        baseline=None if baseline is None else _numbers("--baseline", baseline, (1,))[0],
        background=bool(background),
    )


def _camera(focal: str, centre: str | None) -> Camera:
    lengths = _numbers("--focal", focal, (1, 2))
    middle = [] if centre is None else _numbers("--centre", centre, (2,))
    return Camera(
        focal=(lengths[0], lengths[-1]), centre=(middle[0], middle[1]) if middle else None
    )


def parse_others(words: Sequence[str]) -> dict[str, str]:
    """NAME=PATTERN words → name → pattern, in their order. Raises ConfigError.

    >>> parse_others(["infrared=../ir/{stem}.png"])
    {'infrared': '../ir/{stem}.png'}
    """
    others: dict[str, str] = {}
    for word in words:
        name, equals, pattern = word.partition("=")
        if not equals or name in others:
            raise ConfigError(
                f"--other must be NAME=PATTERN with a name of its own, but is '{word}'. Write, for"
                " example, --other 'infrared=../ir/{stem}.png'."
            )
        others[name] = pattern
    require_others(others)
    return others


def _numbers(option: str, text: str, counts: tuple[int, ...]) -> list[float]:
    """Numbers apart by commas; 1/256 is one, too."""
    try:
        numbers = [_number(word) for word in text.split(",")]
    except (ValueError, ZeroDivisionError):
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        wanted = " or ".join(str(count) for count in counts)
        raise ConfigError(
            f"{option} must be {wanted} finite number{'s' * (counts[-1] > 1)}, apart by a comma,"
            f" but is '{text}'. Take it from the camera's calibration."
        )
    return numbers


def _number(word: str) -> float:
    above, _, below = word.partition("/")
    return float(above) / float(below or 1)
