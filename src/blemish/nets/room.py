"""The weights room: a folder of safetensors files, each with its own sha256 in its name.

A file is whole or not there, and needs no index: NAME-SHA256.safetensors says which entry of the
table it is and whether it is as it was written; its header says what it was made from.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.cache import weights_folder
from blemish.errors import WeightsError
from blemish.nets.pretrained import BACKBONES, PRETRAINED, Pretrained, named
from blemish.nets.weights import copies, file_hash, header, packaged, read_state, whole
from blemish.track import Track, silent

if TYPE_CHECKING:
    from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What verify found. damage: what is wrong with the file, or None."""

    name: str
    path: Path
    damage: str | None


def import_file(path: Path, name: str | None = None) -> tuple[Pretrained, Path]:
    """Takes a .pth or .safetensors file into the room, as tensors only: its entry and its file.

    name: of the entry; None finds it by sha256, by the file's name or by the tensors' shapes.
    Raises WeightsError if it holds anything else, fits no entry or not the one it is said to be,
    ConfigError on an unknown name.
    """
    if not path.is_file():
        raise WeightsError(f"'{path}' must be a file of weights, but is none. Check the path.")
    found = file_hash(path)
    state = read_state(path)
    one = _recognised(path, name, found, {key: tuple(of.shape) for key, of in state.items()})
    published = found == one.sha256
    if not published and name is None and path.name == one.file:
        raise WeightsError(
            f"'{path}' must have sha256 {one.sha256}, as the published {one.file} has, but has"
            f" {found}: it is damaged, or another one of that name. Get it again, or add"
            f" --as {one.name} to take it all the same."
        )
    if one.name in BACKBONES:
        from blemish.nets.frozen import fitting_state  # timm takes seconds to import

        state = fitting_state(one, state)
    return one, _put(one, state, {"file": path.name, "sha256": found, "published": published})


def _recognised(path: Path, name: str | None, sha256: str, shapes: Shapes) -> Pretrained:
    entries = PRETRAINED.values()
    if name is not None:
        chosen = [one for one in named([name]) if one.name == name]
    else:
        chosen = [one for one in entries if sha256 == one.sha256 or path.name == one.file]
    if not chosen:
        chosen = [one for one in entries if unlike(one, shapes) is None]
    if len(chosen) != 1:
        raise WeightsError(
            f"'{path}' must hold weights of the table, but its tensors fit none of it"
            f" ({len(shapes)} tensors). blemish weights list shows the table; for other weights of"
            " one of its networks add --as NAME."
        )
    require_alike(chosen[0], shapes, path)
    return chosen[0]


def require_alike(one: Pretrained, shapes: Shapes, path: Path) -> None:
    """Raises WeightsError unless the shapes are those of this entry."""
    if (why := unlike(one, shapes)) is not None:
        raise WeightsError(
            f"'{path}' must hold the weights of '{one.name}', but {why}. The published file is"
            f" {one.file} from {one.source}."
        )


def unlike(one: Pretrained, shapes: Shapes) -> str | None:
    """In what these tensors are not those of an entry, or None.

    >>> unlike(PRETRAINED["resnet18"], {"conv1.weight": (64, 3, 3, 3)})
    'conv1.weight is 64 x 3 x 3 x 3, not 64 x 3 x 7 x 7'
    """
    for name, shape in one.shapes.items():
        ends = tuple(f".{end}" for end in name.split("|"))
        found = [of for key, of in shapes.items() if f".{key}".endswith(ends)]
        if shape is None and found:
            return f"it has {name}"
        if shape is not None and not found:
            return f"{name} is not there"
        if shape is not None and shape not in found:
            return f"{name} is {_times(found[0])}, not {_times(shape)}"
    return None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _put(one: Pretrained, state: dict[str, Tensor], made_from: dict[str, Any]) -> Path:
    """Writes the tensors as NAME-SHA256.safetensors; older ones of this entry go."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    told = {"name": one.name, "licence": one.licence, "source": one.source, **made_from}
    # One key, because the order of several is not the same every time.
    note = {"blemish": json.dumps(told, sort_keys=True)}
    with neighbour(weights_folder()) as file:
        try:
            save_file(_apart(state), file, note)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error
        return take_in(one.name, file)


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, which safetensors refuses."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in state.items():
        home = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone().contiguous() if home in seen else tensor.contiguous()
        seen.add(home)
    return apart


def take_in(name: str, file: Path) -> Path:
    """Gives a finished file its place in the room; older ones of the same entry go."""
    target = weights_folder() / f"{name}-{file_hash(file)}.safetensors"
    file.replace(target)
    target.touch()  # the newest of its entry, even if a clock went back
    for older in copies(name):
        if older != target:
            older.unlink(missing_ok=True)
    return target


def where(one: Pretrained) -> Path | None:
    """Its file on this machine, by name alone: in the room or in its package; None if neither."""
    found = next(iter(copies(one.name)), None)
    if found is None and one.package is not None:
        with suppress(WeightsError):
            found = packaged(one)
    return found


def verify(track: Track = silent) -> list[Checked]:
    """Hashes every file of the room, and those in packages, again; what is wrong with each."""
    files = sorted(weights_folder().glob("*.safetensors"))
    checked = [_check(path) for path in track(files, "Checking", len(files))]
    for one in PRETRAINED.values():
        if one.package is not None:
            with suppress(WeightsError):
                checked.append(Checked(name=one.name, path=packaged(one), damage=None))
    return checked


def _check(path: Path) -> Checked:
    name = path.stem.rpartition("-")[0]
    if name not in PRETRAINED:
        return Checked(name=name, path=path, damage="it is of no entry of the table")
    if not whole(path):
        return Checked(name=name, path=path, damage="its sha256 is not the one in its name")
    try:
        return Checked(name=name, path=path, damage=unlike(PRETRAINED[name], shapes_of(path)))
    except WeightsError:
        return Checked(name=name, path=path, damage="it is no safetensors file")


def shapes_of(path: Path) -> Shapes:
    """Name → shape of each tensor of a safetensors file. Raises WeightsError."""
    told = {name: of for name, of in header(path).items() if name != "__metadata__"}
    try:
        return {name: tuple(map(int, of["shape"])) for name, of in told.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"'{path}' must name tensors with their shapes, but lacks or misstates {error}."
            " Fetch or import it again."
        ) from error


@contextmanager
def neighbour(folder: Path) -> Iterator[Path]:
    """A file beside its later place: to be written, then moved; gone if anything goes wrong.

    Raises WeightsError if the folder cannot be written.
    """
    file = folder / f".{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield file
    except OSError as error:
        raise WeightsError(
            f"'{folder}' must be writable, but the system says: {error.strerror or error}. Nothing"
            " that was there is lost; free some space, or choose another place."
        ) from error
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
