"""What a program without blemish must know to use a model's graph: as JSON, and as words in it.

Everything that surrounds the graph is told: how an image enters, how the map comes back, and how
its score becomes a verdict and a p-value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import numpy as np

from blemish.artifact import Artifact
from blemish.bands import LARGEST
from blemish.errors import ConfigError
from blemish.frame import Frame
from blemish.records import Mask
from blemish.tiles import Tiles

NAME, INSPECTED = "description.json", "inspected.png"
FORMAT = 1
# of a frame
TOLD = ("size", "fit", "interpolation", "boxes", "top", "white", "tiles", "area", "bands")
IMAGE, MAP = "image", "map"  # what the graph's input and output are called in exported files
_WAYS = {
    "area": "each side by itself. A side that shrinks: every new pixel is the mean of the part of"
    " the image that it covers (OpenCV's INTER_AREA). Then a side that grows: cubic convolution"
    " with a = -0.75 (OpenCV's INTER_CUBIC). Whole numbers stay whole, rounded, after each.",
    "bicubic": "Pillow's antialiased BICUBIC; 8-bit pixels stay 8-bit.",
    "bilinear": "Pillow's antialiased BILINEAR; 8-bit pixels stay 8-bit.",
}
_FITS = {
    "stretch": "none: height and width are resized freely.",
    "pad": "to a square as large as the longer side, the image in its middle (rounded up and left),"
    " edge pixels repeated; the map's padding is cut off again before it is scored.",
}


def require_describable(artifact: Artifact) -> None:
    """Raises ConfigError on a model that needs more around its graph than can be told."""
    if artifact.sight is not None:
        raise ConfigError(
            "a model must be of photographs alone to be exported, but this one learnt from"
            f" {', '.join(artifact.sight.modalities)}, and scans are prepared by blemish itself."
            " Use the part.blemish file with blemish's runtime."
        )
    frame = artifact.frame
    untold = [
        one.name
        for one in fields(frame)
        if one.name not in TOLD and getattr(frame, one.name) != one.default
    ]
    if untold:
        raise ConfigError(
            f"a model to be exported must rest on nothing but {', '.join(TOLD)} of its frame, but"
            f" this one has {', '.join(untold)}, which exported files do not tell yet. Use the"
            " part.blemish file with blemish's runtime."
        )
    _size(artifact)


def inspected(artifact: Artifact) -> Mask | None:
    """(H, W), which pixels of the photographs are inspected; None: all. Raises ConfigError if there
    is a region, but not one size of photographs."""
    size = _size(artifact)
    return None if size is None else artifact.frame.seen(size)


def _size(artifact: Artifact) -> tuple[int, int] | None:
    """Of the photographs of a model with a region; else None."""
    area = artifact.frame.area
    if area is None or area.size is not None:
        return None if area is None else area.size
    data = artifact.about.get("data", {})
    sizes = [data.get(name) for name in ("smallest", "largest")]
    if sizes[0] is None or sizes[0] != sizes[1]:
        raise ConfigError(
            "a model with polygons must have learnt from photographs of one size to be exported,"
            " for exported files hold the region as a mask of that size, but these had"
            f" {' to '.join(map(_told, sizes))}. Fit on photographs of one size, or use the"
            " part.blemish file with blemish's runtime."
        )
    height, width = sizes[0]
    return height, width


def _told(size: list[int] | None) -> str:
    return "unknown sizes" if size is None else f"{size[0]} x {size[1]}"


def describe(artifact: Artifact, grid: Sequence[int]) -> dict[str, Any]:
    """Plain JSON. grid: (h', w') of what the graph gives."""
    frame, calibration = artifact.frame, artifact.calibration
    return {
        "format": FORMAT,
        "made_by": f"blemish {version('blemish')}",
        "model_sha256": hashlib.sha256(artifact.graph).hexdigest(),
        "method": artifact.about.get("method"),
        "precision": "int8 and float32" if "int8" in artifact.about else "float32",
        "input": {
            "name": IMAGE,
            "shape": [1, 3 if frame.bands is None else len(frame.bands.middle), *frame.size],
            "type": "float32",
            "order": "batch, channel, row, column",
            **_values(frame),
            "normalisation": "none: it is inside the graph",
        },
        "inspected": _inspected(artifact),
        "resize": {
            "size": list(frame.size),
            "interpolation": frame.interpolation,
            "rule": _WAYS[frame.interpolation],
            "fit": frame.fit,
            "padding": _FITS[frame.fit],
        },
        "tiles": _tiles(frame.tiles),
        "output": {"name": MAP, "shape": list(grid), "type": "float32", "higher": "odder"},
        "map": {
            "rule": "enlarge the output to the image's own size, bilinear, centres of pixels on"
            " centres (OpenCV's INTER_LINEAR); then blur with boxes, zeros outside.",
            "boxes": [{"width_px": width, "passes": passes} for width, passes in frame.boxes],
        },
        "score": {
            "top": frame.top,
            "rule": "the map's highest pixel if top is 0; else the mean of that share of its pixels"
            " that is highest.",
        },
        "verdict": {
            "threshold": calibration.threshold,
            "rule": "defect if score > threshold, else good",
            "promise": calibration.note(),
        },
        "p_value": {
            "scores": list(calibration.scores),
            "rule": "(1 + number of these scores that are >= score) / (1 + number of scores)",
        },
        "outline": {
            "level": calibration.extent,
            "peak": calibration.seed,
            "rule": "of a defect: 8-connected pixels above level (or above peak, if that is lower),"
            " around each group's highest pixel if it is above peak; a group's outline is where"
            " the map is at least half-way from level to its highest pixel.",
        },
        "weights": artifact.about.get("weights", []),
    }


def _values(frame: Frame) -> dict[str, Any]:
    """What pixels may be, and what becomes of them."""
    if frame.bands is None:
        return {
            "channels": [1, 3],
            "types": ["uint8", "uint16"],
            "colours": "red, green, blue; a grey image fills all three alike",
            "values": "pixel / white, at most 1",
            "white": {"8 bit": 255, "16 bit": frame.white},
        }
    kind = frame.bands.kind
    largest = LARGEST if kind == "float32" else float(np.iinfo(kind).max)
    return {
        "channels": [len(frame.bands.middle)],
        "types": [kind],
        "colours": "the channels in the order of the good images; of three red, green, blue",
        "values": "the image's own numbers, as floats: levels and bands are inside the graph; none"
        " of the inspected ones may be NaN or outside the range",
        "range": [-largest if kind == "float32" else 0.0, largest],
        "white": None,
    }


def _inspected(artifact: Artifact) -> dict[str, Any] | None:
    seen, frame = inspected(artifact), artifact.frame
    if seen is None:
        return None
    kinds = _values(frame)["types"]
    edges = np.flatnonzero(np.diff(seen.ravel(), prepend=False))
    runs = np.diff(edges, prepend=0, append=seen.size)
    return {
        "rule": "images have this size. Before anything else, what is not inspected becomes blank,"
        " a number for all channels or one for each. Of the blurred map the inspected pixels alone"
        " count: for the score, and for outlines. Of the file's pixels those not black are"
        " inspected. runs tells the same, row by row: how many are not, how many then are, and so"
        " on.",
        "size": list(seen.shape),
        "file": INSPECTED,
        "blank": {kind: frame.blank(np.dtype(kind)).tolist() for kind in kinds},
        "runs": " ".join(map(str, runs.tolist())),
    }


def _tiles(tiles: Tiles | None) -> dict[str, Any] | None:
    if tiles is None:
        return None
    return {
        "side_px": tiles.side,
        "overlap_px": tiles.overlap,
        "rule": "the image is cut into square windows of side_px, as few as share at least"
        " overlap_px and cover it, evenly spread; an image smaller than a window lies in the middle"
        " of one, its edge repeated. Each window is resized and enlarged as if it were the image."
        " Of what two windows share the outer thirds are each one's alone; over the middle third"
        " one fades into the other by squares of cosine and sine. Windows in which nothing is"
        " inspected are left out, and count as 0.",
    }


def words(told: dict[str, Any]) -> dict[str, str]:
    """The numbers of a description as plain words, which the graph itself carries: for programs in
    C, without a JSON reader."""
    boxes = [f"{one['width_px']} {one['passes']}" for one in told["map"]["boxes"]]
    white, part = told["input"]["white"] or {}, told["inspected"] or {"blank": {}, "size": []}
    return {
        "blemish.channels": " ".join(map(str, told["input"]["channels"])),
        "blemish.types": " ".join(told["input"]["types"]),
        "blemish.size": " ".join(map(str, told["resize"]["size"])),
        "blemish.interpolation": told["resize"]["interpolation"],
        "blemish.fit": told["resize"]["fit"],
        "blemish.tiles": "{side_px} {overlap_px}".format(**told["tiles"]) if told["tiles"] else "",
        "blemish.white": " ".join(map(str, white.values())),
        "blemish.inspected": " ".join(map(str, part["size"])),
        "blemish.blank": " ".join(str(one) for kind in part["blank"].values() for one in kind),
        "blemish.runs": part.get("runs", ""),
        "blemish.boxes": " ".join(boxes),
        "blemish.top": repr(told["score"]["top"]),
        "blemish.threshold": repr(told["verdict"]["threshold"]),
        "blemish.outline": f"{told['outline']['level']!r} {told['outline']['peak']!r}",
        "blemish.scores": " ".join(map(repr, told["p_value"]["scores"])),
    }
