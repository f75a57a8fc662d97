"""Blobs of foreign texture: gradient noise (Perlin 1985) cut at a level, as DRAEM and STLM do
(arXiv 2108.07610, 2402.19145)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, require_range, spot, white
from blemish.synth.brush import attempt
from blemish.synth.colours import Light, jitter
from blemish.synth.patches import Place, Size, lay, overlap
from blemish.synth.textures import texture

Field = npt.NDArray[np.float32]  # (h, w)
_FINEST = 512  # px a side; noise of at most 64 cells is as smooth enlarged as drawn larger


@dataclass(frozen=True, kw_only=True)
class Perlin:
    """Defaults are STLM's, but for own_texture, which is 0 there.

    octaves: the noise has 2^t cells along each side, t drawn from these for each, whole numbers
        from 0 to 6.
    level: noise above it is defect, 0 to 1; the noise goes from -1 to 1.
    keep: how much of the image shows through, shares, 0 to 0.95.
    own_texture: how often the texture is the image's own, cut to pieces and shuffled, 0 to 1.
    textures: folder of pictures for the other times (see textures.py); None draws them.
    """

    octaves: tuple[int, int] = (0, 5)
    level: float = 0.5
    keep: tuple[float, float] = (0.0, 0.8)
    own_texture: float = 0.5
    textures: str | None = None

    def __post_init__(self) -> None:
        require_range("perlin.octaves", self.octaves, 0, 6)
        require(0 <= self.level <= 1, "perlin.level", "from 0 to 1", self.level)
        require_range("perlin.keep", self.keep, 0, 0.95)
        chance = self.own_texture
        require(0 <= chance <= 1, "perlin.own_texture", "from 0 to 1", chance)


def perlin(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Perlin = Perlin(),
) -> Altered:
    """Blends texture into blobs, (1 - k) · texture + k · image; points stay as they are.

    where: only blobs whose middle (of their box) lies there are kept; if none does, one is moved.
    A draw without blobs, or that nobody could see, is drawn again.

    Raises:
        ShapeError: see base.check.
        DataError: the folder of textures has no pictures. ImageError: one cannot be read.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    size = (image.shape[0], image.shape[1])

    def draw() -> Altered | None:
        mask = perlin_mask(size, rng, config)
        if where is not None and mask.any():
            mask = _moved(mask, where, rng)
        if not mask.any():
            return None
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        place = (slice(y, y + height), slice(x, x + width))
        inside = mask[place]
        foreign = _foreign(image, place, inside, rng, config) * np.float32(white(image))
        keep = np.float32(rng.uniform(*config.keep))
        painted = image[place].astype(np.float32)
        painted[inside] = (1 - keep) * foreign + keep * painted[inside]
        return lay(image, points, place, painted, inside)

    return attempt("perlin blob", draw)


def perlin_mask(size: Size, rng: np.random.Generator, config: Perlin = Perlin()) -> Mask:
    """(H, W) bool, True in 5 % of an image on average; now and then empty.

    The noise fills the image as if it were square, turns by up to 90 degrees either way, and what
    came in over the border is no defect.
    """
    low, high = config.octaves
    cells = 2 ** rng.integers(low, high + 1, 2)
    angle = rng.uniform(-np.pi / 2, np.pi / 2)
    small = (min(size[0], _FINEST), min(size[1], _FINEST))
    v, u = (
        (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side) - np.float32(0.5)
        for side in small
    )
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across = cos * u[None] + sin * v[:, None] + np.float32(0.5)
    down = cos * v[:, None] - sin * u[None] + np.float32(0.5)
    outside = (np.abs(across - 0.5) > 0.5) | (np.abs(down - 0.5) > 0.5)
    noise = gradient_noise(down * np.float32(cells[0]), across * np.float32(cells[1]), rng)
    noise[outside] = 0
    if small != size:
        noise = np.asarray(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR))
    return np.asarray(noise > config.level)


