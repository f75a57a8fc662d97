"""A data set of made-up defects on held-out good parts, in the layout of MVTec AD or 3D-AD.

    train/good/000.png                 four of five good parts, byte for byte
    test/good/000.png                  the fifth
    test/<kind>/000.png                defects on pictures of test/good, never of train
    ground_truth/<kind>/000_mask.png
    synth.json                         where each picture comes from, its kind, seed and settings
    contact-sheet.png                  some of each kind

With points, instead: <split>/<type>/{rgb,xyz,gt}/000.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.data import Dataset
from blemish.errors import DataError, ImageError, SynthError
from blemish.images import read_bytes, read_image
from blemish.records import Mask, Pixels, Sample
from blemish.scans import read_scene
from blemish.synth import RELIEF, Altered, maker
from blemish.synth.base import LEAST, SMALLEST, TRIES, merged
from blemish.synth.part import find_part
from blemish.synth.sheet import COLUMNS, cell, sheet
from blemish.track import Track, silent

LIST, SHEET = "synth.json", "contact-sheet.png"
_EVERY = 5  # one good part of so many is held out


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was written. counts: defective pictures of each kind. left_out: a sentence for each
    good picture that could not be read or is too small, and each kind that was not made."""

    folder: Path
    layout: str
    train: int
    test: int
    counts: dict[str, int]
    left_out: tuple[str, ...]


