"""Defects of shape: dents, bumps, holes and deep scratches that agree in photograph and points.

Valid points move along the surface's own normal by a smooth profile; missing ones stay missing.
The photograph is shaded by what that does to the normals: every pixel is multiplied by Lambert's
cosine under a random light, with some light from everywhere, after over before. Without points the
surface is taken for flat and seen from above, and the photograph alone changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.errors import SynthError
from blemish.records import Mask, Pixels
from blemish.synth.base import LEAST, Altered, check, own_range, require_range, spot
from blemish.synth.brush import (
    Field,
    Window,
    attempt,
    clouds,
    drawn,
    settle,
    soft,
    window,
)
from blemish.synth.strokes import strand_of
from blemish.synth.surface import measured, normals, shade, smooth_surface

_FELT = 0.02  # of a profile's largest height: what is lower stays where it was
_MARGIN = 0.05  # of each side, where no middle lies unless asked for
_CROSS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Dent:
    """A place that was pressed in, with a faint wall around.

    radius: shares of the shorter side, above 0 to 1; at least 3 px.
    depth: in the middle, in units of the radius, above 0 to 2.
    """

    radius: tuple[float, float] = (0.03, 0.12)
    depth: tuple[float, float] = (0.08, 0.4)

    def __post_init__(self) -> None:
        require_range("dent.radius", self.radius, 1e-4, 1)
        require_range("dent.depth", self.depth, 1e-3, 2)


@dataclass(frozen=True, kw_only=True)
class Bump:
    """A place that stands out.

    radius: shares of the shorter side, above 0 to 1; at least 3 px.
    height: in the middle, in units of the radius, above 0 to 2.
    """

    radius: tuple[float, float] = (0.03, 0.12)
    height: tuple[float, float] = (0.08, 0.4)

    def __post_init__(self) -> None:
        require_range("bump.radius", self.radius, 1e-4, 1)
        require_range("bump.height", self.height, 1e-3, 2)


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A hole with a worn edge. The sensor sees nothing in it: its points become (0, 0, 0).

    radius: shares of the shorter side, above 0 to 1; at least 2.5 px.
    dark: share of the light that it swallows, 0 to 1.
    """

    radius: tuple[float, float] = (0.012, 0.05)
    dark: tuple[float, float] = (0.5, 0.95)

    def __post_init__(self) -> None:
        require_range("hole.radius", self.radius, 1e-4, 1)
        require_range("hole.dark", self.dark, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Scratch3d:
    """A groove along a gently bending line.

    length: from end to end, shares of the shorter side, above 0 to 2; at least 8 px.
    width: shares of the shorter side, above 0 to 0.2; at least 3 px.
    depth: in units of half the width, above 0 to 2.
    bend: turn from end to end, radians, 0 to 2.
    """

    length: tuple[float, float] = (0.15, 0.6)
    width: tuple[float, float] = (0.008, 0.025)
    depth: tuple[float, float] = (0.25, 1.0)
    bend: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        require_range("scratch3d.length", self.length, 1e-4, 2)
        require_range("scratch3d.width", self.width, 1e-5, 0.2)
        require_range("scratch3d.depth", self.depth, 1e-3, 2)
        require_range("scratch3d.bend", self.bend, 0, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """What happens to a window's surface.

    height: (h, w) px along the normal, towards the viewer. gone: (h, w) share of each pixel whose
    surface is no longer there. grain: px, the size of its features. dark: how dark gone is.
    """

    height: Field
    gone: Field
    grain: float
    dark: float = 0.0


def dent(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Dent = Dent(),
) -> Altered:
    """Presses a place in, away from the viewer. Raises ShapeError (base.check) or SynthError: no
    draw could be seen, or no point is measured where one is allowed."""

    def draw(place_at: Callable[[float], Window]) -> tuple[Window, Profile]:
        radius = max(3.0, drawn(config.radius, rng) * min(image.shape[:2]))
        place = place_at(1.8 * radius + 2)
        r = _round(place, radius, rng)
        wall = np.exp(-(((r - 1.05) / 0.18) ** 2)) * (r < 1.5) * rng.uniform(0, 0.12)
        height = drawn(config.depth, rng) * radius * (wall - np.clip(1 - r * r, 0, 1) ** 2)
        return place, Profile(height=height, gone=np.zeros_like(height), grain=radius / 2)

    return _shaped("dent", image, points, rng, where, draw)


def bump(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Bump = Bump(),
) -> Altered:
    """Raises a place towards the viewer. Raises ShapeError (base.check) or SynthError: no draw
    could be seen, or no point is measured where one is allowed."""

    def draw(place_at: Callable[[float], Window]) -> tuple[Window, Profile]:
        radius = max(3.0, drawn(config.radius, rng) * min(image.shape[:2]))
        place = place_at(1.8 * radius + 2)
        hill = np.clip(1 - _round(place, radius, rng) ** 2, 0, 1) ** 2
        height = np.asarray(drawn(config.height, rng) * radius * hill, np.float32)
        return place, Profile(height=height, gone=np.zeros_like(height), grain=radius / 2)

    return _shaped("bump", image, points, rng, where, draw)


def hole(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Hole = Hole(),
) -> Altered:
    """Takes the surface away. Raises ShapeError (base.check) or SynthError: no draw could be seen,
    or no point is measured where one is allowed."""

    def draw(place_at: Callable[[float], Window]) -> tuple[Window, Profile]:
        radius = max(2.5, drawn(config.radius, rng) * min(image.shape[:2]))
        place = place_at(2.2 * radius + 3)
        r = _round(place, radius, rng)
        worn = np.clip(1.45 - r, 0, 0.45) ** 2
        height = np.asarray(-worn * radius * rng.uniform(0.5, 2.5), np.float32)
        gone = soft((r - 1) * radius, 1.5)
        return place, Profile(
            height=height, gone=gone, grain=radius / 2, dark=drawn(config.dark, rng)
        )

    return _shaped("hole", image, points, rng, where, draw)


def scratch3d(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Scratch3d = Scratch3d(),
) -> Altered:
    """Ploughs a groove. Raises ShapeError (base.check) or SynthError: no draw could be seen, or no
    point is measured where one is allowed."""

    def draw(place_at: Callable[[float], Window]) -> tuple[Window, Profile]:
        side = min(image.shape[:2])
        length = max(8.0, drawn(config.length, rng) * side)
        half = max(1.5, drawn(config.width, rng) * side / 2)
        place = place_at(0.62 * length + 4 * half + 3)
        along, across = place.turned(rng.uniform(0, np.pi))
        bend = drawn(config.bend, rng) * float(rng.choice([-1, 1]))
        line = strand_of(along, across, length, bend, half, rng)
        groove = line.cover * (1 - line.flank**2)
        height = np.asarray(-drawn(config.depth, rng) * half * groove, np.float32)
        return place, Profile(height=height, gone=np.zeros_like(height), grain=half)

    return _shaped("3D scratch", image, points, rng, where, draw)


def _round(place: Window, radius: float, rng: np.random.Generator) -> Field:
    """Distance from the middle in radii of a shape that is almost an ellipse."""
    stretch = float(np.exp(rng.uniform(-0.25, 0.25)))
    along, across = place.turned(rng.uniform(0, np.pi))
    uneven = 1 + 0.08 * np.clip(clouds(place.size, radius, rng), -2, 2)
    return np.asarray(np.hypot(along * stretch, across / stretch) / (radius * uneven), np.float32)


def _shaped(
    kind: str,
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    where: Mask | None,
    draw: Callable[[Callable[[float], Window]], tuple[Window, Profile]],
) -> Altered:
    """Draws until photograph and points show something."""
    check(image, points, where)
    allowed, size, levels = where, image.shape[:2], own_range(image)
    if points is not None:
        allowed = measured(points) if where is None else measured(points) & where
        if not allowed.any():
            raise SynthError(
                f"a {kind} must lie where points were measured, but none is: all of them are"
                " (0, 0, 0) where it may be. Give None for points, or another where."
            )

    def place_at(reach: float) -> Window:
        return window(size, spot(size, allowed, rng, _MARGIN), reach)

    def once() -> Altered | None:
        place, profile = draw(place_at)
        return _applied(image, points, place, profile, levels, rng)

    return attempt(kind, once)


def _applied(
    image: Pixels,
    points: Cloud | None,
    place: Window,
    profile: Profile,
    levels: float,
    rng: np.random.Generator,
) -> Altered | None:
    height = profile.height * (np.abs(profile.height) > _FELT * np.abs(profile.height).max())
    base, pitch = smooth_surface(
        None if points is None else points[place.inside], place, profile.grain
    )
    before = normals(base)
    raised = base + (height * pitch)[..., None] * before
    light = shade(before, normals(raised), rng)
    painted = image[place.inside] * light[..., None]
    painted = painted * (1 - profile.gone * profile.dark)[..., None]
    grain = 2 * int(profile.grain / 2) + 1
    altered = settle(image, None, place, painted.astype(np.float32), levels, grain=grain)
    if points is None:
        return altered
    return _with_points(image, points, altered, place, (raised - base, height, profile.gone))


def _with_points(
    image: Pixels,
    points: Cloud,
    altered: Altered | None,
    place: Window,
    moved: tuple[npt.NDArray[np.float64], Field, Field],
) -> Altered | None:
    shift, height, gone = moved
    here = points[place.inside]
    seen = measured(here)
    away = seen & (gone > 0.5)
    touched = seen & ((height != 0) | away)
    if np.count_nonzero(touched) < LEAST:
        return None
    after = np.where((seen & (height != 0))[..., None], here + shift.astype(np.float32), here)
    after[away] = 0
    cloud, mask = points.copy(), np.zeros(image.shape[:2], np.bool_)
    cloud[place.inside] = after
    mask[place.inside] = touched
    # A normal takes its neighbours' points: it turns one pixel further out.
    mask = cv2.dilate(mask.astype(np.uint8), _CROSS) > 0
    if altered is None:
        return Altered(image=image.copy(), points=cloud, mask=mask)
    return Altered(image=altered.image, points=cloud, mask=mask | altered.mask)
