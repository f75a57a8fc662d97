"""The files that belong to a photograph: 3D data and further photographs of the same part.

They are found by patterns (patterns.py), or by what published data sets have in common:

    rgb/001.png beside xyz/001.tiff, disparity/001.png or depth/001.png
    000_image_4.png beside 000_depth.png and 000_info_depth.yaml (Eyecandies)
"""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from blemish.data.dataset import Dataset
from blemish.data.listing import is_ours
from blemish.errors import ArtifactError, ConfigError, DataError, ImageError
from blemish.images import IMAGE_SUFFIXES
from blemish.patterns import Place, place, require_pattern
from blemish.records import Sample
from blemish.scans import DEPTH_SUFFIXES, POINT_SUFFIXES
from blemish.sensors import Kind, Sensor

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "points": POINT_SUFFIXES,
    "depth": DEPTH_SUFFIXES,
    "disparity": DEPTH_SUFFIXES,
}
_FOLDERS: dict[str, Kind] = {"xyz": "points", "disparity": "disparity", "depth": "depth"}
_EYECANDIES = re.compile(r"(\d+)_image_\d\.png")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_NO_SCAN: dict[str, Any] = dict.fromkeys(
    ("points", "depth", "depth_range", "disparity", "normals", "pose")
)

Names = list[tuple[str, str]]  # of a folder's files: as they are compared, as they are
Listing = Callable[[Path], Names]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One kind of partner. what: as errors call it. option: that changes the pattern."""

    what: str
    option: str
    pattern: str
    suffixes: tuple[str, ...]


def require_others(others: Mapping[str, str]) -> None:
    """Raises ConfigError unless it maps names of further photographs to patterns."""
    for name, pattern in others.items():
        if not _NAME.fullmatch(name) or name in ("image", "photograph", "points"):
            raise ConfigError(
                "the name of a further photograph must be a letter and up to 31 letters, digits, -"
                f" or _, and not image, photograph or points, but is {name[:50]!r}. Choose another."
            )
        require_pattern(pattern, f"the pattern of photographs {name!r} (--other)")


def others_from_json(stored: object) -> dict[str, str]:
    """The patterns of further photographs that a model keeps. Raises ArtifactError on others."""
    named = dict(stored) if isinstance(stored, dict) else {"": ""}
    try:
        require_others({str(name): pattern for name, pattern in named.items()})
    except ConfigError as error:
        raise ArtifactError(
            f"a model's further photographs must be names and patterns as blemish fit writes them,"
            f" but are {str(stored)[:200]} ({error}). Copy the model again, or fit again."
        ) from error
    return named


def attach(
    dataset: Dataset, sensor: Sensor | None = None, others: Mapping[str, str] | None = None
) -> Dataset:
    """Gives every sample its partners by pattern; a file that is one is no photograph any more.

    open_data does this, and keeps partners from being taken for photographs without masks before.

    sensor: takes the place of the 3D data that the layout found; None leaves them, and gives those
    of plain folders what lies beside them by convention. others: name → pattern of further
    photographs.

    Raises:
        DataError: a photograph without its partner, or with two, or a file that is the partner of
            two photographs.
        ConfigError: a name or a pattern of `others` is none.
    """
    others, listing = others or {}, cache(_names)
    wanted = _wanted(sensor, others)
    images = sorted({sample.image for sample in (*dataset.train, *dataset.test)})
    taken = partners_of(images, sensor, others)
    photographs = [image for image in images if image not in taken]
    found = {image: [_matches(image, one, listing) for one in wanted] for image in photographs}
    for number, one in enumerate(wanted):
        _require_own(one, {image: files[number] for image, files in found.items()})
    fields = {
        image: _fields(sensor, others, [files[0] for files in every])
        for image, every in found.items()
    }
    if sensor is None and dataset.layout in ("types", "images"):
        for image, beside in _beside(photographs, listing).items():
            fields[image].update(beside)

    def samples(every: Iterable[Sample]) -> tuple[Sample, ...]:
        return tuple(replace(one, **fields[one.image]) for one in every if one.image in fields)

    return replace(dataset, train=samples(dataset.train), test=samples(dataset.test))


def sample_of(
    image: Path, sensor: Sensor | None = None, others: Mapping[str, str] | None = None
) -> Sample:
    """One photograph with its partners; what is missing is None, or not among its others.

    sensor: None looks where published data sets have them. Nothing is known of the part: the sample
    says test and good.

    Raises:
        ImageError: two files could be the same partner.
        ConfigError: a name or a pattern of `others` is none.
    """
    others = others or {}
    wanted = _wanted(sensor, others)
    files = [_only(image, one, _matches(image, one, _names)) for one in wanted]
    fields = _fields(sensor, others, files)
    if sensor is None:
        fields.update(by_convention(image))
    return Sample(image=image, split="test", defect_type="good", **fields)


def partners_of(
    images: Iterable[Path],
    sensor: Sensor | None = None,
    others: Mapping[str, str] | None = None,
) -> set[Path]:
    """The files that are some image's partner by pattern.

    Raises DataError if all of them are, ConfigError if a name or a pattern of `others` is none.
    """
    wanted, listing, every = _wanted(sensor, others or {}), cache(_names), list(images)
    found = {file for image in every for one in wanted for file in _matches(image, one, listing)}
    if every and found.issuperset(every):
        raise DataError(
            f"{every[0]} must be a photograph or its partner, but by '{wanted[0].pattern}' each of"
            f" {len(every)} images is another's partner. Change {wanted[0].option}."
        )
    return found


def _beside(photographs: list[Path], listing: Listing) -> dict[Path, dict[str, Any]]:
    """What lies beside each photograph by convention: of all the same, or it is an error."""
    found = {image: by_convention(image, listing) for image in photographs}
    rich = max(photographs, key=lambda image: len(found[image]), default=Path())
    for image in photographs:
        if found[image].keys() != found[rich].keys():
            raise DataError(
                f"{image} must come with {', '.join(found[rich])} like {rich}, but has"
                f" {', '.join(found[image]) or 'nothing'} beside it. Add the files, or take the"
                " photograph away."
            )
    return found


def by_convention(image: Path, listing: Listing | None = None) -> dict[str, Any]:
    """What published data sets have beside a photograph: fields of its sample that are there.

    Raises ImageError if two files could be the same partner.
    """
    if image.absolute().parent.name == "rgb":
        for folder, kind in _FOLDERS.items():
            one = _wanted_of(kind, f"../{folder}/{{stem}}.*")
            if file := _only(image, one, _matches(image, one, listing or _names)):
                return {kind: file}
    if number := _EYECANDIES.fullmatch(image.name):
        items = {
            "depth": "depth.png", "depth_range": "info_depth.yaml", "normals": "normals.png",
            "pose": "pose.txt",
        }  # fmt: skip
        beside = {key: image.with_name(f"{number[1]}_{item}") for key, item in items.items()}
        there = {key: file for key, file in beside.items() if file.is_file()}
        if "depth" in there and "depth_range" in there:
            return there
    return {}


def _wanted(sensor: Sensor | None, others: Mapping[str, str]) -> list[_Wanted]:
    require_others(others)
    third = [] if sensor is None else [_wanted_of(sensor.kind, sensor.pattern)]
    return third + [
        _Wanted(
            what=f"photograph '{name}'",
            option=f"--other {name}=PATTERN",
            pattern=pattern,
            suffixes=IMAGE_SUFFIXES,
        )
        for name, pattern in others.items()
    ]


def _wanted_of(kind: Kind, pattern: str) -> _Wanted:
    return _Wanted(what=kind, option=f"--{kind}", pattern=pattern, suffixes=_SUFFIXES[kind])


def _fields(
    sensor: Sensor | None, others: Mapping[str, str], files: list[Path | None]
) -> dict[str, Any]:
    """Fields of a sample: files are the sensor's, if there is one, and one for each other."""
    third: dict[str, Any] = {}
    if sensor is not None:
        third, files = {**_NO_SCAN, "sensor": sensor, sensor.kind: files[0]}, files[1:]
    named = zip(others, files, strict=True)
    return {**third, "others": tuple((name, file) for name, file in named if file is not None)}


