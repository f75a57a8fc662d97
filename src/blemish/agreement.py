"""Whether two ways of running a model give the same: on what images, and what is near enough."""

from __future__ import annotations

import numpy as np

from blemish.artifact import Artifact
from blemish.engines import TOLERANCE, Array, difference
from blemish.errors import ExportError
from blemish.records import Pixels

# Runtimes round eight bits at different places: in sums, or behind them.
INT8_TOLERANCE = 0.05
SIZES = ((97, 131), (256, 256), (64, 511), (333, 48))  # of made-up images, (H, W): odd on purpose


def tolerance(artifact: Artifact) -> float:
    """What runtimes must agree within, as a share of the largest value of a map."""
    return INT8_TOLERANCE if "int8" in artifact.about else TOLERANCE


def made_up(size: tuple[int, int], seed: int, channels: int = 3) -> Pixels:
    """(H, W, C) uint8: soft blobs, edges and some noise, so that every layer has to work."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    picture = np.zeros((*size, channels))
    for channel in range(channels):
        for _ in range(4):
            wide, turn = rng.uniform(4, 40), rng.uniform(0, np.pi)
            along = rows * np.sin(turn) + columns * np.cos(turn)
            picture[..., channel] += np.sin(along / wide + rng.uniform(0, 6))
    picture += rng.normal(0, 0.2, picture.shape)
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def probes(artifact: Artifact) -> list[Array]:
    """Made-up images as the graph takes them."""
    return [artifact.frame.to_model(made_up(size, seed)) for seed, size in enumerate(SIZES)]


def require_same(expected: Array, actual: Array, allowed: float, what: str) -> None:
    """Raises ExportError unless they agree; see engines.difference."""
    apart = difference(expected, actual)
    if not apart <= allowed:
        raise ExportError(
            f"{what} must give what the model's own graph gives within {allowed:g} of the largest"
            f" value, but differ by {apart:.2g}. Nothing was written; update onnxruntime and"
            " openvino."
        )
