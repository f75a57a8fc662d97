"""A fitted model → a folder for a program without blemish: the graph and what to know of it.

The folder is made beside its place, read again and run against the model's own graph, and only then
put there; a folder that was exported before is replaced, any other is left alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from blemish.agreement import given, pictures, require_same
from blemish.artifact import Artifact
from blemish.description import (
    IMAGE,
    INSPECTED,
    MAP,
    NAME,
    describe,
    inspected,
    require_describable,
    words,
)
from blemish.engines import Array, open_engine, tolerance
from blemish.errors import ConfigError, DataError, needs_extra
from blemish.images import write_png
from blemish.level_nodes import with_bands
from blemish.surgery import fixed, pieces, renamed
from blemish.tensorrt import require_ready

GRAPH, XML, BIN = "graph.onnx", "graph.xml", "graph.bin"
KINDS = ("onnx", "openvino", "tensorrt-ready", "blemish")


def write_folder(artifact: Artifact, kind: str, output: Path) -> dict[str, Any]:
    """Writes the model as "onnx", "openvino" or "tensorrt-ready"; gives its description.

    Raises ConfigError on a model that cannot be exported, ExportError if the written files do not
    give what the model's own graph gives, DataError if the folder cannot be written.
    """
    require_describable(artifact)
    write = {"onnx": _onnx, "openvino": _openvino, "tensorrt-ready": _tensorrt}[kind]
    model = plain(artifact)
    grid = [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim]
    told = describe(artifact, grid)
    with _whole(output) as folder:
        run = write(model, told, folder)
        if (seen := inspected(artifact)) is not None:
            write_png(folder / INSPECTED, seen.astype(np.uint8) * 255)
        told["files"] = {
            file.name: {
                "bytes": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in sorted(folder.iterdir())
        }
        text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")
        _require_same(artifact, run, kind)
    return told


def plain(artifact: Artifact) -> ModelProto:
    """The model's graph with fixed sizes, from "image" to "map", bands inside."""
    frame = artifact.frame
    _, image, _, outputs = pieces(artifact.graph)
    model = fixed(artifact.graph, {image: (1, frame.planes, *frame.size)})
    model = renamed(model, {image: IMAGE, outputs[0]: MAP})
    return model if frame.bands is None else with_bands(model, frame.bands, IMAGE)


def _onnx(model: ModelProto, told: dict[str, Any], folder: Path) -> Callable[[Array], Array]:
    onnx.helper.set_model_props(model, words(told))
    (folder / GRAPH).write_bytes(model.SerializeToString())
    engine = open_engine((folder / GRAPH).read_bytes(), "onnxruntime")
    return lambda image: engine.run({IMAGE: image})[0]


def _tensorrt(model: ModelProto, told: dict[str, Any], folder: Path) -> Callable[[Array], Array]:
    run = _onnx(model, told, folder)
    require_ready(onnx.load(folder / GRAPH))
    return run


def _openvino(model: ModelProto, told: dict[str, Any], folder: Path) -> Callable[[Array], Array]:
    with needs_extra("exporting for OpenVINO", "openvino"):
        import openvino
    core = openvino.Core()
    converted = core.read_model(model.SerializeToString(), b"")
    for name, word in words(told).items():
        converted.set_rt_info(word, name.split("."))
    openvino.save_model(converted, str(folder / XML), compress_to_fp16=False)
    compiled = core.compile_model(
        core.read_model(str(folder / XML)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda image: np.array(compiled({IMAGE: image})[0])


def _require_same(artifact: Artifact, run: Callable[[Array], Array], kind: str) -> None:
    own, frame = open_engine(artifact.graph, "onnxruntime"), replace(artifact.frame, area=None)
    for picture in pictures(frame):
        expected = own.run({own.inputs[0].name: frame.to_model(picture)})[0]
        actual = run(given(frame, picture))
        require_same(expected, actual, tolerance(artifact.graph), f"the {kind} files")


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `output` at the end, or is gone."""
    require_free(output)
    made = output.with_name(f".{secrets.token_hex(8)}.part")
    try:
        made.mkdir(parents=True)
        yield made
        if output.is_dir():
            old = output.with_name(f".{secrets.token_hex(8)}.old")
            output.replace(old)
            made.replace(output)
            shutil.rmtree(old)
        else:
            made.replace(output)
    except OSError as error:
        raise DataError(
            f"'{output}' must be writable, but the system says: {error.strerror or error}."
            " Choose another place, or free some space."
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def require_free(output: Path) -> None:
    """Raises DataError unless a folder can be put there: nothing, or one exported before."""
    if output.exists() and not (output / NAME).is_file() and not _empty(output):
        raise DataError(
            f"'{output}' must be free, or a folder that blemish export wrote, but holds something"
            " else. Name another folder with -o."
        )


def _empty(output: Path) -> bool:
    return output.is_dir() and not any(output.iterdir())


def default_output(part: Path, kind: str) -> Path:
    """Where an export goes unless told: beside the model. Raises ConfigError on an unknown kind."""
    if kind not in KINDS:
        raise ConfigError(f"--to must be one of {', '.join(KINDS)}, but is '{kind}'.")
    return part.with_name(
        f"{part.stem}-int8.blemish" if kind == "blemish" else f"{part.stem}-{kind}"
    )