def gradient_noise(down: Field, across: Field, rng: np.random.Generator) -> Field:
    """Perlin's noise at these places, in cells: about -1 to 1, 0 on whole numbers.

    Every knot of the grid has a random slope; between four knots their planes are blended with
    6 t^5 - 15 t^4 + 10 t^3, and the sum is stretched by the square root of 2.

    >>> places = np.array([[2.0, 5.0]], np.float32)
    >>> float(np.abs(gradient_noise(places, places, np.random.default_rng(0))).max())
    0.0
    """
    top, left = np.floor(down), np.floor(across)
    v, u = down - top, across - left
    row, column = (top - top.min()).astype(np.intp), (left - left.min()).astype(np.intp)
    wide = int(column.max()) + 2
    angle = rng.random((int(row.max()) + 2) * wide, np.float32) * np.float32(2 * np.pi)
    slope_x, slope_y = np.cos(angle), np.sin(angle)
    knot = row * wide + column
    planes = [
        slope_x[knot + dy * wide + dx] * (u - dx) + slope_y[knot + dy * wide + dx] * (v - dy)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    s, t = (part * part * part * (part * (part * 6 - 15) + 10) for part in (u, v))
    upper, lower = planes[0] + s * (planes[1] - planes[0]), planes[2] + s * (planes[3] - planes[2])
    return np.asarray((upper + t * (lower - upper)) * np.sqrt(np.float32(2)), np.float32)


def _moved(mask: Mask, where: Mask, rng: np.random.Generator) -> Mask:
    """The blobs that lie where they may, or one that is moved there."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    boxes = stats[1:, :4]
    middles = boxes[:, :2] + (boxes[:, 2:] - 1) // 2
    good = np.flatnonzero(where[middles[:, 1], middles[:, 0]])
    if len(good):
        kept = np.zeros(count, np.bool_)
        kept[good + 1] = True
        return np.asarray(kept[labels])
    areas = stats[1:, cv2.CC_STAT_AREA]
    chosen = int(rng.choice(count - 1, p=areas / areas.sum()))  # a few pixels make no defect
    left, top, width, height = boxes[chosen].tolist()
    blob = labels[top : top + height, left : left + width] == chosen + 1
    size = (mask.shape[0], mask.shape[1])
    x, y = spot(size, where, rng)
    corner = (int(y) - (height - 1) // 2, int(x) - (width - 1) // 2)
    inside, seen = overlap(corner, (height, width), size)
    moved = np.zeros(size, np.bool_)
    moved[inside] = blob[seen]
    return moved


def _foreign(
    image: Pixels, place: Place, inside: Mask, rng: np.random.Generator, config: Perlin
) -> Light:
    """(N, C) of texture for the pixels inside the mask of a place, 0 to 1."""
    size = (inside.shape[0], inside.shape[1])
    if rng.random() >= config.own_texture:
        return np.asarray(texture(size, image.shape[2], rng, config.textures)[inside], np.float32)
    y, x = (
        int(rng.integers(long - side + 1)) for long, side in zip(image.shape, size, strict=False)
    )
    piece = image[y : y + size[0], x : x + size[1]]
    piece = _shuffled(piece[:: rng.choice((1, -1)), :: rng.choice((1, -1))], rng)
    light = piece[inside][None].astype(np.float32) / np.float32(white(image))
    light = jitter(light, rng, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    return np.asarray(light[0], np.float32)


def _shuffled(piece: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut into up to 8 x 8 equal tiles that change places; what is left over stays."""
    down, across = (min(int(rng.integers(2, 9)), side) for side in piece.shape[:2])
    high, wide = piece.shape[0] // down, piece.shape[1] // across
    even = piece[: down * high, : across * wide]
    tiles = even.reshape(down, high, across, wide, -1).swapaxes(1, 2)
    mixed = tiles.reshape(down * across, high, wide, -1)[rng.permutation(down * across)]
    shuffled = piece.copy()
    shuffled[: down * high, : across * wide] = (
        mixed.reshape(tiles.shape).swapaxes(1, 2).reshape(even.shape)
    )
    return shuffled
