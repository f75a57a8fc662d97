"""Natural-looking strangers: a piece of a good image grown into another place (NSA, Schlüter et al.
2022, arXiv 2109.15222), by Poisson image editing (Pérez et al. 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.errors import ShapeError
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, greatest, own_range, require_range, spot
from blemish.synth.brush import attempt, blob, drawn, settle, soft, window

Field = npt.NDArray[np.float32]  # (h, w, C)
_MARGIN = 0.05  # of each side, where no middle lies unless asked for


@dataclass(frozen=True, kw_only=True)
class Transplant:
    """Pieces as large as NSA's, of rounder shape.

    radius: of the piece, shares of the image's shorter side, above 0 to 0.5; at least 3 px.
    scale: how much larger the piece gets on its way, 0.2 to 5.
    gain: how much its contrast grows, 0.1 to 5.
    mixed: where the place's own edges are stronger than the piece's, they stay.
    least: mean change inside the mask below which a draw does not count, shares of the image's own
        range, 0 to 0.5: a piece grown into the like of it is no defect.
    """

    radius: tuple[float, float] = (0.04, 0.2)
    scale: tuple[float, float] = (0.7, 1.3)
    gain: tuple[float, float] = (1.0, 1.5)
    mixed: bool = False
    least: float = 0.05

    def __post_init__(self) -> None:
        require_range("transplant.radius", self.radius, 1e-4, 0.5)
        require_range("transplant.scale", self.scale, 0.2, 5)
        require_range("transplant.gain", self.gain, 0.1, 5)
        require(0 <= self.least <= 0.5, "transplant.least", "from 0 to 0.5", self.least)


def transplant(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Transplant = Transplant(),
    source: Pixels | None = None,
) -> Altered:
    """Grows a piece of `source`, or of the image itself, into the image; points stay as they are.

    The mask is where that can be seen (brush.settle): far less than the piece where both are alike.

    source: (h, w, C) of the image's type and channels, at least 16 px a side.

    Raises:
        ShapeError: see base.check; or source does not fit the image.
        SynthError: no draw could be seen, as on an image without any texture.
    """
    check(image, points, where)
    giver = image if source is None else source
    if source is not None:
        check(source, None, None)
        if source.dtype != image.dtype or source.shape[2] != image.shape[2]:
            raise ShapeError(
                f"source must be {image.dtype} of {image.shape[2]} channels, like the image, but is"
                f" {source.dtype} of {source.shape[2]}. Take both from the same camera."
            )
    size, levels = (image.shape[0], image.shape[1]), own_range(image)

    def draw() -> Altered | None:
        radius = max(3.0, drawn(config.radius, rng) * min(size))
        place = window(size, spot(size, where, rng, _MARGIN), 2 * radius + 3)
        before = image[place.inside].astype(np.float32)
        piece = _piece(giver, place.size, config, rng)
        share = soft(blob(place, radius, rng), max(2.0, 0.15 * radius))
        grown = poisson(before, piece, share, config.mixed)
        altered = settle(image, points, place, grown, levels, grain=3)
        if altered is None:
            return None
        change = greatest(np.abs(altered.image[place.inside].astype(np.float32) - before))
        far = change[altered.mask[place.inside]].mean() >= config.least * levels
        return altered if far else None

    return attempt("transplant", draw)


def _piece(
    giver: Pixels, size: tuple[int, int], config: Transplant, rng: np.random.Generator
) -> Field:
    """(h, w, C) of this size, cut out anywhere, scaled, flipped, with more or less contrast."""
    scale = drawn(config.scale, rng)
    cut = [
        min(max(3, round(side / scale)), most)
        for side, most in zip(size, giver.shape, strict=False)
    ]
    y, x = (
        int(rng.integers(long - side + 1)) for long, side in zip(giver.shape, cut, strict=False)
    )
    piece = giver[y : y + cut[0], x : x + cut[1]][:: rng.choice((1, -1)), :: rng.choice((1, -1))]
    large = cv2.resize(np.ascontiguousarray(piece, np.float32), size[::-1])
    return np.asarray(large, np.float32).reshape(*size, -1) * np.float32(drawn(config.gain, rng))


def poisson(
    before: Field, piece: Field, share: npt.NDArray[np.float32], mixed: bool = False
) -> Field:
    """(h, w, C): differences between neighbours are those of the piece where share is 1 and those
    of before where it is 0, as nearly as one picture can have them; the outermost pixels stay.

    share: (h, w), 0 to 1. mixed: the larger difference of the two is taken where share is above 0.
    Solves Δ(f - before) = div(share · (∇piece - ∇before)) with sines, which the border's zeros
    allow.
    """
    source: npt.NDArray[Any] = np.zeros(before.shape, np.float64)
    for axis in (0, 1):
        old, new = np.diff(before, axis=axis), np.diff(piece, axis=axis)
        if mixed:
            new = np.where(np.abs(old) > np.abs(new), old, new)
        near, far = (
            (slice(None, -1), slice(1, None))
            if axis == 0
            else ((slice(None), slice(None, -1)), (slice(None), slice(1, None)))
        )
        flow = ((share[near] + share[far]) / 2)[..., None] * (new - old)
        source[near] += flow
        source[far] -= flow
    inner = source[1:-1, 1:-1]
    rows, columns = (
        2 * np.cos(np.pi * np.arange(1, side + 1) / (side + 1)) - 2 for side in inner.shape[:2]
    )
    waves = _sines(_sines(inner, 0), 1) / (rows[:, None] + columns)[..., None]
    change = _sines(_sines(waves, 0), 1) * (4 / ((len(rows) + 1) * (len(columns) + 1)))
    grown = before.copy()
    grown[1:-1, 1:-1] += change.astype(np.float32)
    return grown


def _sines(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Sums of values · sin(π i k / (n + 1)) along an axis; done twice, (n + 1) / 2 · values."""
    still = np.zeros_like(values.take([0], axis))
    odd = np.concatenate([still, values, still, -np.flip(values, axis)], axis)
    heard = np.fft.rfft(odd, axis=axis).imag / -2
    return np.asarray(heard.take(np.arange(1, values.shape[axis] + 1), axis))
