"""What presets need in one file, for a machine without internet.

A zip of stored members: weights.json, which names the others with their sizes and sha256, and
files of the weights room as they are. Nothing of it is used before all of it is checked.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from blemish.cache import weights_folder
from blemish.errors import WeightsError
from blemish.nets.pretrained import PRETRAINED, Pretrained, named
from blemish.nets.room import import_file, neighbour, require_alike, shapes_of, take_in
from blemish.nets.weights import copies, find_weights
from blemish.track import Track, silent

FORMAT = 1
CONTENTS = "weights.json"
LONGEST_CONTENTS = 2**20  # bytes
EPOCH = (1980, 1, 1, 0, 0, 0)  # equal weights give equal bundles
PIECE = 2**20  # bytes, one step of a progress bar


def bundle(words: Sequence[str], output: Path, track: Track = silent) -> list[Pretrained]:
    """Packs weights, by their names or by presets, into one file; what was packed.

    Raises ConfigError on an unknown word, WeightsError if one is not here or cannot be written.
    """
    entries = named(words)
    files = [_in_the_room(one) for one in entries]
    if output.is_dir():
        raise WeightsError(
            f"'{output}' must be a file name for the bundle, but is a folder."
            f" Name a file in it: {output / 'weights.bundle'}"
        )
    pairs = zip(entries, files, strict=True)
    members = [{"name": one.name, **_facts(path)} for one, path in pairs]
    contents = {"format": FORMAT, "for": list(words), "weights": members}
    total = sum(-(-path.stat().st_size // PIECE) for path in files)
    with neighbour(output.parent) as file:
        for _ in track(_pack(file, contents, files), "Packing", total):
            pass
        file.replace(output)
    return entries


def _in_the_room(one: Pretrained) -> Path:
    path = find_weights(one.name, None)
    return path if path in copies(one.name) else import_file(path, one.name)[1]


def _facts(path: Path) -> dict[str, Any]:
    return {"sha256": path.stem.rpartition("-")[2], "bytes": path.stat().st_size}


def _pack(file: Path, contents: dict[str, Any], files: list[Path]) -> Iterator[int]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(CONTENTS, EPOCH), json.dumps(contents, indent=1))
        for path in files:
            info = zipfile.ZipInfo(path.name, EPOCH)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                while block := source.read(PIECE):
                    member.write(block)
                    yield len(block)


def is_bundle(path: Path) -> bool:
    """Whether a file is a bundle; .pth files are zips, too, but without a table of contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            return CONTENTS in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def import_bundle(path: Path, track: Track = silent) -> list[tuple[Pretrained, Path]]:
    """Takes all of a bundle into the weights room, or nothing: its entries and their files.

    Raises WeightsError if anything of it is not what it must be.
    """
    try:
        with zipfile.ZipFile(path) as archive, ExitStack() as stack:
            members = _contents(archive, path)
            written = []
            for one, info, sha256 in members:
                file = stack.enter_context(neighbour(weights_folder()))
                steps = _unpack(archive, info, file, sha256, path)
                for _ in track(steps, f"Taking in {one.name}", -(-info.file_size // PIECE)):
                    pass
                require_alike(one, shapes_of(file), path)
                written.append((one, file))
            return [(one, take_in(one.name, file)) for one, file in written]
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, RuntimeError) as error:
        raise _damaged(path, f"{error}") from error


def _contents(
    archive: zipfile.ZipFile, path: Path
) -> list[tuple[Pretrained, zipfile.ZipInfo, str]]:
    """Entry, member and sha256 of all weights in it; the members' names follow from the rest, so
    that none can lead out of the room."""
    told = _json(archive, path)
    if told.get("format") != FORMAT:
        raise WeightsError(
            f"'{path}' must have format {FORMAT}, the one this blemish reads, but has"
            f" {told.get('format')!r}. Install the blemish that wrote it."
        )
    listed = told.get("weights")
    rows = listed if isinstance(listed, list) else []
    infos = {info.filename: info for info in archive.infolist()}
    found = []
    for row in rows:
        name, sha256 = (str(row.get(key)) for key in ("name", "sha256"))
        if name not in PRETRAINED:
            raise _damaged(path, f"it names '{name}', which is not in this blemish's table")
        info = infos.pop(f"{name}-{sha256}.safetensors", None)
        if info is None or info.file_size != row.get("bytes"):
            raise _damaged(path, f"'{name}' is not in it as its {CONTENTS} says")
        if info.compress_type != zipfile.ZIP_STORED:
            raise _damaged(path, f"'{name}' must be stored as it is, but is compressed")
        found.append((PRETRAINED[name], info, sha256))
    if not found or infos.keys() != {CONTENTS} or len(archive.infolist()) != len(found) + 1:
        raise _damaged(path, f"it must hold {CONTENTS} and what that names, and nothing else")
    return found


def _json(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    info = archive.getinfo(CONTENTS)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > LONGEST_CONTENTS:
        raise _damaged(path, f"its {CONTENTS} must be stored in at most {LONGEST_CONTENTS:,} bytes")
    try:
        told = json.loads(archive.read(info))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its {CONTENTS} is not JSON ({error})") from error
    rows = told.get("weights") if isinstance(told, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _damaged(path, f"its {CONTENTS} must be an object that lists weights")
    return dict(told)


def _unpack(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, sha256: str, path: Path
) -> Iterator[int]:
    digest = hashlib.sha256()
    with archive.open(info) as member, file.open("xb") as target:
        yield from _copy(member, target, digest)
    if digest.hexdigest() != sha256:
        raise _damaged(path, f"{info.filename} has sha256 {digest.hexdigest()}")


def _copy(source: IO[bytes], target: IO[bytes], digest: Any) -> Iterator[int]:
    while block := source.read(PIECE):
        digest.update(block)
        target.write(block)
        yield len(block)


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"'{path}' must be a whole file from blemish weights bundle, but {why}. Nothing of it was"
        " taken. Copy or make it again."
    )
