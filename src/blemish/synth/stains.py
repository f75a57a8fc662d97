"""What soils a surface or spoils its picture: stains, scorch marks, places out of focus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.synth.base import Altered, check, own_range, require_range, spot
from blemish.synth.brush import (
    Field,
    Window,
    attempt,
    blob,
    clouds,
    drawn,
    settle,
    soft,
    window,
)

_MARGIN = 0.05  # of each side, where no middle lies unless asked for
_REACH = 2.6  # radii that an irregular shape stays within
# How much light each colour loses on its way through a layer: tea, oil, ink, rust, water.
_DYES = ((0.5, 0.8, 1.4), (0.7, 0.8, 1.1), (1.3, 1.0, 0.5), (0.4, 1.0, 1.5), (0.9, 0.9, 0.9))
_BROWN = (0.75, 1.05, 1.45)  # the same, of what has been burnt


@dataclass(frozen=True, kw_only=True)
class Stain:
    """A dried drop: a veil that darkens or lightens, a denser rim, the texture shows through.

    radius: shares of the shorter side, above 0 to 1; at least 3 px.
    density: 0.7 takes half of the light, or lays as much haze on; above 0 to 5.
    rim: how much denser than the middle the rim is, 0 to 3.
    """

    radius: tuple[float, float] = (0.03, 0.13)
    density: tuple[float, float] = (0.12, 0.9)
    rim: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        require_range("stain.radius", self.radius, 1e-4, 1)
        require_range("stain.density", self.density, 1e-3, 5)
        require_range("stain.rim", self.rim, 0, 3)


@dataclass(frozen=True, kw_only=True)
class Scorch:
    """A burn: brown towards its rim, darker towards its middle, without a sharp border.

    radius: shares of the shorter side, above 0 to 1; at least 4 px.
    density: in the middle; 0.7 takes half of the light, above 0 to 5.
    """

    radius: tuple[float, float] = (0.05, 0.18)
    density: tuple[float, float] = (0.25, 2.0)

    def __post_init__(self) -> None:
        require_range("scorch.radius", self.radius, 1e-4, 1)
        require_range("scorch.density", self.density, 1e-3, 5)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """A place out of focus, as under a drop of oil on the lens or a raised spot.

    radius: shares of the shorter side, above 0 to 1; at least 4 px.
    sigma: of the Gaussian, shares of the shorter side, above 0 to 0.2; at least 0.8 px.
    """

    radius: tuple[float, float] = (0.06, 0.2)
    sigma: tuple[float, float] = (0.005, 0.02)

    def __post_init__(self) -> None:
        require_range("blur.radius", self.radius, 1e-4, 1)
        require_range("blur.sigma", self.sigma, 1e-5, 0.2)


def stain(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Stain = Stain(),
) -> Altered:
    """Lays a stain on the photograph; points stay as they are.

    Light that passes a layer of density d keeps exp(-d) of itself (Beer and Lambert); a light
    stain adds haze instead, 1 - exp(-d) of the way to the image's brightest.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    levels = own_range(image)

    def draw() -> Altered | None:
        radius = max(3.0, drawn(config.radius, rng) * min(image.shape[:2]))
        place = _placed(image, radius, where, rng)
        edge = blob(place, radius, rng)
        layer = _layer(edge, place, radius, drawn(config.rim, rng), rng) * drawn(
            config.density, rng
        )
        before = image[place.inside].astype(np.float32)
        dye = np.array(_DYES[rng.integers(len(_DYES))], np.float32)
        if rng.random() < 0.3:
            painted = _hazed(before, layer, float(np.percentile(before, 99)), levels)
        else:
            painted = before * np.exp(-layer[..., None] * dye[: image.shape[2]])
        return settle(image, points, place, painted, levels, grain=3)

    return attempt("stain", draw)


def _layer(
    edge: Field, place: Window, radius: float, rim: float, rng: np.random.Generator
) -> Field:
    """How thick a dried drop is, about 0 to 1 (more at its rim)."""
    inside = soft(edge, max(2.0, rng.uniform(0.06, 0.6) * radius))
    uneven = 1 + 0.2 * clouds(place.size, radius * 0.5, rng)
    ring = np.exp(-((edge / max(1.2, 0.07 * radius)) ** 2)) * rim
    return np.asarray(np.clip(inside * uneven * (1 + ring), 0, None), np.float32)


def _hazed(before: Field, layer: Field, bright: float, levels: float) -> Field:
    opaque = 1 - np.exp(-layer[..., None])
    return np.asarray(before + 0.7 * opaque * np.maximum(bright + 0.2 * levels - before, 0))


def scorch(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Scorch = Scorch(),
) -> Altered:
    """Burns the photograph; grey images darken, colour ones brown first; points stay as they are.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    levels = own_range(image)

    def draw() -> Altered | None:
        radius = max(4.0, drawn(config.radius, rng) * min(image.shape[:2]))
        place = _placed(image, radius, where, rng)
        depth = soft(blob(place, 0.8 * radius, rng, 0.16), 1.5 * radius) ** 1.3
        depth = depth * (1 + 0.1 * clouds(place.size, radius * 0.25, rng))
        layer = np.clip(depth, 0, None)[..., None] * np.float32(drawn(config.density, rng))
        # Char takes all colours alike: the denser, the less brown.
        char = np.clip(layer / 2.5, 0, 1)
        brown = np.array(_BROWN if image.shape[2] == 3 else (1.0,), np.float32)
        before = image[place.inside].astype(np.float32)
        painted = before * np.exp(-layer * (brown * (1 - char) + 1.1 * char))
        return settle(image, points, place, painted, levels, grain=3)

    return attempt("scorch", draw)


def blur(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Blur = Blur(),
) -> Altered:
    """Takes a place out of focus; points stay as they are. The mask is where texture was lost:
    an even surface has none to lose.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen, as on an image without texture.
    """
    check(image, points, where)
    side, levels = min(image.shape[:2]), own_range(image)

    def draw() -> Altered | None:
        radius = max(4.0, drawn(config.radius, rng) * side)
        sigma = max(0.8, drawn(config.sigma, rng) * side)
        place = _placed(image, radius, where, rng)
        veil = soft(blob(place, radius, rng), 0.5 * radius)[..., None]
        before = image[place.inside].astype(np.float32)
        lost = cv2.GaussianBlur(before, (0, 0), sigma).reshape(before.shape)
        grain = 2 * int(np.ceil(1.5 * sigma)) + 1
        painted = before + veil * (lost - before)
        return settle(image, points, place, painted, levels, grain=grain, least=radius**2 / 4)

    return attempt("blur", draw)


def _placed(image: Pixels, radius: float, where: Mask | None, rng: np.random.Generator) -> Window:
    size = image.shape[:2]
    return window(size, spot(size, where, rng, _MARGIN), _REACH * radius + 2)
