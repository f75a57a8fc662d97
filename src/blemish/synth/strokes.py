"""Lines on a surface: scratches that something sharp has drawn, cracks that have opened."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.records import Mask, Pixels
from blemish.settings import require
from blemish.synth.base import Altered, check, own_range, require_range, spot
from blemish.synth.brush import (
    Field,
    Window,
    attempt,
    contrast,
    drawn,
    settle,
    tinted,
    waves,
    window,
)

Line = npt.NDArray[np.float64]  # (N, 3): x, y, half width, px of the whole image
_BRANCHES = 12  # at most in one crack
_MARGIN = 0.08  # of each side, where no middle lies unless asked for


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Gently bending strands side by side, bright, dark, or bright on one flank and dark on the
    other, as light from the side shows a groove.

    length: from end to end, shares of the shorter side, above 0 to 2; at least 6 px.
    width: of one strand, shares of the shorter side, above 0 to 0.2; at least 0.7 px.
    bend: turn from end to end, radians, 0 to 2.
    strands: most strands side by side, 1 to 9.
    strength: largest change, in units of the local contrast, above 0 to 10.
    """

    length: tuple[float, float] = (0.12, 0.6)
    width: tuple[float, float] = (0.003, 0.01)
    bend: tuple[float, float] = (0.0, 0.5)
    strands: int = 3
    strength: tuple[float, float] = (0.5, 2.5)

    def __post_init__(self) -> None:
        require_range("scratch.length", self.length, 1e-4, 2)
        require_range("scratch.width", self.width, 1e-5, 0.2)
        require_range("scratch.bend", self.bend, 0, 2)
        require(1 <= self.strands <= 9, "scratch.strands", "from 1 to 9", self.strands)
        require_range("scratch.strength", self.strength, 1e-3, 10)


@dataclass(frozen=True, kw_only=True)
class Crack:
    """A jagged dark line that branches and thins out towards its ends.

    length: along the main line, shares of the shorter side, above 0 to 3; at least 8 px.
    width: in the middle, shares of the shorter side, above 0 to 0.1; at least 0.8 px.
    jag: how much it turns from step to step, radians (standard deviation), 0 to 1.5.
    branching: chance of a branch at each of about 20 steps, 0 to 1; at most 12 branches.
    strength: how dark: 1 takes all light, or goes 0.3 of the image's own range below its darkest
        where that is less; above 0 to 1.
    """

    length: tuple[float, float] = (0.2, 0.9)
    width: tuple[float, float] = (0.003, 0.009)
    jag: float = 0.45
    branching: float = 0.12
    strength: tuple[float, float] = (0.3, 0.95)

    def __post_init__(self) -> None:
        require_range("crack.length", self.length, 1e-4, 3)
        require_range("crack.width", self.width, 1e-5, 0.1)
        require(0 <= self.jag <= 1.5, "crack.jag", "from 0 to 1.5", self.jag)
        require(0 <= self.branching <= 1, "crack.branching", "from 0 to 1", self.branching)
        require_range("crack.strength", self.strength, 1e-3, 1)


