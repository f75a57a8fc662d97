"""Files of points and depth as bytes, written by hand from their formats."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def exr(
    planes: dict[str, Array], compression: int = 0, *, corner: tuple[int, int] = (0, 0)
) -> bytes:
    """Scanlines of half or float channels; compression 0 (none), 2 (ZIPS) or 3 (ZIP)."""
    height, width = next(iter(planes.values())).shape
    names = sorted(planes)
    kinds = {"e": 1, "f": 2, "I": 0}
    channels = b"".join(
        name.encode() + b"\0" + struct.pack("<iIii", kinds[planes[name].dtype.char], 0, 1, 1)
        for name in names
    )
    window = struct.pack("<4i", corner[0], corner[1], corner[0] + width - 1, corner[1] + height - 1)
    header = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
    for name, kind, value in (
        ("channels", "chlist", channels + b"\0"),
        ("compression", "compression", bytes([compression])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0"
        header += struct.pack("<i", len(value)) + value
    header += b"\0"
    each = 16 if compression == 3 else 1
    blocks = []
    for top in range(0, height, each):
        lines = b"".join(
            planes[name][row].tobytes()
            for row in range(top, min(top + each, height))
            for name in names
        )
        packed = squeezed(lines) if compression else lines
        packed = packed if len(packed) < len(lines) else lines
        blocks.append(struct.pack("<ii", top + corner[1], len(packed)) + packed)
    starts = np.cumsum([len(header) + 8 * len(blocks), *map(len, blocks)])[:-1]
    return header + starts.astype("<u8").tobytes() + b"".join(blocks)


def squeezed(lines: bytes) -> bytes:
    """Even bytes, then odd ones; differences; zlib: as the format has it."""
    raw = np.frombuffer(lines, np.uint8)
    mixed = np.concatenate([raw[0::2], raw[1::2]]).astype(np.int64)
    steps = np.concatenate([mixed[:1], np.diff(mixed) + 128])
    return zlib.compress(steps.astype(np.uint8).tobytes())


def ply(points: Array, how: str = "binary_little_endian", told: str = "obj_info") -> bytes:
    """Vertices with a colour between y and z, as scanners write them."""
    height, width, _ = points.shape
    order = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[how]
    kind = points.dtype.newbyteorder(order)
    name = {4: "float", 8: "double"}[points.dtype.itemsize]
    head = f"ply\nformat {how} 1.0\n"
    head += f"{told} num_cols {width}\n{told} num_rows {height}\n" if told else ""
    head += f"element vertex {height * width}\nproperty {name} x\nproperty {name} y\n"
    head += f"property uchar red\nproperty {name} z\n"
    head += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    rows = np.zeros(height * width, [("x", kind), ("y", kind), ("red", "u1"), ("z", kind)])
    for i, axis in enumerate("xyz"):
        rows[axis] = points[..., i].ravel()
    if how == "ascii":
        return head.encode() + "".join(f"{' '.join(map(str, row))}\n" for row in rows).encode()
    return head.encode() + rows.tobytes()


def pcd(points: Array, how: str = "binary", *, flat: bool = False) -> bytes:
    """Points with four normals' worth of something else in between, as PCL writes them."""
    height, width, _ = points.shape
    size = (1, height * width) if flat else (height, width)
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y extra z\nSIZE 4 4 2 4\nTYPE F F U F\n"
    head += f"COUNT 1 1 4 1\nWIDTH {size[1]}\nHEIGHT {size[0]}\nVIEWPOINT 0 0 0 1 0 0 0\n"
    head += f"POINTS {height * width}\nDATA {how}\n"
    rows = np.zeros(height * width, [("x", "<f4"), ("y", "<f4"), ("extra", "<u2", 4), ("z", "<f4")])
    for i, axis in enumerate("xyz"):
        rows[axis] = points[..., i].ravel()
    if how == "ascii":
        lines = (f"{r['x']} {r['y']} 7 7 7 7 {r['z']}\n" for r in rows)
        return head.encode() + "".join(lines).encode()
    return head.encode() + rows.tobytes()
