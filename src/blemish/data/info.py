"""What a folder was recognised as, and what it holds, as plain numbers and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from blemish.data import categories, open_data
from blemish.data.dataset import Dataset
from blemish.errors import DataError, ImageError
from blemish.images import read_image
from blemish.records import Sample
from blemish.sensors import Sensor
from blemish.track import Track, silent

_THIRD = ("points", "depth", "disparity", "normals")


def describe(
    path: str | Path,
    layout: str = "auto",
    *,
    sensor: Sensor | None = None,
    others: Mapping[str, str] | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """What `blemish data info --json` prints, of one data set or of a folder of several.

    One: root, layout, train and test (type → count), masks (type → count), third (what 3D sensors
    wrote → count), others (name of further photographs → count), sizes and pixels (each with its
    count, the most frequent first), unreadable and notes. Every picture is read. Several: root and
    categories, each with name, path, layout, train and test, or with an error; no picture is read.
    sensor, others: as of open_data, of one.

    Raises:
        DataError: the folder is not there, or cannot be read as a data set.
        ConfigError: as of open_data.
    """
    root = Path(path)
    several = categories(root) if layout == "auto" else ()
    if several:
        return {"root": str(root), "categories": [_category(*one) for one in several]}
    data = open_data(root, layout, sensor=sensor, others=others)
    return {"root": str(root), **_counts(data), **_pixels(data, track), "notes": list(data.notes)}


def _category(name: str, folder: Path) -> dict[str, Any]:
    here = {"name": name, "path": str(folder)}
    try:
        data = open_data(folder)
    except DataError as error:
        return {**here, "error": str(error)}
    return {**here, "layout": data.layout, "train": _types(data.train), "test": _types(data.test)}


def _counts(data: Dataset) -> dict[str, Any]:
    everything = {sample.image: sample for sample in (*data.train, *data.test)}.values()
    third = {name: sum(getattr(one, name) is not None for one in everything) for name in _THIRD}
    return {
        "layout": data.layout,
        "train": _types(data.train),
        "test": _types(data.test),
        "masks": _types(sample for sample in data.test if sample.mask is not None),
        "third": {name: count for name, count in third.items() if count},
        "others": dict(Counter(name for one in everything for name, _ in one.others)),
    }


def _types(samples: Iterable[Sample]) -> dict[str, int]:
    return dict(sorted(Counter(sample.defect_type for sample in samples).items()))


def _pixels(data: Dataset, track: Track) -> dict[str, Any]:
    images = sorted({sample.image for sample in (*data.train, *data.test)})
    sizes: Counter[Hashable] = Counter()
    kinds: Counter[Hashable] = Counter()
    unreadable = []
    for image in track(images, "Reading pictures", len(images)):
        try:
            pixels = read_image(image)
        except ImageError as error:
            unreadable.append(str(error))
            continue
        sizes[pixels.shape[:2]] += 1
        kinds[pixels.shape[2], 8 * pixels.dtype.itemsize] += 1
    return {
        "images": len(images),
        "sizes": [{"size": size, "count": count} for size, count in sizes.most_common()],
        "pixels": [
            {"channels": kind[0], "bits": kind[1], "count": count}  # type: ignore[index]
            for kind, count in kinds.most_common()
        ],
        "unreadable": unreadable,
    }
