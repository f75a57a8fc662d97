"""PLY and PCD files whose points come pixel by pixel, row after row."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.images import MAX_PIXELS, read_bytes

Points = npt.NDArray[np.float32]  # (H, W, 3)
Size = tuple[int, int]

_PLY_KINDS = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_ROWS, _COLUMNS = (
    re.compile(rf"^(?:obj_info|comment)\s+(?:{words})\s*[:=]?\s*(\d+)\s*$", re.M | re.I)
    for words in ("num_rows|rows|height", "num_cols|cols|columns|width")
)
_AXES = ("x", "y", "z")


def read_ply(path: str | Path, size: Size | None = None) -> Points:
    """(H, W, 3) float32 points as written, whatever marks missing ones.

    size: (H, W), where no comment or obj_info tells num_rows and num_cols (or height and width).
    Raises ImageError if the file is missing, damaged, not a PLY whose first element is H * W
    vertices with x, y and z, or nobody says how many rows and columns it has.
    """
    data = read_bytes(path)
    try:
        head, body = _split(data, b"end_header")
        if not head.startswith("ply"):
            raise ValueError("it does not begin with 'ply'")
        order = _PLY_ORDERS[_word(head, r"^format\s+(\S+)")]
        elements = re.split(r"^element\s+", head, flags=re.M)[1:]
        name, count = elements[0].split()[:2]
        if name != "vertex":
            raise ValueError(f"its first element is '{name}', not vertex")
        fields = re.findall(r"^property\s+(.+)$", elements[0], re.M)
        kinds = [(_last(field), _PLY_KINDS[field.split()[0]]) for field in fields]
        told = [found and int(found[1]) for found in (_ROWS.search(head), _COLUMNS.search(head))]
        wanted = _told(told, size)
        if int(count) != wanted[0] * wanted[1]:
            raise ValueError(f"it has {count} vertices for {wanted[0]} x {wanted[1]} pixels")
        return _grid(body, [(name, order + kind) for name, kind in kinds], wanted, order == "")
    except (ValueError, KeyError, IndexError) as error:
        raise _refused(path, "PLY", error) from error


def read_pcd(path: str | Path, size: Size | None = None) -> Points:
    """(H, W, 3) float32 points as written, whatever marks missing ones.

    size: (H, W), where the file's HEIGHT is 1: one long row. Raises ImageError if the file is
    missing, damaged, compressed, without x, y and z, or one long row of which nobody says the size.
    """
    data = read_bytes(path)
    try:
        head, body = _split(data, b"DATA")
        said = {line.split()[0]: line.split()[1:] for line in head.splitlines() if line.split()}
        how = said["DATA"][0]
        if how not in ("ascii", "binary"):
            raise ValueError(f"its DATA is {how}")
        names = said["FIELDS"]
        counts = [int(count) for count in said.get("COUNT", ["1"] * len(names))]
        letters = {"F": "f", "I": "i", "U": "u"}
        kinds = [
            (f"{name}{i}" if i else name, "<" + letters[letter] + width)
            for name, width, letter, count in zip(
                names, said["SIZE"], said["TYPE"], counts, strict=True
            )
            for i in range(count)
        ]
        there = int(said["HEIGHT"][0]), int(said["WIDTH"][0])
        wanted = _told([there[0] if there[0] > 1 else None, there[1]], size)
        if there[0] * there[1] != wanted[0] * wanted[1]:
            raise ValueError(f"it has {there[0] * there[1]} points for {wanted[0]} x {wanted[1]}")
        return _grid(body, kinds, wanted, how == "ascii")
    except (ValueError, KeyError, IndexError, TypeError) as error:  # TypeError: no number's SIZE
        raise _refused(path, "PCD", error) from error


def _refused(path: str | Path, kind: str, error: Exception) -> ImageError:
    said = f"{error} is not what is read there" if isinstance(error, KeyError) else str(error)
    return ImageError(
        f"'{path}' must be a {kind} file of points x, y, z pixel by pixel, ascii or binary, that"
        f" tells its rows and columns, but: {said}. Save it organised, or as NPY of (H, W, 3)."
    )


def _split(data: bytes, last: bytes) -> tuple[str, bytes]:
    """Header with the line that ends it, and what follows."""
    found = re.search(rb"^" + last + rb"\b[^\n]*\n", data[:65536], re.M)
    if found is None:
        raise ValueError(f"its header has no line '{last.decode()}'")
    return data[: found.end()].decode("latin-1").replace("\r", ""), data[found.end() :]


def _word(head: str, pattern: str) -> str:
    found = re.search(pattern, head, re.M)
    if found is None:
        raise ValueError("its header does not say its format")
    return found[1]


def _last(field: str) -> str:
    if field.split(maxsplit=1)[0] == "list":
        raise ValueError("its vertices have lists")
    return field.rsplit(maxsplit=1)[-1]


def _told(sides: list[int | None], size: Size | None) -> Size:
    rows, columns = sides
    if rows is not None and columns is not None:
        return rows, columns
    if size is None:
        raise ValueError("it does not say how many rows and columns its points have")
    return size


def _grid(body: bytes, kinds: list[tuple[str, str]], size: Size, text: bool) -> Points:
    count, names = size[0] * size[1], [name for name, _ in kinds]
    if not 0 < count <= MAX_PIXELS:
        raise ValueError(f"it is {size[0]} x {size[1]}")
    if text:
        columns = [names.index(axis) for axis in _AXES]
        if body.count(b"\n") + 1 < count:
            raise ValueError(f"it is cut short of its {count} points")
        lines = io.BytesIO(body)
        wide = np.loadtxt(
            lines, np.float64, usecols=columns, max_rows=count, ndmin=2, comments=None
        )
    else:
        kind = np.dtype(kinds)
        if len(body) < count * kind.itemsize:
            raise ValueError(f"it is cut short of its {count} points")
        rows = np.frombuffer(body, kind, count)
        wide = np.stack([rows[axis].astype(np.float64) for axis in _AXES], axis=1)
    if len(wide) != count:
        raise ValueError(f"it is cut short of its {count} points")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite: missing
        return wide.reshape(*size, 3).astype(np.float32)