@dataclass(kw_only=True)
class _Work:
    """One data set while it is being written. root: a folder of its own, renamed at the end."""

    root: Path
    source: Path
    seed: int
    settings: Mapping[str, Any]
    solid: bool  # with points
    pictures: list[dict[str, Any]] = field(default_factory=list)
    cells: dict[str, list[npt.NDArray[np.uint8]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def write_dataset(
    data: Dataset,
    folder: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    count: int = 10,
    seed: int = 0,
    track: Track = silent,
) -> Made:
    """Makes `count` defects of each kind on the good training parts of a data set.

    settings: kind → its parameters (blemish.synth.settings_of), in this order. The folder must be
    new or empty, and appears at once when it is complete. The same pictures, settings and seed
    give the same bytes. Points are written where every good part has points or depth in metres.

    Raises:
        DataError: the folder is not empty or cannot be written, or there are fewer than two good
            pictures that can be read and are large enough.
        SynthError: of no kind can a defect be made on any of the held-out pictures.
    """
    target = Path(folder)
    _require_free(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".blemish-synth-", dir=target.parent) as beside:
            solid = all(one.points or one.depth for one in data.train)
            work = _Work(root=Path(beside) / "set", source=data.root, seed=seed, settings=settings,
                         solid=solid)  # fmt: skip
            made = _written(work, data, count, target, track)
            if target.is_dir():
                target.rmdir()
            work.root.rename(target)
    except OSError as error:
        raise DataError(
            f"{target} must be a place to write a data set to, but writing failed: "
            f"{error.strerror or error}. Free some space there, or give another folder."
        ) from error
    return made


def _require_free(target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(
            f"{target} must be a new or empty folder for the data set, but it is there and not"
            " empty. Delete it, or give another folder."
        )


def _written(work: _Work, data: Dataset, count: int, target: Path, track: Track) -> Made:
    good = _usable(work, data.train, track)
    held = good[_EVERY - 1 :: _EVERY] or good[-1:]
    kept = [sample for sample in good if sample not in held]
    for split, samples in (("train", kept), ("test", held)):
        for number, sample in enumerate(track(samples, f"Copying {split}", len(samples))):
            _copy(work, sample, split, number)
    plan = [(kind, number) for kind in work.settings for number in range(count)]
    for kind, number in track(plan, "Making defects", len(plan)):
        _add(work, held, kind, number)
    counts = {kind: len(list(_kind(work, kind))) for kind in work.settings}
    if not any(counts.values()):
        raise SynthError(
            f"{data.root} must have good pictures that allow one of {', '.join(counts)}, but no"
            f" draw on any of the {len(held)} held-out ones did. {work.left_out[-1]}"
        )
    written = {
        "source": data.root.name, "seed": work.seed, "count": count, "counts": counts,
        "settings": {kind: asdict(one) for kind, one in work.settings.items()},
        "pictures": work.pictures,
    }  # fmt: skip
    _write(work.root / LIST, (json.dumps(written, indent=1) + "\n").encode())
    _write(work.root / SHEET, encoded(sheet(work.cells)))
    return Made(
        folder=target,
        layout="mvtec3d" if work.solid else "mvtec",
        train=len(kept),
        test=len(held),
        counts=counts,
        left_out=tuple(work.left_out),
    )


def _kind(work: _Work, kind: str) -> list[dict[str, Any]]:
    return [one for one in work.pictures if one["kind"] == kind]


def _usable(work: _Work, samples: Sequence[Sample], track: Track) -> list[Sample]:
    """The good parts that can be read and are large enough; says which are not."""
    found = []
    for sample in track(samples, "Reading good parts", len(samples)):
        try:
            size = read_image(sample.image).shape[:2]
            cloud = read_scene(sample).seen.shape if work.solid else size
        except ImageError as error:
            work.left_out.append(str(error))
            continue
        if min(size) >= SMALLEST and cloud == size:
            found.append(sample)
            continue
        work.left_out.append(
            f"{sample.image} must have at least {SMALLEST} px a side and points of its own size,"
            f" but is {size[0]} x {size[1]} with points of {cloud[0]} x {cloud[1]}. Left out."
        )
    if len(found) < 2:
        told = f" {work.left_out[0]}" if work.left_out else ""
        raise DataError(
            f"{work.source} must hold at least 2 good pictures, one to learn from and one to make"
            f" defects on, but {len(found)} can be used.{told} Add some."
        )
    return found


def _place(work: _Work, split: str, kind: str, what: str, name: str) -> Path:
    """what: image, mask or points."""
    if work.solid:
        folder = {"image": "rgb", "mask": "gt", "points": "xyz"}[what]
        return work.root / split / kind / folder / name
    if what == "mask":
        return work.root / "ground_truth" / kind / name.replace(".png", "_mask.png")
    return work.root / split / kind / name


def _copy(work: _Work, sample: Sample, split: str, number: int) -> None:
    """A good part; its points, too, byte for byte where they are some."""
    image = _place(work, split, "good", "image", f"{number:03}{sample.image.suffix}")
    _write(image, read_bytes(sample.image))
    work.pictures.append(_told(work, image, "good", sample))
    if not work.solid:
        return
    points = _place(work, split, "good", "points", f"{number:03}.tiff")
    _write(points, _points_of(sample))
    if split == "test":  # other tools expect a mask, all black, of good parts, too
        black = np.zeros(read_image(sample.image).shape[:2], np.uint8)
        _write(_place(work, split, "good", "mask", f"{number:03}.png"), encoded(black))


def _points_of(sample: Sample) -> bytes:
    """A TIFF in metres: the sample's own file if it is one."""
    in_metres = sample.sensor is None or sample.sensor.scale == 1
    if sample.points and sample.points.suffix.lower() in (".tif", ".tiff") and in_metres:
        return read_bytes(sample.points)
    return tiff(read_scene(sample).points)


def _told(work: _Work, image: Path, kind: str, sample: Sample) -> dict[str, Any]:
    name, source = image.relative_to(work.root), os.path.relpath(sample.image, work.source)
    return {"image": name.as_posix(), "kind": kind, "source": Path(source).as_posix()}


def _add(work: _Work, held: Sequence[Sample], kind: str, number: int) -> None:
    """One defect on the first held-out part, from the number's own on, that allows it."""
    stream = [work.seed, number, *kind.encode()]  # so that no picture depends on another
    rng = np.random.default_rng(stream)
    reason = ""
    for turn in range(len(held)):
        sample = held[(number + turn) % len(held)]
        image = read_image(sample.image)
        points = read_scene(sample).points if work.solid else None
        try:
            altered = on_part(kind, image, points, rng, work.settings[kind])
        except SynthError as error:
            reason = str(error)
            continue
        name = f"{number:03}.png"
        path = _place(work, "test", kind, "image", name)
        _write(path, encoded(altered.image))
        mask = altered.mask.astype(np.uint8) * 255
        _write(_place(work, "test", kind, "mask", name), encoded(mask))
        if altered.points is not None:
            points_path = _place(work, "test", kind, "points", f"{number:03}.tiff")
            _write(points_path, tiff(altered.points))
        area = int(np.count_nonzero(altered.mask))
        told = _told(work, path, kind, sample)
        work.pictures.append({**told, "stream": stream, "area_px": area})
        cells = work.cells.setdefault(kind, [])
        if len(cells) < COLUMNS:
            cells.append(cell(altered.image, altered.mask))
        return
    work.left_out.append(f"{kind} {number:03} was not made: {reason}")


def on_part(
    kind: str,
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    settings: Any,
    seen: Mask | None = None,
) -> Altered:
    """A defect whose middle lies on the part, and which ends where the part ends.

    Arguments as of a maker; settings: of the kind. seen: (H, W), where the part is inspected; a
    defect ends there, too. None: everywhere. Raises SynthError where none can be made,
    ShapeError on an image too small for any.
    """
    part = find_part(image)
    if seen is not None:
        part = seen if part is None or not (part & seen).any() else part & seen
    for _ in range(TRIES):
        altered = maker(kind)(image, points, rng, where=part, config=settings)
        if part is None or (kind in RELIEF and points is not None):
            return altered
        altered = _confined(altered, image, points, part)
        if np.count_nonzero(altered.mask) >= LEAST:
            return altered
    raise SynthError(
        f"a {kind} must lie on the part, but {TRIES} draws did not. Take another picture or seed."
    )


def _confined(altered: Altered, image: Pixels, points: Cloud | None, part: Mask) -> Altered:
    """What lies behind the part gets back what it was."""
    left = altered.points
    if left is not None and points is not None:
        left = merged(part, left, points)
    shown = merged(part, altered.image, image)
    return Altered(image=shown, points=left, mask=altered.mask & part)


def encoded(pixels: npt.NDArray[Any]) -> bytes:
    """(H, W) or (H, W, 1 or 3) RGB pixels of 8 or 16 bits as PNG."""
    turned = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(".png", np.ascontiguousarray(turned))
    return data.tobytes()


def tiff(points: Cloud) -> bytes:
    """(H, W, 3) points as a TIFF that read_scan_file reads, bit for bit."""
    # OpenCV takes x, y, z for red, green, blue, as read_tiff does.
    _, data = cv2.imencode(".tiff", np.ascontiguousarray(points[..., ::-1]))
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
