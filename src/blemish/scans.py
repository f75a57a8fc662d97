"""What any 3D sensor wrote → one organised grid of points, and which of them were seen.

Points lie pixel on pixel with the photograph. A hole is a hole in the mask: the zeros that stand in
the grid there are never points, and a sensor may measure (0, 0, 0) if it marks holes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.background import Background, kept_part, without_background
from blemish.clouds import points_from_depth, read_depth, read_disparity, read_tiff
from blemish.errors import ConfigError, DataError, ImageError, ShapeError
from blemish.exr import read_exr
from blemish.geometry import pitch
from blemish.images import read_bytes
from blemish.pointfiles import read_pcd, read_ply
from blemish.records import Mask, Sample
from blemish.sensors import Camera, Scan

__all__ = [
    "DEPTH_SUFFIXES",
    "POINT_SUFFIXES",
    "Camera",
    "Scan",
    "no_camera",
    "read_depth_file",
    "read_scan",
    "read_scan_file",
    "read_scene",
    "scan_files",
    "scan_of",
    "scan_of_depth",
    "scan_of_disparity",
]

POINT_SUFFIXES = (".tif", ".tiff", ".exr", ".npy", ".ply", ".pcd")
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".npy")
Reader = Callable[[Path], npt.NDArray[np.floating]]
_DEPTH_CHANNELS = ("Z", "Y", "V", "R")  # as programs name the only channel that matters


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


def read_scan(
    sample: Sample, size: tuple[int, int] | None = None, masks: Path | None = None
) -> Scan:
    """A sample's scan, without what the part lies on if its sensor says so.

    size, and what is raised: as of read_scene. masks: folder where it is kept which points are the
    part's, so that this is found out once (cache.backgrounds_folder()); None keeps nothing.

    Raises ImageError, too, if the points are not in metres, which the background is told by, and
    DataError if the folder cannot be written.
    """
    scan = read_scene(sample, size)
    if sample.sensor is None or not sample.sensor.background:
        return scan
    usual = Background()
    if pitch(scan) > usual.gap:
        raise ImageError(
            f"'{scan_files(sample)[0]}' must be in metres with neighbouring points at most"
            f" {usual.gap} apart for its background to be taken out, but they are"
            f" {pitch(scan):.3g} apart. Tell --depth-scale 0.001 for millimetres, or leave the"
            " background in (--keep-background)."
        )
    return without_background(scan, usual) if masks is None else kept_part(scan, masks, usual)


def scan_files(sample: Sample) -> tuple[Path, ...]:
    """The files that read_scan reads; none if the sample came without 3D data."""
    if sample.depth is not None and sample.points is None:
        told = sample.depth_range if sample.sensor is None else None
        return (sample.depth,) if told is None else (sample.depth, told)
    file = sample.points or sample.disparity
    return () if file is None else (file,)


def read_scene(sample: Sample, size: tuple[int, int] | None = None) -> Scan:
    """All that a sample's sensor saw.

    size: (H, W) of the photograph, which the scan must have; None takes any. Points are in metres,
    in the axes of their file; depth and disparity with a camera in the camera's axes (x right, y
    down, z away); Eyecandies' depth with its own focal length. Disparity without a camera has no
    metres: x and y are column and row, z is the disparity.

    Raises:
        DataError: the sample came without 3D data.
        ConfigError: it came with depth, and nobody said of which camera.
        ImageError: a file is damaged or not what it must be, or the scan has another size.
    """
    files = scan_files(sample)
    if not files:
        raise DataError(
            f"{sample.image} must come with points, depth or disparity, but none is there. Tell"
            " where they lie (--points, --depth or --disparity PATTERN), or take a method that"
            " needs photographs only."
        )
    try:
        scan = _read_scene(sample, size)
    except DataError as error:
        raise ImageError(f"{error} It belongs to '{sample.image}'.") from error
    if size is not None and scan.seen.shape != tuple(size):
        raise ImageError(
            f"'{files[0]}' must lie pixel on pixel with its photograph '{sample.image}' of"
            f" {size[0]} x {size[1]}, but is {scan.seen.shape[0]} x {scan.seen.shape[1]}. Export"
            " both at one size, before anything is cut or padded."
        )
    return scan


def _read_scene(sample: Sample, size: tuple[int, int] | None) -> Scan:
    sensor = sample.sensor
    scale = sensor.scale if sensor else 1.0
    if sample.points is not None:
        scan = read_scan_file(sample.points, size)
        return scan_of(scan.points.astype(np.float64) * scale, scan.seen) if scale != 1 else scan
    if sensor is not None and sensor.camera is not None:
        (file,) = scan_files(sample)
        return read_depth_file(file, sensor.camera, scale=scale, baseline=sensor.baseline)
    if sample.disparity is not None:
        near = _read_field(sample.disparity, scale)
        seen = np.isfinite(near) & (near > 0)
        rows, columns = np.indices(near.shape)
        return scan_of(np.stack([columns, rows, near], axis=2), seen)
    if sample.depth is None or sample.depth_range is None:
        raise ConfigError(no_camera(sample))
    return scan_of(points_from_depth(read_depth(sample.depth, sample.depth_range)))


def no_camera(sample: Sample) -> str:
    """What is said of depth that nobody can place."""
    return (
        f"'{sample.depth}' must come with the camera that places its depth in space, but nothing"
        " says which. Tell it: --depth '../depth/{stem}.*' --focal FX[,FY] in pixels, and"
        " --depth-scale if its numbers are not metres (0.001 for millimetres)."
    )


def read_scan_file(path: str | Path, size: tuple[int, int] | None = None) -> Scan:
    """Points of a TIFF, EXR, NPY, PLY or PCD file.

    size: (H, W) of a PLY or PCD that does not tell it. Raises ImageError if the file cannot be read
    or does not hold three numbers a pixel.
    """
    readers: dict[str, Reader] = {
        **dict.fromkeys((".tif", ".tiff"), read_tiff),
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
    scaled = _read_field(Path(path), scale)
    return (
        scan_of_depth(scaled, camera)
        if baseline is None
        else scan_of_disparity(scaled, camera, baseline)
    )


def _read_field(path: Path, scale: float) -> npt.NDArray[np.float64]:
    """(H, W) depth or disparity in the unit that scale makes of the file's."""
    _require_positive("the scale of depth or disparity", scale)
    readers: dict[str, Reader] = {
        ".png": read_disparity,
        **dict.fromkeys((".tif", ".tiff"), read_tiff),
        ".exr": _exr_depth,
        ".npy": _npy,
    }
    field = _read(path, readers, "depth or disparity")
    if field.ndim != 2 or field.size == 0:
        raise _not("(H, W) depth or disparity", path, field)
    return np.asarray(field.astype(np.float64) * scale)


def _require_positive(what: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ConfigError(
            f"{what} must be above 0, but is {value}. Take it from the camera's calibration."
        )


def _read(path: Path, readers: dict[str, Reader], what: str) -> npt.NDArray[np.floating]:
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
