"""Finds before training what will hurt: a finding says what, in which files, and what to do.

Reads every picture, mask and cloud of a data set once; writes nothing. The checks and where their
thresholds come from: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blemish.data import categories, checks, open_data
from blemish.data.checks import Case, Finding, counted
from blemish.data.dataset import Dataset
from blemish.data.listing import files_below
from blemish.data.looks import MaskLook, look, look_at_mask
from blemish.errors import DataError, ImageError
from blemish.records import Sample
from blemish.scans import read_scene, scan_files
from blemish.sensors import Sensor
from blemish.track import Track, silent

_FOREIGN = (
    *(".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".pgm", ".ppm", ".pnm", ".npy"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".raf", ".orf", ".exr", ".hdr"),
    *(".mp4", ".avi", ".mov"),
)
Sizes = Mapping[Path, tuple[int, int]]  # (H, W) of the pictures that could be read
_MOST = 0.95  # of the picture; a mask that marks more is likely to be turned inside out


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What the doctor found in a folder. data: None if no layout could be read. images: pictures
    looked at, each once."""

    root: Path
    data: Dataset | None
    images: int
    findings: tuple[Finding, ...]


def examine(
    path: str | Path,
    layout: str = "auto",
    *,
    sensor: Sensor | None = None,
    others: Mapping[str, str] | None = None,
    track: Track = silent,
) -> Checkup:
    """Examine one data set. sensor, others: as of open_data.

    A data set that cannot be read as one, because of a mask without its image for example, is a
    finding, too; then nothing else is examined.

    Raises:
        DataError: the folder is not there, or holds several data sets.
        ConfigError: as of open_data.
    """
    root = Path(path)
    try:
        data = open_data(root, layout, sensor=sensor, others=others)
    except DataError as error:
        if not root.is_dir() or _holds_several(root, layout):
            raise
        advice = "Do what it says, then examine the folder again: nothing else was looked at."
        broken = Finding(kind="layout", says=str(error), advice=advice, groups=())
        return Checkup(root=root, data=None, images=0, findings=(broken,))
    cases, unreadable = _look_at_all(data, track)
    found = [*unreadable, *_foreign(root, data), *checks.files(cases)]
    found += [*checks.repeats(cases), *checks.good_parts(cases), *checks.kinds_of_pixels(cases)]
    sizes = {case.look.path: case.look.size for case in cases}
    found += [*_masks(data, sizes, track), *_clouds(data, sizes, track)]
    count = len({sample.image for sample in (*data.train, *data.test)})
    return Checkup(root=root, data=data, images=count, findings=tuple(found))


def _holds_several(root: Path, layout: str) -> bool:
    return layout == "auto" and bool(categories(root))


def _look_at_all(data: Dataset, track: Track) -> tuple[list[Case], list[Finding]]:
    samples: dict[Path, list[Sample]] = {}
    for sample in (*data.train, *data.test):
        samples.setdefault(sample.image, []).append(sample)
    cases, bad = [], {}
    for image, own in track(samples.items(), "Looking at pictures", len(samples)):
        try:
            cases.append(Case(look=look(image), samples=tuple(own)))
        except ImageError as error:
            bad[image] = str(error)
    return cases, _unreadable(bad, "unreadable", "picture")


def _unreadable(bad: dict[Path, str], kind: str, what: str) -> list[Finding]:
    if not bad:
        return []
    return [
        Finding(
            kind=kind,
            says=f"{counted(len(bad), what)} cannot be read: {'; '.join(list(bad.values())[:3])}",
            advice="Copy them again from the camera, or remove them: fit would leave them out.",
            groups=tuple((path,) for path in bad),
        )
    ]


def _foreign(root: Path, data: Dataset) -> list[Finding]:
    used = {file for sample in (*data.train, *data.test) for file in scan_files(sample)}
    every = (file for file in files_below(root) if file not in used)
    files = [file for file in every if file.suffix.lower() in _FOREIGN]
    kinds = ", ".join(sorted({file.suffix.lower() for file in files}))
    return checks.one_by_one(
        "formats not read",
        files,
        lambda count: f"{count} in a format that blemish does not read ({kinds}).",
        "Convert them to PNG if they belong to the data, or move them elsewhere.",
        what="file",
    )


def _masks(data: Dataset, sizes: Sizes, track: Track) -> list[Finding]:
    masked = [(sample, sample.mask) for sample in data.test if sample.mask is not None]
    seen: list[tuple[Sample, MaskLook]] = []
    bad: dict[Path, str] = {}
    for sample, mask in track(masked, "Looking at masks", len(masked)):
        try:
            seen.append((sample, look_at_mask(mask)))
        except ImageError as error:
            bad[mask] = str(error)
    other = [(s, m) for s, m in seen if sizes.get(s.image, m.size) != m.size]
    return [
        *_unreadable(bad, "unreadable masks", "mask"),
        *_mask_finding(
            "masks of another size", other, "of another size than the picture",
            "Export them at the picture's own size; masks are never resized, and evaluate refuses "
            "these.",
        ),
        *_mask_finding(
            "empty masks", [(s, m) for s, m in seen if m.marked == 0], "without a marked pixel",
            "Draw what is wrong, or move the picture to the good ones if nothing is.",
        ),
        *_mask_finding(
            "masks of more than two values", [(s, m) for s, m in seen if not m.pure],
            "neither black and one other value nor class indices",
            "Save them as PNG of 0 and 255: JPEG and soft brushes blur the edge. blemish takes "
            "what is brighter than half of the brightest.",
        ),
        *_mask_finding(
            "masks turned inside out", [(s, m) for s, m in seen if m.marked > _MOST],
            f"marking more than {_MOST:.0%} of the picture",
            "Check whether black and white are swapped.",
        ),
    ]  # fmt: skip


def _mask_finding(
    kind: str, some: Iterable[tuple[Sample, MaskLook]], is_what: str, advice: str
) -> list[Finding]:
    groups = tuple((sample.image, mask.path) for sample, mask in some)
    if not groups:
        return []
    says = f"{counted(len(groups), 'mask')} {'is' if len(groups) == 1 else 'are'} {is_what}."
    return [Finding(kind=kind, says=says, advice=advice, groups=groups)]


def _clouds(data: Dataset, sizes: Sizes, track: Track) -> list[Finding]:
    every = {sample.image: sample for sample in (*data.train, *data.test) if scan_files(sample)}
    bad: dict[Path, str] = {}
    other = []
    for sample in track(every.values(), "Looking at clouds", len(every)):
        file = scan_files(sample)[0]
        try:
            read_scene(sample, sizes.get(sample.image))
        except ImageError as error:
            if _can_be_read(sample):
                other.append((sample.image, file))
            else:
                bad[file] = str(error)
    found = _unreadable(bad, "unreadable clouds", "cloud")
    if other:
        found.append(
            Finding(
                kind="clouds of another size",
                says=f"{counted(len(other), 'cloud')} differ from the photograph in size.",
                advice="Photograph and cloud must lie pixel on pixel. Preprocessed clouds come "
                "with preprocessed photographs: take both from the same copy.",
                groups=tuple(other),
            )
        )
    return found


def _can_be_read(sample: Sample) -> bool:
    try:
        read_scene(sample)
    except ImageError:
        return False
    return True
