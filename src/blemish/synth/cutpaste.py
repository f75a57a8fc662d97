"""CutPaste: a rectangle of the image, laid elsewhere (Li et al. 2021, arXiv 2104.04015)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, require_range, spot, white
from blemish.synth.brush import attempt
from blemish.synth.colours import jitter
from blemish.synth.patches import lay, overlap


@dataclass(frozen=True, kw_only=True)
class CutPaste:
    """Defaults are the paper's.

    area: of the rectangle, shares of the image, above 0 to 0.5.
    aspect: height / width, 0.05 to 20; as often below 1 as above it.
    jitter: of brightness, contrast, saturation (factor 1 ± this) and hue (turns), 0 to 0.5.
    scar: a thin turned strip instead of a rectangle.
    scar_width, scar_length: of that strip, shares of the shorter side, above 0 to 1; the paper's
        2 to 16 and 10 to 25 of 256 pixels.
    scar_turn: degrees to either side, 0 to 90.
    """

    area: tuple[float, float] = (0.02, 0.15)
    aspect: tuple[float, float] = (0.3, 3.3)
    jitter: float = 0.1
    scar: bool = False
    scar_width: tuple[float, float] = (2 / 256, 16 / 256)
    scar_length: tuple[float, float] = (10 / 256, 25 / 256)
    scar_turn: float = 45.0

    def __post_init__(self) -> None:
        require_range("cutpaste.area", self.area, 1e-4, 0.5)
        require_range("cutpaste.aspect", self.aspect, 0.05, 20)
        require(0 <= self.jitter <= 0.5, "cutpaste.jitter", "from 0 to 0.5", self.jitter)
        require_range("cutpaste.scar_width", self.scar_width, 1e-4, 1)
        require_range("cutpaste.scar_length", self.scar_length, 1e-4, 1)
        require(0 <= self.scar_turn <= 90, "cutpaste.scar_turn", "from 0 to 90", self.scar_turn)


def cutpaste(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: CutPaste = CutPaste(),
) -> Altered:
    """Cuts a rectangle or a scar out of the image and pastes it elsewhere, a little recoloured;
    points stay as they are. The mask is the whole piece, also where it looks like what was there.

    where: for the piece's middle; it may then be cut by the image's border.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    size, top = (image.shape[0], image.shape[1]), white(image)

    def draw() -> Altered | None:
        piece = _scar(size, config, rng) if config.scar else _rectangle(size, config, rng)
        high, wide = piece.shape
        y, x = (
            int(rng.integers(long - side + 1)) for long, side in zip(size, piece.shape, strict=True)
        )
        light = image[y : y + high, x : x + wide].astype(np.float32) / np.float32(top)
        most = config.jitter
        light = jitter(light, rng, brightness=most, contrast=most, saturation=most, hue=most)
        inside, seen = overlap(_corner(size, (high, wide), where, rng), (high, wide), size)
        return lay(image, points, inside, light[seen] * np.float32(top), piece[seen])

    return attempt("cutpaste", draw)


def _corner(
    size: tuple[int, int], piece: tuple[int, int], where: Mask | None, rng: np.random.Generator
) -> tuple[int, int]:
    if where is None:
        y, x = (int(rng.integers(long - side + 1)) for long, side in zip(size, piece, strict=True))
        return y, x
    column, row = spot(size, where, rng)
    return int(row) - piece[0] // 2, int(column) - piece[1] // 2


def _rectangle(size: tuple[int, int], config: CutPaste, rng: np.random.Generator) -> Mask:
    """All True, of the drawn area and aspect, as far as the image has room."""
    area = rng.uniform(*config.area) * size[0] * size[1]
    aspect = np.exp(rng.uniform(*np.log(config.aspect)))
    high = int(np.clip(np.sqrt(area * aspect), 2, size[0] - 1))
    wide = int(np.clip(np.sqrt(area / aspect), 2, size[1] - 1))
    return np.ones((high, wide), np.bool_)


def _scar(size: tuple[int, int], config: CutPaste, rng: np.random.Generator) -> Mask:
    """A turned strip in its box."""
    shorter = min(size)
    wide = max(2.0, rng.uniform(*config.scar_width) * shorter)
    long = max(3.0, rng.uniform(*config.scar_length) * shorter)
    angle = rng.uniform(-config.scar_turn, config.scar_turn)
    corners = cv2.boxPoints(((0.0, 0.0), (wide, long), angle))
    corners = corners - corners.min(axis=0)
    box = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, np.array(size[::-1]) - 1)
    sheet = np.zeros((int(box[1]), int(box[0])), np.uint8)
    cv2.fillConvexPoly(sheet, np.rint(corners).astype(np.int32), 1)
    return np.asarray(sheet, np.bool_)
