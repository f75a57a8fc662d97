"""Whether two ways of running a model give the same: on what images, and what is near enough."""

from __future__ import annotations

import numpy as np

from blemish.area import Area
from blemish.engines import Array, difference
from blemish.errors import ExportError
from blemish.frame import Frame
from blemish.records import Pixels

SIZES = ((97, 131), (256, 256), (64, 511), (333, 48))  # of made-up images, (H, W): odd on purpose
DRAWN = 512  # pixels of a side; larger images are those, enlarged


def made_up(size: tuple[int, int], seed: int, channels: int = 3) -> Pixels:
    """(H, W, C) uint8: soft blobs, edges and some noise, so that every layer has to work."""
    rng = np.random.default_rng(seed)
    drawn = (min(size[0], DRAWN), min(size[1], DRAWN))
    rows, columns = np.mgrid[: drawn[0], : drawn[1]]
    picture = np.zeros((*drawn, channels))
    for channel in range(channels):
        for _ in range(4):
            wide, turn = rng.uniform(4, 40), rng.uniform(0, np.pi)
            along = rows * np.sin(turn) + columns * np.cos(turn)
            picture[..., channel] += np.sin(along / wide + rng.uniform(0, 6))
    picture += rng.normal(0, 0.2, picture.shape)
    pixels = np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)
    down, across = (
        np.arange(long) * short // long for long, short in zip(size, drawn, strict=True)
    )
    return pixels if drawn == size else pixels[down][:, across]


def pictures(frame: Frame) -> list[Pixels]:
    """Made-up images of several sizes, such as the frame takes: of its channels and numbers, and
    as large as its area asks for."""
    made = []
    for seed, size in enumerate(SIZES if frame.area is None else _sizes(frame.area)):
        planes = made_up(size, seed, frame.planes)
        bands = frame.bands
        made.append(planes if bands is None else bands.pixels(planes * np.float32(1 / 255)))
    return made


def _sizes(area: Area) -> list[tuple[int, int]]:
    """Two sizes that fit."""
    height, width = area.size or area.least
    return [(height, width)] * 2 if area.size else [(height + 1, width + 2), (height + 31, width)]


def given(frame: Frame, pixels: Pixels) -> Array:
    """What an exported graph is given of an image: that of a model with bands has them inside, and
    takes the image's own numbers."""
    if frame.bands is None:
        return frame.to_model(pixels)
    return np.ascontiguousarray(frame.resized(pixels).transpose(2, 0, 1)[None], np.float32)


def require_same(expected: Array, actual: Array, allowed: float, what: str) -> None:
    """Raises ExportError unless they agree; see engines.difference."""
    apart = difference(expected, actual)
    if not apart <= allowed:
        raise ExportError(
            f"{what} must give what the model's own graph gives within {allowed:g} of the largest"
            f" value, but differ by {apart:.2g}. Nothing was written; update onnxruntime and"
            " openvino."
        )
