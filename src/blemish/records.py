"""The records that pass from room to room: frozen, typed, with units.

Pixels are always native pixels, the ones of the file on disk. Higher scores are more anomalous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blemish.sensors import Sensor

Map = npt.NDArray[np.float32]  # (H, W), one score a pixel, any real range
Mask = npt.NDArray[np.bool_]  # (H, W), True on a defect
Pixels = npt.NDArray[Any]  # (H, W, C) uint8, uint16 or float32; 3 channels are RGB

# (H, W) of an image → which of its pixels are inspected, None: all
Seen = Callable[[Sequence[int]], Mask | None]

Verdict = Literal["good", "defect"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture on disk and what its folder says about it; no pixel is read.

    defect_type: "good", or the name of the folder of defects it lies in.
    mask: file that marks the defect's pixels; None for good parts, and for defects without one.

    others: further photographs of the part, pixel on pixel with `image`, by name: under infrared or
        another light. In the order they were asked for.

    What a 3D sensor adds, read by scans.read_scan; `image` is always the photograph that lies pixel
    on pixel with it. None where there is no such thing:
    points: organised point cloud. depth: along the camera's axis. disparity: larger is nearer.
    sensor: how these are read; None where the data set's layout says it: points in metres,
        disparity without a camera, Eyecandies' depth.
    depth_range: YAML file with min and max, which turns Eyecandies' depth into metres.
    normals: RGB PNG of surface normals. pose: 4 x 4 text file, camera to world.
    """

    image: Path
    split: Literal["train", "test"]
    defect_type: str
    mask: Path | None = None
    others: tuple[tuple[str, Path], ...] = ()
    points: Path | None = None
    depth: Path | None = None
    depth_range: Path | None = None
    disparity: Path | None = None
    normals: Path | None = None
    pose: Path | None = None
    sensor: Sensor | None = None

    @property
    def is_defect(self) -> bool:
        """Whether the folder says that this part is defective."""
        return self.defect_type != "good"


@dataclass(frozen=True, kw_only=True)
class Region:
    """One connected blemish.

    box: (x, y, width, height) in native pixels, x to the right and y down from the top left.
    area_px: number of native pixels.
    peak: highest value of the map inside.
    length_px: longest distance between two corners of its pixels.
    area_mm2, length_mm, size_mm: the same area and length, and (width, height) of the box, in
        millimetres; None if nobody told how large a pixel is.
    """

    box: tuple[int, int, int, int]
    area_px: int
    peak: float
    length_px: float
    area_mm2: float | None = None
    length_mm: float | None = None
    size_mm: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What an Inspector says about one image.

    score: raw image score, any real number. threshold: scores above it are defects.
    p_value: in (0, 1]: among n good parts that the model never saw, how many score as high
        or higher, (1 + count) / (n + 1). Small is suspicious.
    map: (H, W) float32 at the image's own size. regions: largest peak first; empty when good.
    ms: milliseconds from the first byte read to the verdict.
    missing: modalities that the model learnt from and this image came without; the p-value is among
        good parts that were scored without them, too.
    seen: (H, W), which pixels were inspected; None: all. Elsewhere the map has its lowest value.
    runtime: name and version of what computed it.
    """

    score: float
    p_value: float
    threshold: float
    verdict: Verdict
    map: Map
    regions: tuple[Region, ...]
    ms: float
    missing: tuple[str, ...] = ()
    seen: Mask | None = None
    runtime: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one of many images: a prediction, or the reason why there is none.

    file: None of pixels that a program handed in.
    """

    file: Path | None
    prediction: Prediction | None = None
    error: str | None = None

    @property
    def verdict(self) -> Literal["good", "defect", "error"]:
        """Of the prediction; "error" where there is none."""
        return self.prediction.verdict if self.prediction else "error"

    def to_json(self) -> dict[str, Any]:
        """One line of `inspect --json` (docs/line.md); no map."""
        file = None if self.file is None else str(self.file)
        if self.prediction is None:
            return {"file": file, "verdict": "error", "error": self.error}
        p = self.prediction
        return {
            "file": file,
            "verdict": p.verdict,
            "score": p.score,
            "p_value": p.p_value,
            "threshold": p.threshold,
            "regions": [_told(region) for region in p.regions],
            **({"missing": p.missing} if p.missing else {}),
            "ms": round(p.ms, 3),
            "runtime": p.runtime,
        }


def _told(region: Region) -> dict[str, Any]:
    """A region's fields; those in mm only where a scale is known."""
    return {name: value for name, value in asdict(region).items() if value is not None}
