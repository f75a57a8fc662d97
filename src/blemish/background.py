"""What a part lies on, taken out of its scan: a plane by the picture's border, then the part.

The recipe that published figures on MVTec 3D-AD share, with a seed, without writing to the data,
and so that a second time changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.cache import keep
from blemish.errors import ConfigError
from blemish.records import Mask
from blemish.sensors import Scan

_VERSION = 1  # raise it whenever the same scan gives another mask
_JUDGES = 4096  # points of the border that the planes tried are judged by


@dataclass(frozen=True, kw_only=True)
class Background:
    """How the plane is found and what goes with it; lengths in the scan's unit (here metres).

    band: px along all four sides where only background lies. within: points so near a plane are on
    it. cut: points so near the plane found are taken out. gap: neighbours so near are of one part.
    tries: planes through three points of the band. share: of the band's pixels that must lie on the
    plane, 0 to 1; with fewer there is no background to take out. seed: of the tries.
    Raises ConfigError on numbers out of range.
    """

    band: int = 10
    within: float = 0.004
    cut: float = 0.005
    gap: float = 0.006
    tries: int = 1000
    share: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        above = min(self.band, self.within, self.cut, self.gap, self.tries)
        if not (above > 0 and 0 < self.share <= 1 and self.seed >= 0):
            raise ConfigError(
                "settings of a background must be above 0, its share at most 1 and its seed 0 or"
                f" more, but they are {self}. Change them."
            )


def without_background(scan: Scan, settings: Background = Background()) -> Scan:
    """The scan of the part alone: without the plane that the border lies on, and of what is left
    the largest connected piece. What is taken out becomes a hole; no other point changes."""
    plane = _plane(scan, settings)
    seen = scan.seen
    if plane is not None:
        off = np.abs(scan.points.astype(np.float64) @ plane[:3] + plane[3])
        seen = seen & (off > settings.cut)
    seen = _largest_piece(scan, seen, settings.gap)
    return Scan(points=np.where(seen[..., None], scan.points, np.float32(0)), seen=seen)


def kept_part(scan: Scan, folder: Path, settings: Background = Background()) -> Scan:
    """Like without_background; the mask of what is left is kept in `folder` and found there again
    by the scan's points and the settings.

    Nothing else is written, so that a second time changes nothing. Raises DataError if the folder
    cannot be written.
    """
    told = json.dumps([_VERSION, asdict(settings), scan.seen.shape]).encode()
    data = scan.points.tobytes() + np.packbits(scan.seen).tobytes()
    kept = folder / f"{hashlib.sha256(told + data).hexdigest()[:32]}.bits"
    bits = np.fromfile(kept, np.uint8) if kept.is_file() else np.empty(0, np.uint8)
    if len(bits) != -(-scan.seen.size // 8):
        part = without_background(scan, settings)
        keep(kept, np.packbits(part.seen).tobytes())
        return part
    kept.touch()  # the cache gives up first what was not used for longest
    seen = np.unpackbits(bits, count=scan.seen.size).astype(np.bool_).reshape(scan.seen.shape)
    seen &= scan.seen  # whatever lies in that file
    return Scan(points=np.where(seen[..., None], scan.points, np.float32(0)), seen=seen)


def _plane(scan: Scan, settings: Background) -> npt.NDArray[np.float64] | None:
    """(a, b, c, d) with |(a, b, c)| = 1 so that points on it give 0, or None."""
    border = np.ones(scan.seen.shape, np.bool_)
    border[settings.band : -settings.band, settings.band : -settings.band] = False
    points = scan.points[border & scan.seen].astype(np.float64)
    least = max(3, int(np.ceil(settings.share * np.count_nonzero(border))))
    if len(points) < least:
        return None
    rng = np.random.default_rng(settings.seed)
    middle = points.mean(0)
    points -= middle
    judges = points if len(points) <= _JUDGES else points[rng.choice(len(points), _JUDGES, False)]
    triples = points[rng.integers(len(points), size=(settings.tries, 3))]
    across = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    length = np.linalg.norm(across, axis=1)
    across, triples = across[length > 0], triples[length > 0]
    if len(across) == 0:
        return None
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    aside = (across * triples[:, 0]).sum(1)
    votes = (np.abs(judges @ across.T - aside) <= settings.within).sum(0)
    normal, shift = across[votes.argmax()], aside[votes.argmax()]
    for _ in range(3):  # the plane of all its points is steadier than that of three
        on = points[np.abs(points @ normal - shift) <= settings.within]
        if len(on) < least:
            return None
        normal = np.linalg.svd(on - on.mean(0), full_matrices=False)[2][2]
        shift = float(on.mean(0) @ normal)
    return np.array([*normal, -shift - middle @ normal])


def _largest_piece(scan: Scan, seen: Mask, gap: float) -> Mask:
    """Of pixels that are connected by steps of at most `gap`, the largest group."""
    if not seen.any():
        return seen
    # Pixels at even places, the steps between them at odd ones.
    twice = np.zeros((2 * seen.shape[0] - 1, 2 * seen.shape[1] - 1), np.uint8)
    twice[::2, ::2] = seen
    rows = np.linalg.norm(np.diff(scan.points, axis=0), axis=2) <= gap
    columns = np.linalg.norm(np.diff(scan.points, axis=1), axis=2) <= gap
    twice[1::2, ::2] = rows & seen[1:] & seen[:-1]
    twice[::2, 1::2] = columns & seen[:, 1:] & seen[:, :-1]
    labels = cv2.connectedComponents(twice, connectivity=4)[1][::2, ::2]
    counts = np.bincount(labels[seen].astype(np.intp))
    return np.asarray(seen & (labels == counts.argmax()))
