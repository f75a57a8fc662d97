"""What the head of a method is fed while there is no whole graph yet, and the maps it gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from blemish.engines import Engine, open_engine
from blemish.export import join
from blemish.images import read_image
from blemish.nets.features import Features
from blemish.parts import GoodParts
from blemish.records import Map
from blemish.runtime import Scorer

Choice = tuple[str, ...]  # of modalities
ALL: Choice = ()


def inputs(
    names: list[str], features: Features, index: int, choice: Choice = ALL
) -> dict[str, npt.NDArray[np.float32]]:
    """What a head takes of one image: its taps and what else was kept of it, by the name of "image"
    what they are of, and by that of "present" which modalities are chosen; none chooses all."""
    origin = features.origin
    kept = iter(features.batch([index]) if set(names) - {"image", "present"} else ())

    def given(name: str) -> npt.NDArray[np.float32]:
        if name == "image":
            return origin.frame.to_model(origin.read(index))
        if name == "present" and origin.sight is not None:
            return origin.sight.present(choice or origin.sight.modalities)
        one = next(kept)
        return one[0] if one.ndim == 5 else one  # photographs are the batch

    return {name: given(name) for name in names}


def native_maps(head: bytes, good: GoodParts, choice: Choice = ALL) -> Iterator[Map]:
    """Maps at the images' own sizes, by the runtime from the features at hand; of photographs that
    are looked at in windows, by way of all their windows, as at inspection."""
    origin = good.features.origin
    if good.frame.tiles is not None:
        scorer = Scorer(join(origin.graph, head), good.frame, runtime=origin.runtime)
        yield from (scorer.score(read_image(path))[0] for path in good.paths)
        return
    engine = open_engine(head, origin.runtime)
    for index, fact in enumerate(good.facts):
        grid = engine.run(feed(engine, good.features, index, choice))[0]
        yield good.frame.to_native(grid, fact.size)


def feed(
    head: Engine, features: Features, index: int, choice: Choice = ALL
) -> dict[str, npt.NDArray[np.float32]]:
    return inputs([entry.name for entry in head.inputs], features, index, choice)
