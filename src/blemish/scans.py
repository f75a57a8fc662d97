"""What any 3D sensor wrote → one organised grid of points, and which of them were seen.

Points lie pixel on pixel with the photograph. A hole is a hole in the mask: the zeros that stand in
the grid there are never points, and a sensor may measure (0, 0, 0) if it marks holes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud, read_cloud, read_disparity, read_tiff
from blemish.errors import ConfigError, ImageError, ShapeError
from blemish.exr import read_exr
from blemish.images import read_bytes
from blemish.pointfiles import read_pcd, read_ply
from blemish.records import Mask, Sample

_DEPTH_CHANNELS = ("Z", "Y", "V", "R")  # as programs name the only channel that matters


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """An organised cloud.

    points: (H, W, 3) float32, x, y, z in the sensor's unit; 0 where not seen. seen: (H, W) bool.
    """

    points: Cloud
    seen: Mask


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


def scan_of(points: npt.NDArray[np.floating], seen: Mask | None = None) -> Scan:
    """A scan from (H, W, 3) points of any float type.

    seen: (H, W) bool; None takes every point but (0, 0, 0). NaN and infinity are holes always.
    Raises ShapeError on other shapes.

    >>> scan_of(np.array([[[0, 0, 0], [1, 2, np.nan], [1, 2, 3]]])).seen.tolist()
    [[False, False, True]]
    """
    if points.ndim != 3 or points.shape[2] != 3 or points.size == 0:
        raise ShapeError(
            f"points of a scan must be (H, W, 3), one a pixel, but are {points.shape}."
            " Arrange them row by row."
        )
    if seen is not None and seen.shape != points.shape[:2]:
        raise ShapeError(
            f"the mask of a scan must have its points' size {points.shape[:2]}, but has"
            f" {seen.shape}. Make both from the same file."
        )
    with np.errstate(over="ignore"):
        narrow = points.astype(np.float32)
    marked = narrow.any(axis=2) if seen is None else seen
    there = np.asarray(np.isfinite(narrow).all(axis=2) & marked, np.bool_)
    return Scan(points=np.where(there[..., None], narrow, np.float32(0)), seen=there)


def scan_of_depth(depth: npt.NDArray[np.floating], camera: Camera) -> Scan:
    """A scan in the camera's axes (x right, y down, z away) from (H, W) depth along its axis.

    The points' unit is that of the depth; what is 0, negative, NaN or infinite was not seen. Raises
    ShapeError on other shapes.

    >>> scan_of_depth(np.full((1, 3), 2.0), Camera(focal=(2, 2))).points[0, :, 0].tolist()
    [-1.0, 0.0, 1.0]
    """
    if depth.ndim != 2 or depth.size == 0:
        raise ShapeError(
            f"depth must be (H, W), one number a pixel, but is {depth.shape}. Take one channel."
        )
    height, width = depth.shape
    cx, cy = camera.centre or ((width - 1) / 2, (height - 1) / 2)
    v, u = np.indices(depth.shape)
    seen = np.isfinite(depth) & (depth > 0)
    z = np.where(seen, depth, 0).astype(np.float64)
    x, y = (u - cx) / camera.focal[0] * z, (v - cy) / camera.focal[1] * z
    return scan_of(np.stack([x, y, z], axis=2), seen)


def scan_of_disparity(disparity: npt.NDArray[np.floating], camera: Camera, baseline: float) -> Scan:
    """A scan from (H, W) stereo disparity in pixels: z = fx * baseline / disparity.

    baseline: between the two cameras, in the unit that the points shall have, above 0. What is 0,
    negative, NaN or infinite was not seen. Raises ConfigError on the baseline, ShapeError.
    """
    _require_positive("the baseline of a stereo camera", baseline)
    with np.errstate(divide="ignore", over="ignore"):
        depth = np.divide(
            camera.focal[0] * baseline,
            disparity,
            out=np.zeros(disparity.shape, np.float64),
            where=np.isfinite(disparity) & (disparity > 0),
        )
    return scan_of_depth(depth, camera)


def read_scan(sample: Sample) -> Scan:
    """A sample's scan, whatever its sensor wrote; axes and units as in clouds.read_cloud, which
    says what it raises."""
    return scan_of(read_cloud(sample))


def read_scan_file(path: str | Path, size: tuple[int, int] | None = None) -> Scan:
    """Points of a TIFF, EXR, NPY, PLY or PCD file.

    size: (H, W) of a PLY or PCD that does not tell it. Raises ImageError if the file cannot be read
    or does not hold three numbers a pixel.
    """
    readers: dict[str, Callable[[Path], npt.NDArray[np.floating]]] = {
        ".tif": read_tiff,
        ".tiff": read_tiff,
        ".exr": _exr_points,
        ".npy": _npy,
        ".ply": lambda path: read_ply(path, size),
        ".pcd": lambda path: read_pcd(path, size),
    }
    points = _read(Path(path), readers, "points")
    if points.ndim != 3 or points.shape[2] != 3 or points.size == 0:
        raise _not("(H, W, 3) points", path, points)
    return scan_of(points)


def read_depth_file(
    path: str | Path, camera: Camera, *, scale: float = 1.0, baseline: float | None = None
) -> Scan:
    """Depth, or with a baseline disparity, of a 16-bit PNG or TIFF, 32-bit TIFF, EXR or NPY file.

    scale: what one of the file's units is, metres for depth (a PNG of millimetres: 0.001), pixels
    for disparity (KITTI: 1 / 256). baseline: metres between two cameras: the file holds disparity.
    Raises ImageError if the file cannot be read or has more than one number a pixel, ConfigError on
    a scale or a baseline that is not above 0.
    """
    _require_positive("the scale of depth or disparity", scale)
    readers: dict[str, Callable[[Path], npt.NDArray[np.floating]]] = {
        ".png": read_disparity,
        ".tif": read_tiff,
        ".tiff": read_tiff,
        ".exr": _exr_depth,
        ".npy": _npy,
    }
    field = _read(Path(path), readers, "depth or disparity")
    if field.ndim != 2 or field.size == 0:
        raise _not("(H, W) depth or disparity", path, field)
    scaled = field.astype(np.float64) * scale
    return (
        scan_of_depth(scaled, camera)
        if baseline is None
        else scan_of_disparity(scaled, camera, baseline)
    )


def _require_positive(what: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ConfigError(
            f"{what} must be above 0, but is {value}. Take it from the camera's calibration."
        )


def _read(
    path: Path, readers: dict[str, Callable[[Path], npt.NDArray[np.floating]]], what: str
) -> npt.NDArray[np.floating]:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ImageError(
            f"'{path}' must be a file of {what} ({', '.join(readers)}), but ends in"
            f" '{path.suffix}'. Convert it, or give it the ending of what it is."
        )
    return reader(path)


def _not(what: str, path: str | Path, found: npt.NDArray[np.floating]) -> ImageError:
    return ImageError(
        f"'{path}' must hold {what}, but holds numbers of shape {found.shape}. Save it so."
    )


def _npy(path: Path) -> npt.NDArray[np.floating]:
    read_bytes(path)  # says what is missing or empty
    try:
        # mapped: a header that promises more than there is then costs no memory
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise ValueError("it holds no numbers")
        return np.asarray(found, np.float64)
    except Exception as error:  # its header is read as Python's source, which fails in many ways
        raise ImageError(
            f"'{path}' must be a NPY file of numbers, but: {error}. Save it with numpy.save."
        ) from error


def _exr_points(path: Path) -> npt.NDArray[np.floating]:
    planes = read_exr(path)
    for names in ("XYZ", "xyz", "RGB"):
        if all(name in planes for name in names):
            return np.stack([planes[name] for name in names], axis=2)
    raise ImageError(
        f"'{path}' must have channels X, Y and Z, or R, G and B, but has {sorted(planes)}."
        " Save points under these names."
    )


def _exr_depth(path: Path) -> npt.NDArray[np.floating]:
    planes = read_exr(path)
    named = [name for name in _DEPTH_CHANNELS if name in planes]
    if len(planes) > 1 and not named:
        raise ImageError(
            f"'{path}' must have one channel, or one of {_DEPTH_CHANNELS}, but has"
            f" {sorted(planes)}. Save depth as channel Z."
        )
    return planes[named[0]] if named else next(iter(planes.values()))