def scratch(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Scratch = Scratch(),
) -> Altered:
    """Draws a scratch on the photograph; points stay as they are (see scratch3d).

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    levels = own_range(image)
    return attempt("scratch", lambda: _scratch(image, points, rng, where, config, levels))


def _scratch(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    where: Mask | None,
    config: Scratch,
    levels: float,
) -> Altered | None:
    side = min(image.shape[:2])
    length = max(6.0, drawn(config.length, rng) * side)
    half = max(0.35, drawn(config.width, rng) * side / 2)
    place = window(
        image.shape[:2], spot(image.shape[:2], where, rng, _MARGIN), 0.62 * length + 8 * half + 4
    )
    angle, bend = rng.uniform(0, np.pi), drawn(config.bend, rng) * rng.choice([-1, 1])
    along, across = place.turned(angle)
    change = np.zeros(place.size, np.float32)
    for strand in range(int(rng.integers(1, config.strands + 1))):
        shift = 0.0 if strand == 0 else float(rng.normal(0, 5 * half + 1))
        share = 1.0 if strand == 0 else float(rng.uniform(0.3, 0.8))
        part = length * (1.0 if strand == 0 else float(rng.uniform(0.3, 0.9)))
        line = strand_of(along, across - shift, part, bend, half, rng)
        change += share * _lit(line, half, rng)
    before = image[place.inside]
    seen = _focused(np.clip(change, -1.3, 1.3), 0.5)
    seen *= np.float32(drawn(config.strength, rng) * contrast(before, levels))
    return settle(image, points, place, before + tinted(seen, before, rng), levels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Strand:
    """One groove. cover: (h, w) share of each pixel that it covers, fading towards its ends.
    flank: (h, w) from -1 on its one side to 1 on the other."""

    cover: Field
    flank: Field


def strand_of(
    along: Field, across: Field, length: float, bend: float, half: float, rng: np.random.Generator
) -> Strand:
    """A groove around a gently bending curve. along, across: (h, w) px; half: its half width, px;
    bend: radians from end to end."""
    t = np.linspace(0, 1, max(8, int(length)), dtype=np.float32)
    s = (t - 0.5) * length
    curve = bend * s * s / (2 * length) + 0.008 * length * waves(t, rng)
    slope = np.gradient(curve, s)
    ends = np.clip(np.minimum(t, 1 - t) / rng.uniform(0.1, 0.45), 0, 1)
    wide = half * (0.35 + 0.65 * ends) * np.clip(1 + 0.2 * waves(t, rng, 8), 0.5, 1.5)
    heavy = np.sqrt(ends) * np.clip(0.85 + 0.35 * waves(t, rng, 9), 0.05, 1.1)
    cover, flank = np.zeros_like(along), np.zeros_like(along)
    middle = np.interp(along, s, curve)
    near = (np.abs(along) < length / 2) & (np.abs(across - middle) < 3 * half + 2)
    a = along[near]
    off = (across[near] - middle[near]) / np.sqrt(1 + np.interp(a, s, slope) ** 2)
    width = np.interp(a, s, wide)
    cover[near] = _covered(off, width) * np.interp(a, s, heavy)
    flank[near] = np.clip(off / (width + 0.5), -1, 1)
    return Strand(cover=cover, flank=flank)


def _covered(distance: npt.NDArray[np.float64], half: npt.NDArray[np.float64]) -> Field:
    """Share of a pixel that a line of this half width covers, from the distance to its middle."""
    share = np.minimum(half + 0.5 - np.abs(distance), 2 * half)
    return np.asarray(np.clip(share, 0, 1), np.float32)


def _focused(drawn: Field, sigma: float) -> Field:
    """As sharp as a lens shows it. sigma: px."""
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), sigma), np.float32)


def _lit(line: Strand, half: float, rng: np.random.Generator) -> Field:
    """How a groove looks under light from anywhere, -1 to 1.4: brighter, darker, or both."""
    light = rng.uniform(0, 2 * np.pi)
    # A groove thinner than a pixel shows no flanks.
    tone, relief = np.cos(light), np.sin(light) * min(1.0, half / 1.0)
    if abs(tone) + abs(relief) < 0.6:
        tone = float(np.copysign(0.6, tone))
    return np.asarray(line.cover * (tone + 1.4 * relief * line.flank), np.float32)


def crack(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    *,
    where: Mask | None = None,
    config: Crack = Crack(),
) -> Altered:
    """Draws a crack on the photograph; points stay as they are: it is thinner than they resolve.

    Raises:
        ShapeError: see base.check.
        SynthError: no draw could be seen.
    """
    check(image, points, where)
    levels = own_range(image)
    darkest = float(np.percentile(image[:: max(1, image.shape[0] // 256)], 0.5)) - 0.3 * levels
    return attempt("crack", lambda: _crack(image, points, rng, where, config, levels, darkest))


def _crack(
    image: Pixels,
    points: Cloud | None,
    rng: np.random.Generator,
    where: Mask | None,
    config: Crack,
    levels: float,
    darkest: float,
) -> Altered | None:
    side = min(image.shape[:2])
    lines = _grown(
        spot(image.shape[:2], where, rng, _MARGIN),
        max(8.0, drawn(config.length, rng) * side),
        max(0.4, drawn(config.width, rng) * side / 2),
        config,
        rng,
    )
    place = _around(image.shape[:2], np.concatenate(lines))
    cover = np.zeros(place.size, np.float32)
    for line in lines:
        _trace(cover, line - (place.left, place.top, 0))
    seen = _focused(cover, 0.45)
    # One lip stands a little higher than the other and catches light.
    dx, dy = rng.choice([-1, 1], 2).tolist()
    shifted = np.pad(seen, 1)[1 + dy : 1 + dy + seen.shape[0], 1 + dx : 1 + dx + seen.shape[1]]
    lip = np.clip(shifted - seen, 0, 1) * np.float32(rng.uniform(0, 0.25))
    before = image[place.inside].astype(np.float32)
    depth = np.minimum(before, np.maximum(before - darkest, 0))
    strength = drawn(config.strength, rng)
    painted = before + (lip - seen)[..., None] * np.float32(strength) * depth
    return settle(image, points, place, painted, levels)


def _grown(
    middle: tuple[float, float],
    length: float,
    half: float,
    config: Crack,
    rng: np.random.Generator,
) -> list[Line]:
    """Main line and branches."""
    angle = rng.uniform(0, 2 * np.pi)
    stride = max(1.5, length / 24)
    share = rng.uniform(0.3, 0.7)
    lines = []
    for turn, part in ((0.0, share), (np.pi, 1 - share)):
        lines.append(_walk(middle, angle + turn, part * length, stride, half, config.jag, rng))
    for line in list(lines):
        for step in range(2, len(line) - 1):
            if len(lines) < _BRANCHES + 2 and rng.random() < config.branching:
                dx, dy = line[step, :2] - line[step - 1, :2]
                fork = np.arctan2(dy, dx) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
                start, thin = (line[step, 0], line[step, 1]), line[step, 2] * rng.uniform(0.5, 0.9)
                reach = rng.uniform(0.1, 0.35) * length
                lines.append(_walk(start, fork, reach, 0.7 * stride, thin, config.jag, rng))
    return lines


def _walk(
    start: tuple[float, float],
    angle: float,
    length: float,
    stride: float,
    half: float,
    jag: float,
    rng: np.random.Generator,
) -> Line:
    """A jagged path that keeps its direction on the whole, thinning out."""
    steps = max(2, int(length / stride))
    heading = angle + jag * rng.standard_normal(steps) + 0.15 * np.cumsum(rng.normal(0, 1, steps))
    strides = stride * rng.uniform(0.5, 1.5, steps)
    x = np.concatenate([[start[0]], start[0] + np.cumsum(strides * np.cos(heading))])
    y = np.concatenate([[start[1]], start[1] + np.cumsum(strides * np.sin(heading))])
    wide = half * np.linspace(1, 0.3, steps + 1) * rng.uniform(0.7, 1.2, steps + 1)
    return np.stack([x, y, wide], axis=1)


def _around(size: tuple[int, ...], line: Line) -> Window:
    """The window that holds every point of a line, as far as the image goes."""
    reach = float(line[:, 2].max()) + 3
    x, y = line[:, 0], line[:, 1]
    return Window(
        top=int(np.clip(y.min() - reach, 0, size[0] - 1)),
        left=int(np.clip(x.min() - reach, 0, size[1] - 1)),
        bottom=int(np.clip(y.max() + reach + 1, 1, size[0])),
        right=int(np.clip(x.max() + reach + 1, 1, size[1])),
        x=float(x[0]),
        y=float(y[0]),
    )


def _trace(cover: Field, line: Line) -> None:
    """Adds a line, in px of the sheet, to a sheet of coverages."""
    for (x0, y0, w0), (x1, y1, w1) in pairwise(line):
        reach = max(w0, w1) + 1.5
        top, bottom = int(max(0, min(y0, y1) - reach)), int(max(y0, y1) + reach) + 2
        left, right = int(max(0, min(x0, x1) - reach)), int(max(x0, x1) + reach) + 2
        sheet = cover[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if sheet.size == 0:
            continue
        v, u = np.ogrid[top : top + sheet.shape[0], left : left + sheet.shape[1]]
        dx, dy = x1 - x0, y1 - y0
        at = np.clip(((u - x0) * dx + (v - y0) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        distance = np.hypot(u - x0 - at * dx, v - y0 - at * dy)
        np.maximum(sheet, _covered(distance, w0 + at * (w1 - w0)), out=sheet)
