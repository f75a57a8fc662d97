"""Pictures of good parts with made-up defects, without end: picture i is a function of (seed, i).

Defects are made at the photograph's own size, before anything is resized.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import SynthError
from blemish.frame import Frame
from blemish.images import read_image
from blemish.records import Mask
from blemish.synth import maker
from blemish.synth.base import SMALLEST

Planes = npt.NDArray[np.float32]  # (1, 3, h, w) in [0, 1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One part in the model's frame.

    source: index of the photograph. good, altered: (1, 3, h, w) in [0, 1]; the same where no defect
    was made. mask: (h, w) bool.
    """

    source: int
    good: Planes
    altered: Planes
    mask: Mask


@dataclass(frozen=True, kw_only=True)
class Stream:
    """paths: photographs of good parts. chosen: indices of those that are shown. kinds: of defects,
    keys of MAKERS, each as often. clean: share of pictures that get no defect, 0 to 1.
    seed: tells streams apart."""

    paths: tuple[Path, ...]
    chosen: tuple[int, ...]
    frame: Frame
    kinds: tuple[str, ...]
    clean: float
    seed: tuple[int, ...]

    def picture(self, index: int) -> Picture:
        """Picture `index` of the stream; without a defect if the photograph allows none."""
        rng = np.random.default_rng([*self.seed, index])
        source = self.chosen[int(rng.integers(len(self.chosen)))]
        pixels = read_image(self.paths[source])
        good = self.frame.to_model(pixels)
        nothing = np.zeros(self.frame.size, np.bool_)
        if rng.random() < self.clean or min(pixels.shape[:2]) < SMALLEST:
            return Picture(source=source, good=good, altered=good, mask=nothing)
        for kind in rng.permutation(self.kinds).tolist():
            try:
                made = maker(kind)(pixels, None, rng)
            except SynthError:
                continue  # such as a blur of an even surface: another kind may do
            altered = self.frame.to_model(made.image)
            return Picture(
                source=source, good=good, altered=altered, mask=self._to_model(made.mask)
            )
        return Picture(source=source, good=good, altered=good, mask=nothing)

    def _to_model(self, mask: Mask) -> Mask:
        """The nearest pixel's truth; stretched like the picture, whatever the frame's padding."""
        if self.frame.fit == "pad":
            side = max(mask.shape)
            top, left = (side - mask.shape[0]) // 2, (side - mask.shape[1]) // 2
            square = np.zeros((side, side), np.bool_)
            square[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
            mask = square
        size = self.frame.size[::-1]
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return np.asarray(small, np.bool_)
