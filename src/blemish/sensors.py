"""3D sensors: where the files they write lie beside a photograph, how to read them, what they saw.

A sensor is told by a person or by a data set's layout, and kept in the model's manifest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from blemish.errors import ArtifactError, ConfigError
from blemish.patterns import require_pattern

Kind = Literal["points", "depth", "disparity"]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera. Pixel centres are at whole numbers: u is the column, v the row.

    focal: (fx, fy) px, above 0. centre: (cx, cy) px, where the optical axis meets the picture; None
    is its middle, ((W - 1) / 2, (H - 1) / 2). Raises ConfigError on other numbers.
    """

    focal: tuple[float, float]
    centre: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        every = np.array([*self.focal, *(self.centre or ())])
        if min(self.focal) <= 0 or not np.isfinite(every).all():
            raise ConfigError(
                "a camera must have two focal lengths above 0 and a finite centre, in pixels, but"
                f" has {self.focal} and {self.centre}. Take them from its calibration."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """An organised cloud.

    points: (H, W, 3) float32, x, y, z in the sensor's unit; 0 where not seen. seen: (H, W) bool.
    """

    points: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What one file of 3D data is, and where it lies.

    kind: "points" (x, y and z a pixel), "depth" (along the camera's axis) or "disparity" (of a
        stereo camera, larger is nearer).
    pattern: where the file lies, see patterns.py.
    camera: that depth needs. Disparity without one stays what it is: x and y are the pixel's column
        and row, z is the disparity.
    scale: what one of the file's units is: metres for points and depth (millimetres: 0.001), pixels
        for disparity (KITTI: 1 / 256).
    baseline: metres between the two cameras of a stereo camera, which places disparity in space.
    background: whether what the part lies on is taken out (background.py); its lengths are metres,
        so the points must be, too.

    Raises ConfigError on numbers out of range and on what does not go together.

    >>> sensor = Sensor(kind="points", pattern="../scans/{stem}.ply", scale=0.001)
    >>> Sensor.from_json(sensor.as_json()) == sensor
    True
    """

    kind: Kind
    pattern: str
    camera: Camera | None = None
    scale: float = 1.0
    baseline: float | None = None
    background: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _TOGETHER:
            raise ConfigError(
                f"the kind of a sensor must be one of {', '.join(_TOGETHER)}, but is"
                f" {self.kind[:50]!r}. Choose what its files hold."
            )
        require_pattern(self.pattern, f"the pattern of {self.kind} (--{self.kind})")
        for what, value in (("scale (--depth-scale)", self.scale), _named_baseline(self.baseline)):
            if not 0 < value < np.inf:
                raise ConfigError(
                    f"the {what} of a sensor must be above 0 and finite, but is {value}."
                    " Take it from the camera's calibration."
                )
        told = (self.camera is not None, self.baseline is not None)
        allowed, must = _TOGETHER[self.kind]
        if told not in allowed:
            raise ConfigError(
                f"a sensor of {self.kind} must have {must}, but has"
                f" {'a' if told[0] else 'no'} camera and {'a' if told[1] else 'no'} baseline."
                " The camera is told by --focal FX[,FY] in pixels."
            )
        if self.background and self.kind == "disparity" and self.camera is None:
            raise ConfigError(
                "points must be in metres for their background to be taken out, but disparity"
                " without a camera is in pixels. Tell --focal and --baseline, or leave the"
                " background in (--keep-background)."
            )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_json(cls, stored: object) -> Sensor:
        """The sensor that as_json told. Raises ArtifactError on anything else."""
        names = [field.name for field in fields(cls)]
        try:
            told = _object(stored, names)
            if not isinstance(told["kind"], str) or type(told["background"]) is not bool:
                raise ValueError("kind is a word, background true or false")
            return cls(
                kind=cast(Kind, told["kind"]),
                pattern=told["pattern"],
                camera=None if told["camera"] is None else _camera(told["camera"]),
                scale=_number(told["scale"]),
                baseline=None if told["baseline"] is None else _number(told["baseline"]),
                background=told["background"],
            )
        except (ValueError, ConfigError, OverflowError) as error:
            raise ArtifactError(
                f"a model's sensor must have {', '.join(names)} as blemish fit writes them, but is"
                f" {str(stored)[:200]} ({error}). Copy the model again, or fit again."
            ) from error


# Kind → whether there may be (a camera, a baseline), and that in words.
_TOGETHER: dict[Kind, tuple[tuple[tuple[bool, bool], ...], str]] = {
    "points": (((False, False),), "neither camera nor baseline, because its points are placed"),
    "depth": (((True, False),), "a camera and no baseline"),
    "disparity": (((False, False), (True, True)), "a camera and a baseline, or neither"),
}


def _named_baseline(baseline: float | None) -> tuple[str, float]:
    return "baseline (--baseline)", 1.0 if baseline is None else baseline


def _object(stored: object, names: list[str]) -> dict[str, Any]:
    if not isinstance(stored, dict) or set(stored) != set(names):
        raise ValueError(f"an object of {', '.join(names)}")
    return stored


def _number(stored: object) -> float:
    if type(stored) not in (int, float):
        raise ValueError(f"{str(stored)[:50]!r} is no number")
    return float(stored)  # type: ignore[arg-type]


def _pair(stored: object) -> tuple[float, float]:
    if not isinstance(stored, (list, tuple)) or len(stored) != 2:
        raise ValueError(f"{str(stored)[:50]!r} is no pair of numbers")
    return _number(stored[0]), _number(stored[1])


def _camera(stored: object) -> Camera:
    told = _object(stored, ["focal", "centre"])
    centre = None if told["centre"] is None else _pair(told["centre"])
    return Camera(focal=_pair(told["focal"]), centre=centre)
