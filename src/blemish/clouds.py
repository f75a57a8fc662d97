"""What 3D sensors saw: depth, disparity, organised point clouds, normals.

Arrays lie pixel on pixel with the sample's photograph. Where nothing was measured they are 0, as
on disk. Pixel centres are at whole numbers: u is the column, v the row.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from blemish.errors import DataError, ImageError
from blemish.images import read_bytes, read_image
from blemish.tiffs import PLANAR

Field = npt.NDArray[np.float32]  # (H, W)
Cloud = npt.NDArray[np.float32]  # (H, W, 3): x, y, z
Pose = npt.NDArray[np.float64]  # (4, 4), camera to world, metres

EYECANDIES_FOCAL = 711.11  # pixels; the optical axis meets the middle of the image
_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"


def read_tiff(path: str | Path) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) numbers of a TIFF as written: 32-bit floats or 16 bits.

    Raises:
        ImageError: missing, damaged, or not of one or three such numbers pixel by pixel.
    """
    data = read_bytes(path)
    found = None if _in_planes(data) else _decoded(data)
    if (
        found is None
        or found.dtype not in (np.float32, np.uint16)
        or found.shape[2:] not in ((), (3,))
    ):
        raise ImageError(
            f"'{path}' must be a TIFF of one or three 32-bit floats a pixel, or 16-bit grey, but is"
            f" {'no such thing' if found is None else f'{found.dtype} of shape {found.shape}'}."
            " Copy it again, or write x, y and z pixel by pixel."
        )
    return np.ascontiguousarray(found[..., ::-1]) if found.ndim == 3 else found  # not BGR


def _in_planes(data: bytes) -> bool:
    """Whether a TIFF keeps x, y and z in separate planes, which OpenCV would mix up in silence."""
    try:
        tags = ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return bool(tags.get(PLANAR, 1) != 1)
    except Exception:  # whatever it stumbles over, this is no TIFF that OpenCV reads
        return True


def _decoded(data: bytes) -> npt.NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def read_depth(path: str | Path, depth_range: str | Path) -> Field:
    """(H, W) float32 metres of Eyecandies: png / 65535 · (max - min) + min.

    Raises:
        ImageError: the picture is damaged or not 16-bit grey.
        DataError: the range is missing, or min is not below max.
    """
    low, high = _range(Path(depth_range))
    return (_sixteen_bits(path) / 65535 * (high - low) + low).astype(np.float32)


def read_disparity(path: str | Path) -> Field:
    """(H, W) float32 disparity in the data set's own units, larger is nearer; missing is 0.

    Raises:
        ImageError: the picture is damaged or not 16-bit grey.
    """
    return _sixteen_bits(path).astype(np.float32)


def _sixteen_bits(path: str | Path) -> npt.NDArray[np.float64]:
    pixels = read_image(path)
    if pixels.dtype != np.uint16 or pixels.shape[2] != 1:
        raise ImageError(
            f"'{path}' must be grey of 16 bits, but is {pixels.dtype} of"
            f" {pixels.shape[2]} channels. Copy the original again: 8 bits have lost the depth."
        )
    return pixels[..., 0].astype(np.float64)


def _range(path: Path) -> tuple[float, float]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} must say which metres a depth stands for, but reading it stopped: {error}."
            " Unpack the data set again."
        ) from error
    found = [
        re.search(rf"\b{name}\s*:\s*{_NUMBER}\s*($|[,}}#])", text, re.M) for name in ("min", "max")
    ]
    try:
        low, high = (float(match[1]) if match else np.nan for match in found)
    except ValueError:
        low = high = np.nan
    if not low < high:
        raise DataError(
            f"{path} must have numbers min and max, in metres and min below max, but has {low} and"
            f" {high}. Unpack the data set again."
        )
    return low, high


def read_pose(path: str | Path) -> Pose:
    """(4, 4) float64 matrix that takes points of the camera to the world.

    Raises:
        DataError: missing, or not 16 finite numbers in 4 rows.
    """
    try:
        pose = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} must be a text file of 4 x 4 numbers, but reading it stopped: {error}."
            " Unpack the data set again."
        ) from error
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise DataError(
            f"{path} must hold 4 x 4 finite numbers, but holds {pose.shape[0]} x {pose.shape[1]}"
            f" of which {int(np.isfinite(pose).sum())} are finite. Unpack the data set again."
        )
    return pose


def points_from_depth(depth: Field, focal: float = EYECANDIES_FOCAL) -> Cloud:
    """(H, W, 3) float32 points in the camera's axes: x right, y down, z away.

    depth: (H, W) along the optical axis, metres; 0 where missing. focal: pixels. A pinhole camera
    whose axis meets (W / 2, H / 2): x = (u - W / 2) · depth / focal, and so y.

    >>> points_from_depth(np.full((2, 4), 0.5, np.float32), focal=2.0)[1, 0].tolist()
    [-0.5, 0.0, 0.5]
    """
    height, width = depth.shape
    v, u = np.indices(depth.shape)
    x = (u - width / 2) * depth / focal
    y = (v - height / 2) * depth / focal
    return np.stack([x, y, depth], axis=2).astype(np.float32)


def to_world(points: Cloud, pose: Pose) -> Cloud:
    """(H, W, 3) points of the camera in the world's axes; missing ones stay (0, 0, 0).

    The documentation of Eyecandies, which published methods copy, uses the inverse pose instead:
    pass np.linalg.inv(pose) to reproduce their figures.
    """
    moved = points @ pose[:3, :3].T + pose[:3, 3]
    return np.where(points.any(axis=2, keepdims=True), moved, 0).astype(np.float32)


def read_normals(path: str | Path, pose: Pose | None = None) -> Cloud:
    """(H, W, 3) float32 unit normals of Eyecandies: rgb / 127.5 - 1 at length 1, y and z flipped.

    pose: turns them into the world's axes; without it they stay in the camera's.

    Raises:
        ImageError: the picture is damaged or not 8-bit colour.
    """
    pixels = read_image(path)
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        raise ImageError(
            f"'{path}' must be colour of 8 bits, but is {pixels.dtype} of"
            f" {pixels.shape[2]} channels. Copy the original again."
        )
    normals = pixels / 127.5 - 1  # never of length 0: no 8-bit value maps to it
    normals *= np.array([1, -1, -1]) / np.linalg.norm(normals, axis=2, keepdims=True)
    return (normals if pose is None else normals @ pose[:3, :3].T).astype(np.float32)
