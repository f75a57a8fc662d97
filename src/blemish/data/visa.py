"""The layout of VisA as it is published.

    <object>/Data/Images/Normal/0836.JPG
    <object>/Data/Images/Anomaly/000.JPG
    <object>/Data/Masks/Anomaly/000.png     class indices, not 0 and 255
    split_csv/1cls.csv or 1cls.csv          beside the objects: which image is for what

The set prepared by its authors' script has MVTec AD's layout and is read by mvtec.py.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from blemish.data.dataset import Dataset
from blemish.data.listing import images_below, link_notes
from blemish.errors import DataError
from blemish.records import Sample

SPLIT = "1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")


def is_visa(root: Path) -> bool:
    """Whether a folder is one of VisA's objects."""
    return (root / "Data" / "Images" / "Normal").is_dir()


def read_visa(root: Path) -> Dataset:
    """Read one object, split by 1cls.csv.

    Raises:
        DataError: the split file is absent, is damaged, does not know the object, or names files
            that are not there, twice, or anomalies to train on.
    """
    table = _split_file(root)
    rows = _rows(table, root.resolve().name)
    files = {_key(file.relative_to(root)): file for file in _files(root)}
    samples = [_sample(root, table, row, files) for row in rows]
    _refuse_repeats(table, samples)
    images = images_below(root / "Data" / "Images")
    notes = link_notes(root)
    if unused := len(set(images) - {sample.image for sample in samples}):
        notes.append(f"{root}: images that {table} does not name, not used: {unused}.")
    samples.sort(key=lambda sample: sample.image.parts)
    return Dataset(
        root=root,
        layout="visa",
        train=tuple(sample for sample in samples if sample.split == "train"),
        test=tuple(sample for sample in samples if sample.split == "test"),
        notes=tuple(notes),
    )


def _split_file(root: Path) -> Path:
    above = root.resolve().parent
    for table in (above / "split_csv" / SPLIT, above / SPLIT):
        if table.is_file():
            return table
    raise DataError(
        f"{root} is an object of VisA and must come with the file that says which images are for "
        f"training, but there is neither {above / 'split_csv' / SPLIT} nor {above / SPLIT}. Copy "
        "split_csv/1cls.csv there from the repository amazon-science/spot-diff, or read the good "
        f"parts alone: {root / 'Data' / 'Images' / 'Normal'}"
    )


def _rows(table: Path, name: str) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lost = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            rows = [] if lost else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{table} must be a CSV file in UTF-8, but reading it stopped: {error}. Copy it again."
        ) from error
    if lost:
        raise DataError(
            f"{table} must have the columns {', '.join(_COLUMNS)}, but {', '.join(lost)} is "
            "missing. Copy it again."
        )
    own = [row for row in rows if row["object"] == name]
    if not own:
        known = ", ".join(sorted({str(row["object"]) for row in rows})) or "none"
        raise DataError(
            f"{table} must have rows of the object {name}, but it has those of {known}. "
            "Give the folder its name back, or take the file that belongs to this copy."
        )
    return own


def _files(root: Path) -> list[Path]:
    masks = root / "Data" / "Masks"
    return images_below(root / "Data" / "Images") + (images_below(masks) if masks.is_dir() else [])


def _key(path: Path | PurePosixPath) -> str:
    # Copies exist whose suffixes are in lower case, or whose masks were saved anew.
    return path.with_suffix("").as_posix().casefold()


def _sample(root: Path, table: Path, row: dict[str, str], files: dict[str, Path]) -> Sample:
    split, label = row["split"], row["label"]
    if (split, label) not in (("train", "normal"), ("test", "normal"), ("test", "anomaly")):
        raise DataError(
            f"{table} must train on normal and test on normal and anomaly, but it says {split} for "
            f"{row['image']}, which is {label}. Take the split 1cls.csv."
        )
    bad = label == "anomaly"
    return Sample(
        image=_find(root, table, row["image"], files),
        split="train" if split == "train" else "test",
        defect_type="anomaly" if bad else "good",
        mask=_find(root, table, row["mask"], files) if bad else None,
    )


def _find(root: Path, table: Path, named: str | None, files: dict[str, Path]) -> Path:
    inside = PurePosixPath(*PurePosixPath(named or "").parts[1:])  # without the object's name
    found = files.get(_key(inside)) if inside.name else None
    if found is None:
        raise DataError(
            f"{root / inside} must be there, because {table} names it ('{named}'), but it is not. "
            "Unpack the data set again."
        )
    return found


def _refuse_repeats(table: Path, samples: list[Sample]) -> None:
    seen: set[Path] = set()
    for sample in samples:
        if sample.image in seen:
            raise DataError(
                f"{table} must name every image once, but it names {sample.image} twice. "
                "Copy the file again."
            )
        seen.add(sample.image)