def _names(folder: Path) -> Names:
    """Visible files of a folder, sorted as they are compared; none of one that is not there."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return []
    return sorted((_key(name), name) for name in names if name[0] != "." and not is_ours(name))


def _key(name: str) -> str:
    # One system writes "é" as one code point, another as two.
    return unicodedata.normalize("NFC", name).casefold()


def _fits(name: str, there: Place) -> bool:
    """Whether a name is one that the place asks for; its suffix may be in either case."""
    whole, start, end = (unicodedata.normalize("NFC", t) for t in (name, there.start, there.end))
    if len(whole) < len(start + end) or not (there.open or len(whole) == len(start + end)):
        return False
    suffix = whole.rfind(".") + 1 or len(whole)  # where it begins
    before = max(suffix - len(whole) + len(end), 0)  # letters of the end that come before it
    wanted = start[:suffix] + start[suffix:].lower(), end[:before] + end[before:].lower()
    lowered = whole[:suffix] + whole[suffix:].lower()
    return lowered.startswith(wanted[0]) and lowered.endswith(wanted[1])


def _matches(image: Path, one: _Wanted, listing: Listing) -> list[Path]:
    """The files that may be an image's partner; itself is none."""
    there = place(image, one.pattern)
    if there is None:
        return []
    exact = there.folder / f"{there.start}{there.end}"
    if not there.open and exact.is_file():  # without reading a folder that may hold a million
        return [] if exact == image else [exact]
    names, start, files = listing(there.folder), _key(there.start), []
    for at in range(bisect_left(names, (start,)), len(names)):
        key, name = names[at]
        if not key.startswith(start):
            break
        file = there.folder / name
        if _fits(name, there) and file != image and file.is_file():
            files.append(file)
    readable = [file for file in files if file.suffix.lower() in one.suffixes]
    return readable or files


def _only(image: Path, one: _Wanted, files: list[Path]) -> Path | None:
    if len(files) > 1:
        raise ImageError(
            f"{image} must have one file of {one.what}, but it has two: {files[0]} and {files[1]}."
            f" Make '{one.pattern}' ({one.option}) say which, or remove one."
        )
    return files[0] if files else None


def _require_own(one: _Wanted, found: Mapping[Path, list[Path]]) -> None:
    """Raises DataError unless each photograph has one partner, which is its own alone."""
    owners: dict[Path, Path] = {}
    for image, files in found.items():
        file = _only(image, one, files)
        if file is None:
            raise _without(image, one)
        owner = owners.setdefault(file, image)
        if owner is not image:
            raise DataError(
                f"{file} must be the {one.what} of one photograph, but is that of {owner} and"
                f" {image}. Make '{one.pattern}' ({one.option}) say which, or add the other file."
            )


def _without(image: Path, one: _Wanted) -> DataError:
    there = place(image, one.pattern)
    why = "its name lacks the letters to take out" if there is None else f"there is no {there}"
    return DataError(
        f"{image} must have its {one.what} by the pattern '{one.pattern}', but {why}. Add the file,"
        f" take the photograph away, or change {one.option}."
    )
