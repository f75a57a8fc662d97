"""What should be there and is not: a chip off the part's edge, a feature that was never made, a
piece broken out of a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, merged, own_range, require_range, spot
from blemish.synth.brush import (
    Field,
    Window,
    attempt,
    blob,
    clouds,
    contrast,
    drawn,
    settle,
    soft,
    window,
)
from blemish.synth.part import find_part

_REACH = 2.6  # radii that an irregular shape stays within
_TELLING = 0.12  # of the image's own range that a gap must change on average: else all looks alike
_EDGE = 24  # px of border with the background that a part must have for one to be chipped off


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A piece that is gone.

    radius: shares of the shorter side, above 0 to 1; at least 3 px.
    chips: chance that it is an edge that is chipped off, where the part has an edge against a
        background, 0 to 1. All others are inside: half filled with what surrounds them, as a
        feature that was never made, half broken out, with a darker or lighter bottom.
    """

    radius: tuple[float, float] = (0.03, 0.12)
    chips: float = 0.6

    def __post_init__(self) -> None:
        require_range("missing.radius", self.radius, 1e-4, 1)
        require(0 <= self.chips <= 1, "missing.chips", "from 0 to 1", self.chips)


def missing(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Missing = Missing(),
) -> Altered:
    """Takes a piece away. Its points become (0, 0, 0): nothing is measured where nothing is.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    part = find_part(image)
    edge = None if part is None else _edge(part, where)
    levels = own_range(image)

    def draw() -> Altered | None:
        radius = max(3.0, drawn(config.radius, rng) * min(image.shape[:2]))
        if part is not None and edge is not None and rng.random() < config.chips:
            altered = _chip(image, part, edge, radius, levels, rng)
        elif rng.random() < 0.5:
            altered = _gap(image, where, radius, levels, rng)
        else:
            altered = _pit(image, where, radius, levels, rng)
        if altered is None or points is None:
            return altered
        left = np.where(altered.mask[..., None], np.float32(0), points)
        return Altered(image=altered.image, points=left, mask=altered.mask)

    return attempt("missing piece", draw)


def _edge(part: Mask, where: Mask | None) -> Mask | None:
    """Pixels of the part next to its background and to where a defect may lie; None if too few."""
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(part.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    edge = part & (inner == 0)
    if where is not None:
        edge &= where
    return edge if np.count_nonzero(edge) >= _EDGE else None


def _chip(
    image: Pixels,
    part: Mask,
    edge: Mask,
    radius: float,
    levels: float,
    rng: np.random.Generator,
) -> Altered | None:
    place = window(image.shape[:2], spot(image.shape[:2], edge, rng), _REACH * radius + 2)
    here = part[place.inside]
    shape = _jagged(place, radius, rng)
    inside = cv2.GaussianBlur(here.astype(np.float32), (0, 0), 1.0)
    before = image[place.inside].astype(np.float32)
    behind = _mirrored(before, ~here)
    share = soft(shape, 1.6)[..., None]
    broken = np.exp(-((shape / max(1.0, 0.06 * radius)) ** 2)) * np.clip(inside, 0, 1)
    shade = 1 + rng.uniform(-0.35, 0.15) * broken[..., None]
    painted = merged(here, share * behind + (1 - share) * before * shade, before)
    return settle(image, None, place, np.asarray(painted, np.float32), levels, grain=3)


def _gap(
    image: Pixels, where: Mask | None, radius: float, levels: float, rng: np.random.Generator
) -> Altered | None:
    place = _placed(image, where, radius, rng)
    shape = _jagged(place, radius, rng)
    outside = shape > 1.0
    if not outside.any():
        return None
    before = image[place.inside].astype(np.float32)
    around = _mirrored(before, outside)
    smooth = cv2.GaussianBlur(around, (0, 0), max(1.0, radius / 6)).reshape(around.shape)
    # Texture comes from next to the border; towards the middle its mirror images meet.
    deep = np.clip(-shape / radius, 0, 1)[..., None] * 0.5
    filled = (1 - deep) * around + deep * smooth
    change = np.abs(cv2.blur((filled - before).mean(axis=2), (5, 5)))[~outside]
    if change.size == 0 or float(change.mean()) < _TELLING * levels:
        return None
    share = soft(shape, 2.5)[..., None]
    return settle(image, None, place, share * filled + (1 - share) * before, levels, grain=5)


def _pit(
    image: Pixels, where: Mask | None, radius: float, levels: float, rng: np.random.Generator
) -> Altered | None:
    place = _placed(image, where, 0.7 * radius, rng)
    shape = _jagged(place, max(2.5, 0.7 * radius), rng)
    before = image[place.inside].astype(np.float32)
    lighter = rng.random() < 0.35
    amount = contrast(image[place.inside], levels) * rng.uniform(0.5, 0.9 if lighter else 1.6)
    # Broken material is rougher than the surface, and one of its walls lies in shadow.
    rough = clouds(place.size, max(1.2, radius / 16), rng) + clouds(place.size, radius / 4, rng)
    rough *= np.float32(0.13 * amount)
    along, _ = place.turned(rng.uniform(0, 2 * np.pi))
    wall = np.exp(-((shape / max(1.0, 0.2 * radius)) ** 2)) * np.clip(along / radius, -1, 1)
    smooth = cv2.GaussianBlur(before, (0, 0), max(1.0, radius / 5)).reshape(before.shape)
    bottom = 0.4 * before + 0.6 * smooth
    bottom = bottom + ((amount if lighter else -amount) + rough + 0.8 * amount * wall)[..., None]
    share = soft(shape, 1.6)[..., None]
    return settle(image, None, place, share * bottom + (1 - share) * before, levels, grain=3)


def _placed(image: Pixels, where: Mask | None, radius: float, rng: np.random.Generator) -> Window:
    size = image.shape[:2]
    return window(size, spot(size, where, rng, 0.05), _REACH * radius + 4)


def _jagged(place: Window, radius: float, rng: np.random.Generator) -> Field:
    """Signed distance from a broken shape: corners where it bent, splinters where it tore."""
    fine = clouds(place.size, max(1.5, radius / 5), rng) * radius * 0.06
    return np.asarray(blob(place, radius, rng, 0.28) + fine, np.float32)


def _mirrored(pixels: Field, source: npt.NDArray[Any]) -> Field:
    """Every pixel from the other side of the border of what is to be copied, as far beyond it as
    the pixel is before it. source: (h, w) bool, True where to copy from, somewhere."""
    nearest = cv2.distanceTransformWithLabels(
        (~source).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    places = np.zeros((int(nearest.max()) + 1, 2), np.intp)
    places[nearest[source]] = np.argwhere(source)
    border = places[nearest]
    v, u = np.indices(source.shape)
    beyond_v = np.clip(2 * border[..., 0] - v, 0, source.shape[0] - 1)
    beyond_u = np.clip(2 * border[..., 1] - u, 0, source.shape[1] - 1)
    good = source[beyond_v, beyond_u]
    rows = np.where(good, beyond_v, border[..., 0])
    return np.asarray(pixels[rows, np.where(good, beyond_u, border[..., 1])], np.float32)
