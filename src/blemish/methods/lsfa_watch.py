"""When adaptation has gone far enough, without a label: as long as defects that are made up on
spared parts stand out more than before.

Compactness alone would go on for ever: features that are all the same lie closest together, and no
defect is found any more (the released code's own records show such collapses).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from blemish.cache import backgrounds_folder
from blemish.descriptors import stretch_of
from blemish.engines import Engine
from blemish.errors import SynthError
from blemish.frame import Frame
from blemish.images import read_image
from blemish.methods.lsfa_head import Patches
from blemish.metrics.ranking import auroc
from blemish.nets.features import Array, Features, Origin, shown
from blemish.nets.nearest import nearest_square
from blemish.records import Mask, Pixels
from blemish.sensors import Scan
from blemish.shots import PHOTOGRAPH, Shot, read_shot
from blemish.synth import RELIEF, maker
from blemish.synth.stream import KINDS, Stream

MOST = 24  # parts that defects are made up on
ROWS = 4096  # patches of parts learnt from, that others are compared with
FAINT = 0.2  # opacity of defects in photographs: plain ones are found with any features
MARKED = 0.3  # share of a cell that a defect covers, for the cell to count as one

Cells = Callable[[Sequence[Tensor]], Patches]


class Watch:
    """Made-up defects on spared parts, and how well they stand out.

    features: of all parts. spared, learnt: places of parts among them. cells: what features.batch
    gives → patches of each modality, not adapted.
    """

    def __init__(
        self,
        features: Features,
        spared: Sequence[int],
        learnt: Sequence[int],
        cells: Cells,
        seed: int,
    ) -> None:
        chosen = [*spared][:MOST]
        engine = features.origin.engine()
        made = [_spoilt(engine, features.origin, index, seed) for index in chosen]
        spoilt = [np.stack(part) for part in zip(*(parts for parts, _ in made), strict=True)]
        self.clean, self.spoilt, self.known = (
            cells([torch.from_numpy(part) for part in parts])
            for parts in (features.batch(chosen), spoilt, features.batch([*learnt][:MOST]))
        )
        self.marks = [
            torch.stack([_marked(masks[number], patches.shape[1]) for _, masks in made])
            for number, (patches, _) in enumerate(self.clean)
        ]

    def losses(self, adaptors: Iterable[nn.Module]) -> list[float]:
        """Of each modality, 1 less the AUROC of its patches: made-up defects against good."""
        with torch.no_grad():
            return [1 - self._found(*pair) for pair in enumerate(adaptors)]

    def _found(self, number: int, adaptor: nn.Module) -> float:
        known, clean, spoilt = (
            (adaptor(patches), seen)
            for patches, seen in (self.known[number], self.clean[number], self.spoilt[number])
        )
        rows = known[0][known[1]]
        rows = rows[:: -(-len(rows) // ROWS) or 1]
        middle = rows.mean(0)
        bad = spoilt[0][spoilt[1] & self.marks[number]]
        good = clean[0][clean[1]]
        if len(rows) == 0 or len(bad) == 0 or len(good) == 0:
            return 0.5
        far = [nearest_square(part - middle, rows - middle).numpy() for part in (good, bad)]
        truth = np.repeat([False, True], [len(far[0]), len(far[1])])
        return float(auroc(np.concatenate(far), truth))


def _spoilt(
    engine: Engine, origin: Origin, index: int, seed: int
) -> tuple[list[Array], list[Mask]]:
    """What a part with a made-up defect in each modality becomes, as features.batch has it, and
    each modality's mask."""
    sight = origin.sight
    if sight is None:
        altered, mask = _picture(partial(origin.read, index), origin.frame, (seed, index))
        return [tap[0] for tap in shown(engine, {"image": altered})], [mask]
    sample = origin.samples[index]
    shot, _ = read_shot(sample, backgrounds_folder())
    scan, marks = shot.scan, []
    if scan is not None and sight.points != "none":
        grey = next(iter(shot.pictures.values()))
        rng = np.random.default_rng([seed, index])
        scan, mask = _reshaped(scan, stretch_of(scan), grey, rng)
        marks = [mask]
    fed = sight.feed(origin.frame, Shot(pictures=shot.pictures, scan=scan))
    paths = {PHOTOGRAPH: sample.image} | dict(sample.others)
    pictures = [
        _picture(partial(read_image, paths[name]), origin.frame, (seed, index, number))
        for number, name in enumerate(sight.pictures)
    ]
    fed["image"] = np.concatenate([altered for altered, _ in pictures])
    return shown(engine, fed), [*(mask for _, mask in pictures), *marks]


def _reshaped(
    scan: Scan, stretch: float, picture: Pixels, rng: np.random.Generator
) -> tuple[Scan, Mask]:
    """The scan with a defect of shape, and where; as it is if none can be made."""
    upright = np.array([1, 1, stretch], np.float32)
    for kind in rng.permutation(RELIEF).tolist():
        with suppress(SynthError):
            made = maker(kind)(picture, scan.points * upright, rng)
            points = cast(Array, made.points)
            return Scan(points=points / upright, seen=scan.seen & points.any(axis=2)), made.mask
    return scan, np.zeros(scan.seen.shape, np.bool_)


def _picture(read: Callable[[], Pixels], frame: Frame, seed: tuple[int, ...]) -> tuple[Array, Mask]:
    """What the network is shown of a photograph with a faint defect, and its mask."""
    stream = Stream(
        read=lambda _: read(),
        chosen=(0,),
        frame=frame,
        kinds=KINDS,
        clean=0.0,
        seed=seed,
        detail=2.0,
    )
    picture = stream.picture(0)
    faint = picture.good + np.float32(FAINT) * (picture.altered - picture.good)
    return faint, picture.mask


def _marked(mask: Mask, count: int) -> Tensor:
    """(N,) cells that a defect covers."""
    grid = math.isqrt(count)
    share = cv2.resize(mask.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(share.ravel() > MARKED)
