"""Photographs whose small blocks are turned, which LSFA's released code compares photographs with.

What a patch shows is then the same but for its finest grain, so that features learn not to hang on
that. It is in no summary of the paper (docs/methods/lsfa.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blemish.engines import Engine
from blemish.nets.features import Array, Origin, shown
from blemish.shots import read_shot

BLOCK = 4  # pixels of the model's input, along each side


def turned_features(
    engine: Engine, origin: Origin, index: int, taps: int, rng: np.random.Generator
) -> list[Array]:
    """The first `taps` of what the backbone makes of a part's photographs with their blocks turned,
    as Features.batch has them of one part."""
    sight = origin.sight
    if sight is None:
        image = origin.frame.to_model(origin.read(index))
        return [one[0] for one in shown(engine, {"image": turned(image, rng)})][:taps]
    shot, _ = read_shot(replace(sight, points="none").needed(origin.samples[index]))
    fed = sight.feed(origin.frame, shot)
    return shown(engine, fed | {"image": turned(fed["image"], rng)})[:taps]


def turned(images: Array, rng: np.random.Generator) -> Array:
    """(B, C, h, w), sides multiples of BLOCK, with each BLOCK x BLOCK square turned by a random
    number of quarters about its middle."""
    b, c, h, w = images.shape
    cut = images.reshape(b, c, h // BLOCK, BLOCK, w // BLOCK, BLOCK).transpose(0, 2, 4, 1, 3, 5)
    quarters, made = rng.integers(4, size=cut.shape[:3]), cut.copy()
    for count in (1, 2, 3):
        made[quarters == count] = np.rot90(cut[quarters == count], count, axes=(2, 3))
    return made.transpose(0, 3, 1, 4, 2, 5).reshape(images.shape)
