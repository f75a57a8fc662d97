"""What the makers of defects draw with: windows, smooth noise, contrast, and the last step.

The last step is the same for all, so that masks mean the same: a pixel counts as changed where
some colour moved by more than VISIBLE of the image's own range; all others get back, bit for bit,
what they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blemish.clouds import Cloud
from blemish.errors import SynthError
from blemish.records import Pixels
from blemish.synth.base import LEAST, TRIES, VISIBLE, Altered, greatest, merged, white

Field = npt.NDArray[np.float32]  # (h, w) or (h, w, C), of a window
Size = tuple[int, int]  # (H, W)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of an image in which something is drawn; the rest is not touched.

    x, y: the defect's middle, pixels of the whole image.
    """

    top: int
    left: int
    bottom: int
    right: int
    x: float
    y: float

    @property
    def inside(self) -> tuple[slice, slice]:
        """To index the image with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> Size:
        """(h, w)"""
        return self.bottom - self.top, self.right - self.left

    def turned(self, angle: float) -> tuple[Field, Field]:
        """Each pixel's place along and across a direction, (h, w) px from the middle."""
        rows = np.arange(self.top, self.bottom, dtype=np.float32)[:, None] - np.float32(self.y)
        columns = np.arange(self.left, self.right, dtype=np.float32)[None] - np.float32(self.x)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return cos * columns + sin * rows, cos * rows - sin * columns


def window(size: tuple[int, ...], spot: tuple[float, float], reach: float) -> Window:
    """What lies within `reach` px of a spot (x, y), cut at the image's border."""
    x, y = spot
    return Window(
        top=max(0, int(y - reach)),
        left=max(0, int(x - reach)),
        bottom=min(size[0], int(y + reach) + 2),
        right=min(size[1], int(x + reach) + 2),
        x=x,
        y=y,
    )


def drawn(span: tuple[float, float], rng: np.random.Generator) -> float:
    """A number from a range; small and large ones alike where the range starts above 0."""
    low, high = span
    if low > 0:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(rng.uniform(low, high))


def clouds(size: Size, grain: float, rng: np.random.Generator) -> Field:
    """Smooth noise of about unit spread, with blobs of `grain` px."""
    rows, columns = (int(side / max(grain, 1.0)) + 4 for side in size)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    shift = rng.uniform(1, 2, 2)  # or else every window would begin on a knot
    v, u = (
        np.arange(side, dtype=np.float32) / np.float32(max(grain, 1.0)) + np.float32(start)
        for side, start in zip(size, shift, strict=True)
    )
    across, down = np.meshgrid(u, v)
    return _field(cv2.remap(coarse, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


def waves(along: npt.NDArray[Any], rng: np.random.Generator, count: int = 4) -> Field:
    """A smooth random curve of about unit height over numbers from 0 to 1."""
    curve = np.zeros_like(along, dtype=np.float32)
    for k in range(1, count + 1):
        curve += (rng.normal() / k) * np.sin(2 * np.pi * (k * along + rng.uniform()))
    return _field(curve)


def contrast(pixels: Pixels, levels: float) -> float:
    """What a change must compete with, in levels: two standard deviations of the window's
    brightness, or a quarter of the image's own range where the window is more even."""
    return max(2 * float(pixels.mean(axis=2, dtype=np.float32).std()), levels / 4)


def tinted(change: Field, pixels: Pixels, rng: np.random.Generator, hue: float = 0.1) -> Field:
    """A change (h, w) for every colour of the window, a little different in each."""
    channels = pixels.shape[2]
    tint = 1 + hue * rng.standard_normal(channels) * (channels > 1)
    return _field(change[..., None] * tint.astype(np.float32))


def settle(
    image: Pixels,
    points: Cloud | None,
    place: Window,
    painted: Field,
    levels: float,
    *,
    grain: int = 1,
    least: float = LEAST,
) -> Altered | None:
    """The image with a painted window, or None if too little of it can be seen.

    painted: (h, w, C) in the image's levels, any real values. levels: the image's own_range.
    grain: px over which changes are averaged before they count, for defects that change texture
    (odd). least: px to be changed.
    """
    before = image[place.inside]
    after = np.clip(np.rint(painted), 0, white(image)).astype(image.dtype)
    change = greatest(np.abs(after.astype(np.float32) - before))
    limit = max(VISIBLE * levels, 0.5)
    seen = change > limit
    if grain > 1:
        near = cv2.dilate((change > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        seen = near & (cv2.blur(change, (grain, grain), borderType=cv2.BORDER_REFLECT) > limit)
    if seen.sum() < least:
        return None
    altered, mask = image.copy(), np.zeros(image.shape[:2], np.bool_)
    altered[place.inside] = merged(seen, after, before)
    mask[place.inside] = seen
    return Altered(image=altered, points=None if points is None else points.copy(), mask=mask)


def attempt(kind: str, draw: Callable[[], Altered | None], note: str = "") -> Altered:
    """The first draw that can be seen. note: what else is asked of it. Raises SynthError."""
    for _ in range(TRIES):
        altered = draw()
        if altered is not None:
            return altered
    raise SynthError(
        f"a {kind} must visibly change at least {LEAST} pixels, but none of {TRIES} draws did on"
        f" this image{note}. Take another image, kind or seed, or allow more places with where."
    )


def soft(edge: Field, rim: float) -> Field:
    """Signed distance (px, inside below 0) → 0 to 1, over a rim of this many px."""
    t = np.clip(0.5 - edge / max(rim, 1.0), 0, 1)
    return _field(t * t * (3 - 2 * t))


def blob(place: Window, radius: float, rng: np.random.Generator, rough: float = 0.3) -> Field:
    """Signed distance (about; px) from an irregular round shape around the window's middle."""
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    along, across = place.turned(rng.uniform(0, np.pi))
    distance = np.hypot(along * stretch, across / stretch)
    wild = clouds(place.size, radius * 0.9, rng) + 0.35 * clouds(place.size, radius * 0.3, rng)
    return _field(distance - radius * (1 + rough * np.clip(wild, -2, 2)))


def _field(values: npt.NDArray[Any]) -> Field:
    return np.asarray(values, dtype=np.float32)
