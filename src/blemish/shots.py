"""All that was taken of one part, and how it enters a graph that takes more than a photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blemish.descriptors import describe
from blemish.errors import ConfigError, ImageError
from blemish.frame import Frame
from blemish.groups import groups_of
from blemish.images import decode_image, read_bytes
from blemish.records import Pixels, Sample
from blemish.scans import read_scan, scan_files
from blemish.sensors import Scan, Sensor

PHOTOGRAPH, POINTS = "photograph", "points"
MOST = 4  # modalities: thresholds are found for each choice of them


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """Photographs and a scan of one part, pixel on pixel.

    pictures: (H, W, 1 or 3) pixels by name, PHOTOGRAPH or one of Sample.others; what is missing is
    not there. scan: None where there is none. Raises ImageError if sizes differ.
    """

    pictures: Mapping[str, Pixels] = field(default_factory=dict)
    scan: Scan | None = None

    def __post_init__(self) -> None:
        sizes = {name: pixels.shape[:2] for name, pixels in self.pictures.items()}
        if self.scan is not None:
            sizes[POINTS] = self.scan.seen.shape
        if len(set(sizes.values())) > 1:
            raise ImageError(
                f"what was taken of a part must lie pixel on pixel, but (H, W) are {sizes}."
                " Export all at one size."
            )

    def without(self, names: Sequence[str]) -> Shot:
        """The same, less what is named: photographs, or POINTS."""
        pictures = {name: one for name, one in self.pictures.items() if name not in names}
        return Shot(pictures=pictures, scan=None if POINTS in names else self.scan)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)"""
        one = self.scan.seen if self.scan is not None else next(iter(self.pictures.values()))
        return one.shape[0], one.shape[1]


def read_points(path: Path, sensor: Sensor | None) -> Scan:
    """One file of a 3D sensor: as the sensor says; without one a PNG holds disparity, others
    points. Raises ImageError."""
    kind = sensor.kind if sensor else "disparity" if path.suffix.lower() == ".png" else "points"
    fields: dict[str, Any] = {kind: path}
    alone = Sample(image=path, split="test", defect_type="good", sensor=sensor, **fields)
    return read_scan(alone)


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a graph of several modalities is shown, in the order of its scores.

    pictures: names of photographs. points: how a scan that follows them is shown: "fpfh" as
        descriptors.py has it, "groups" as groups.py; "none" if no scan follows. grid: cells along
        a side, of what is made of a scan. stretch: factor on its z (descriptors.py).
    """

    pictures: tuple[str, ...]
    points: Literal["none", "fpfh", "groups"]
    grid: int
    stretch: float = 1.0

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in the order of the graph's input "present"."""
        return self.pictures if self.points == "none" else (*self.pictures, POINTS)

    def choices(self) -> tuple[tuple[str, ...], ...]:
        """Each choice of modalities that may be there at inspection, all of them first.

        >>> Sight(pictures=("photograph",), points="fpfh", grid=28).choices()
        (('photograph', 'points'), ('photograph',), ('points',))
        """
        names = self.modalities
        sizes = range(len(names), 0, -1)
        return tuple(choice for size in sizes for choice in combinations(names, size))

    def less(self, names: Sequence[str]) -> tuple[str, ...]:
        """The modalities but those named. Raises ConfigError on an unknown name, or if none is
        left."""
        left = tuple(name for name in self.modalities if name not in names)
        if not left or not set(names) <= set(self.modalities):
            raise ConfigError(
                f"--without must name some of {', '.join(self.modalities)}, but not all, and names"
                f" {', '.join(names)}. Change it."
            )
        return left

    def there(self, shot: Shot) -> tuple[str, ...]:
        """Which of the modalities a shot has; a scan that saw nothing is none. Raises ImageError if
        it has none."""
        scan = () if shot.scan is None or not shot.scan.seen.any() else (POINTS,)
        found = tuple(name for name in self.modalities if name in (*shot.pictures, *scan))
        if not found:
            raise ImageError(
                f"an image must come with one of {', '.join(self.modalities)}, which the model"
                f" learnt from, but has {', '.join((*shot.pictures, *scan)) or 'nothing'}."
                " Add one."
            )
        return found

    def present(self, choice: tuple[str, ...]) -> npt.NDArray[np.float32]:
        """(M,): 1 for each modality that is chosen."""
        return np.array([name in choice for name in self.modalities], np.float32)

    def feed(self, frame: Frame, shot: Shot) -> dict[str, npt.NDArray[np.float32]]:
        """The graph's inputs by name: image (P, 3, h, w), present (M,), and what a scan becomes by
        describe or groups_of. What is missing is 0."""
        rows = [
            frame.to_model(shot.pictures[name])
            if name in shot.pictures
            else np.zeros((1, 3, *frame.size), np.float32)
            for name in self.pictures
        ]
        return {
            "image": np.concatenate(rows),
            "present": self.present(self.there(shot)),
            **self._scan(_inspected(shot.scan, frame)),
        }

    def inputs(self, frame: Frame) -> dict[str, tuple[int, ...]]:
        """Shapes of what feed gives, without making pictures of a size that a stranger tells."""
        return {
            "image": (len(self.pictures), 3, *frame.size),
            "present": (len(self.modalities),),
            **{name: one.shape for name, one in self._scan(None).items()},
        }

    def needed(self, sample: Sample) -> Sample:
        """The sample less what is not shown."""
        others = tuple(one for one in sample.others if one[0] in self.pictures)
        fields = ("points", "depth", "depth_range", "disparity", "normals", "pose")
        bare: dict[str, Any] = dict.fromkeys(fields) if self.points == "none" else {}
        return replace(sample, others=others, **bare)

    def _scan(self, scan: Scan | None) -> dict[str, npt.NDArray[np.float32]]:
        if self.points == "none":
            return {}
        nothing = Scan(points=np.zeros((1, 1, 3), np.float32), seen=np.zeros((1, 1), np.bool_))
        if self.points == "groups":
            return groups_of(scan or nothing, self.grid)
        shape, seen = describe(scan or nothing, self.grid, self.stretch)
        return {"shape": shape[None], "seen": seen[None]}


def _inspected(scan: Scan | None, frame: Frame) -> Scan | None:
    """The scan, as if its sensor had seen nothing where nothing is inspected."""
    seen = None if scan is None else frame.seen(scan.seen.shape)
    if scan is None or seen is None:
        return scan
    return Scan(points=np.where(seen[..., None], scan.points, np.float32(0)), seen=scan.seen & seen)


def read_shot(sample: Sample, masks: Path | None = None) -> tuple[Shot, tuple[bytes, ...]]:
    """All of a sample, and the bytes of its files, the photograph's first.

    masks: as of scans.read_scan. Raises ImageError if a file cannot be read.
    """
    named = [(PHOTOGRAPH, sample.image), *sample.others]
    told = [read_bytes(path) for _, path in named]
    pictures = {
        name: decode_image(data, str(path)) for (name, path), data in zip(named, told, strict=True)
    }
    files = scan_files(sample)
    pixels = pictures[PHOTOGRAPH]
    scan = read_scan(sample, (pixels.shape[0], pixels.shape[1]), masks) if files else None
    try:
        shot = Shot(pictures=pictures, scan=scan)
    except ImageError as error:
        raise ImageError(f"{error} It is about '{sample.image}'.") from error
    return shot, (*told, *map(read_bytes, files))
