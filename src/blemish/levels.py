"""What photographs of good parts tell, once, about how pictures enter the model's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.area import Area
from blemish.bands import LARGEST, counted, learn
from blemish.errors import ConfigError, DataError, ImageError
from blemish.frame import SIXTEEN_BIT_WHITES, Frame
from blemish.images import has_sixteen_bits, read_image
from blemish.methods.base import Config
from blemish.records import Sample
from blemish.shots import Sight

IMAGES, PIXELS = 200, 5000  # good images, and pixels of each, that bands are learnt from


def photographs(samples: Sequence[Sample], sight: Sight | None) -> list[Path]:
    """All files that the model is shown as photographs."""
    others = [] if sight is None else [path for one in samples for _, path in one.others]
    return [*(sample.image for sample in samples), *others]


def frame_of(
    config: Config, paths: Sequence[Path], area: Area | None, plain: str | None = None
) -> Frame:
    """How the method's images enter, with what these photographs of good parts tell.

    plain: who takes grey and RGB photographs of 8 or 16 bits alone: a network that sees the image
    itself, or several modalities; None: nobody does. Raises ConfigError if they are others,
    DataError if the first is, and none has pixels to learn from.
    """
    frame = replace(config.frame(), area=area)
    first = next(filter(None, map(_kind_of, paths)), None)
    if first is None or (first[0] in (1, 3) and first[1] != "float32"):
        return replace(frame, white=find_white(paths))
    if plain is not None:
        raise ConfigError(
            f"{plain} must be given grey or RGB photographs of 8 or 16 bits, but '{first[2]}' has"
            f" {counted(*first[:2])}. Fit them alone by padim, or by another method's preset"
            " embedded."
        )
    samples = list(filter(len, (_sample(path, frame, first) for path in _some(paths))))
    if not samples:
        raise DataError(
            f"good parts must have measured pixels of {counted(*first[:2])}, as '{first[2]}', but"
            " none has. Look for NaN, or for an outline that leaves nothing."
        )
    return replace(frame, bands=learn(samples, first[1]))


def _kind_of(path: Path) -> tuple[int, str, Path] | None:
    """Channels and kind of numbers of an image; None if it cannot be read."""
    try:
        pixels = read_image(path)
    except ImageError:
        return None  # reported when its features are computed
    return pixels.shape[2], pixels.dtype.name, path


def _some(paths: Sequence[Path]) -> Sequence[Path]:
    return paths[:: -(-len(paths) // IMAGES)]


def _sample(path: Path, frame: Frame, kind: tuple[int, str, Path]) -> npt.NDArray[Any]:
    """(N, n) measured pixels that are inspected, at most PIXELS; none of another kind of image."""
    nothing = np.zeros((0, kind[0]))
    try:
        pixels = read_image(path)
        seen = frame.seen(pixels.shape)
    except ImageError:
        return nothing  # as above
    if (pixels.shape[2], pixels.dtype.name) != kind[:2]:
        return nothing
    values = pixels.reshape(-1, pixels.shape[2]) if seen is None else pixels[seen]
    values = values[:: max(1, len(values) // PIXELS) | 1]  # odd: rows are often even
    return np.asarray(values[(np.abs(values) < LARGEST).all(axis=1)])


def find_white(paths: Sequence[Path]) -> int:
    """What counts as white in 16-bit files: the fewest of 10, 12, 14 or 16 bits that hold all of
    their pixels. Cameras write 10- and 12-bit pixels into 16-bit files as they are."""
    brightest = 0
    for path in paths:
        if has_sixteen_bits(path):
            try:
                brightest = max(brightest, int(read_image(path).max()))
            except ImageError:
                continue  # reported when its features are computed
    fits = [white for white in SIXTEEN_BIT_WHITES if 0 < brightest <= white]
    return fits[0] if fits else SIXTEEN_BIT_WHITES[-1]
