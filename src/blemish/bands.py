"""How pixels that are no photograph's, of other channels or of floats, enter a network for RGB.

A float has no white of its own, and eight channels are no colours. So what counts as 0 and as 1 is
learnt from good parts, once, and kept. Channels other than one or three are turned into all of
their principal components, each to its own scale, and shown three at a time as pictures of their
own (docs/decisions/0014). Nothing is cut off: beyond 0 and 1 values go on, by their logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.records import Pixels

Floats = npt.NDArray[np.float32]
KINDS = ("uint8", "uint16", "float32")
MOST = 256  # channels
LARGEST = 1e30  # no measured value: files write such numbers where they know nothing
BLACK, WHITE = 0.1, 99.9  # percentiles of good parts' values that become 0 and 1


@dataclass(frozen=True, kw_only=True)
class Bands:
    """A plane of the network's pictures is (pixel - middle) · row + offset.

    kind: of the files' numbers, one of KINDS. middle: of each of n channels, the mean over good
    parts. rows: n factors each for 3 planes a picture. offsets: one a plane.
    """

    kind: str
    middle: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    offsets: tuple[float, ...]

    def require(self, pixels: Pixels) -> None:
        """Raises ImageError unless (H, W, C) pixels are of the channels and kind learnt from."""
        count = len(self.middle)
        if pixels.shape[2] != count or pixels.dtype.name != self.kind:
            raise ImageError(
                f"an image must have {counted(count, self.kind)}, as the good ones had, but has"
                f" {counted(pixels.shape[2], pixels.dtype.name)}. Save it like these, or fit again."
            )

    def require_measured(self, pixels: Pixels) -> None:
        """Raises ImageError if some of the (H, W, C) pixels are no measured numbers."""
        odd = int(np.count_nonzero(~(np.abs(pixels) < LARGEST)))  # NaN is not below anything
        if odd:
            raise ImageError(
                f"an image's inspected pixels must be measured numbers, but {odd} are NaN, infinite"
                f" or beyond {LARGEST:g}. Fill them, or fit with --ignore where nothing is seen."
            )

    def blank(self, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """(n,): the pixel that stands where nothing is inspected."""
        return _of_kind(np.array(self.middle), kind.name)

    def pixels(self, planes: Floats) -> npt.NDArray[Any]:
        """The way back: (h, w, planes) in [0, 1] → (h, w, n) of the kind learnt from, those that
        come nearest to showing just these."""
        rows = np.array(self.rows)
        away = (planes - np.array(self.offsets)) @ np.linalg.pinv(rows).T
        return _of_kind(away + np.array(self.middle), self.kind)

    def picture(self, pixels: npt.NDArray[Any], number: int) -> npt.NDArray[np.uint8]:
        """(H, W, n) → (H, W, 3): one of the pictures that the network is shown, in 8 bits; middling
        where nothing was measured."""
        chosen = self._of(number)
        seen = np.where(np.abs(pixels) < LARGEST, pixels, self.blank(pixels.dtype))
        planes = np.clip(chosen.planes(seen)[0].transpose(1, 2, 0), 0, 1)
        return np.asarray(np.rint(255 * planes), np.uint8)

    def changed(
        self, pixels: npt.NDArray[Any], by: npt.NDArray[Any], number: int
    ) -> npt.NDArray[Any]:
        """(K, n) measured pixels, so that a picture of them differs by (K, 3) of its 255 levels and
        the others do not."""
        places = slice(3 * number, 3 * number + 3)
        back = np.linalg.pinv(np.array(self.rows))[:, places]
        return _of_kind(pixels + (by / 255) @ back.T, self.kind)

    def _of(self, number: int) -> Bands:
        places = slice(3 * number, 3 * number + 3)
        return replace(self, rows=self.rows[places], offsets=self.offsets[places])

    def planes(self, pixels: npt.NDArray[Any]) -> Floats:
        """(h, w, n) → (1, planes, h, w) float32, nearly all of good parts in [0, 1]."""
        rows = np.array(self.rows, np.float32)
        away = pixels.astype(np.float32) - np.array(self.middle, np.float32)
        planes = away @ rows.T + np.array(self.offsets, np.float32)
        return np.ascontiguousarray(soft(planes).transpose(2, 0, 1)[None])


def _of_kind(values: npt.NDArray[np.float64], kind: str) -> npt.NDArray[Any]:
    if kind == "float32":
        return values.astype(np.float32)
    return np.rint(values).clip(0, np.iinfo(kind).max).astype(kind)


def counted(channels: int, kind: str) -> str:
    """In words: how many channels of which numbers."""
    return f"{channels} channel{'s' * (channels > 1)} of {kind}"


def soft(values: Floats) -> Floats:
    """The same in [0, 1]; beyond, the distance d from it becomes log(1 + d): however hot, hotter is
    more, and always finite.

    >>> [round(one, 3) for one in soft(np.array([0.5, 1.0, 2.0, -1.0], np.float32)).tolist()]
    [0.5, 1.0, 1.693, -0.693]
    """
    within = np.clip(values, 0, 1)
    beyond = values - within
    return np.asarray(within + np.copysign(np.log1p(np.abs(beyond)), beyond), np.float32)


def learn(samples: Sequence[npt.NDArray[Any]], kind: str) -> Bands:
    """Bands from (N, n) finite pixels of each of some good parts. kind: of their files' numbers."""
    values = np.concatenate(samples).astype(np.float64)
    count, middle = values.shape[1], values.mean(axis=0)
    if count in (1, 3):  # grey, or colours, which keep their balance
        low, high = _ends(values.ravel())
        rows = np.eye(count) / (high - low) if count == 3 else np.full((3, 1), 1 / (high - low))
        offsets = rows @ middle - low / (high - low)
    else:
        axes = _components(values - middle)
        ends = [_ends((values - middle) @ axis) for axis in axes]
        rows = np.array([axis / (high - low) for axis, (low, high) in zip(axes, ends, strict=True)])
        offsets = np.array([-low / (high - low) for low, high in ends])
        fill = [min(plane, count - 1) for plane in range(-(-count // 3) * 3)]
        rows, offsets = rows[fill], offsets[fill]
    return Bands(
        kind=kind,
        middle=tuple(middle.tolist()),
        rows=tuple(tuple(row) for row in rows.tolist()),
        offsets=tuple(offsets.tolist()),
    )


def _components(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, n) principal axes of (N, n) centred values, each channel in its own standard deviation;
    the largest entry of each is positive, so that no library's choice of signs matters."""
    spread = values.std(axis=0)
    units = 1 / np.where(spread > 0, spread, 1)
    axes = np.linalg.eigh(np.cov((values * units).T))[1].T[::-1]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    return np.asarray(axes * signs * units)


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """What becomes 0 and 1; of values that are all the same they are 1 apart."""
    low, high = np.percentile(values, (BLACK, WHITE)).tolist()
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def bands_from_json(stored: Any) -> Bands | None:
    """The bands that dataclasses.asdict told. Raises ValueError, TypeError, KeyError on others."""
    if stored is None:
        return None
    middle, offsets = (_numbers(stored[name]) for name in ("middle", "offsets"))
    rows = tuple(_numbers(row) for row in stored["rows"])
    sound = 0 < len(middle) <= MOST and 0 < len(rows) <= MOST + 2 and len(rows) % 3 == 0
    if not sound or len(rows) != len(offsets) or {len(row) for row in rows} != {len(middle)}:
        raise ValueError("the bands")
    if stored["kind"] not in KINDS or len(stored) != 4:
        raise ValueError("the bands' kind")
    return Bands(kind=stored["kind"], middle=middle, rows=rows, offsets=offsets)


def _numbers(stored: Any) -> tuple[float, ...]:
    numbers = tuple(float(one) for one in stored)
    largest = float(np.finfo(np.float32).max)
    if not all(abs(one) <= largest for one in numbers):  # NaN neither
        raise ValueError("finite bands")
    return numbers
