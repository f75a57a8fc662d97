"""Pictures of good parts with made-up defects, without end: picture i is a function of (seed, i).

Defects are made before the picture is resized for the model: at the photograph's own size or, so
that photographs of many megapixels do not take many times longer, somewhat above the frame's.
Of bands, which are no photographs, it is made on one of the pictures that the network is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from blemish.errors import SynthError
from blemish.frame import Frame, resize_area
from blemish.records import Mask, Pixels
from blemish.synth import maker
from blemish.synth.base import SMALLEST, Altered, Maker, on_a_picture, white

# What to learn from, unless told otherwise; the others are left to find out what was learnt.
KINDS = ("fractal", "perlin", "cutpaste", "scratch", "crack", "stain", "scorch", "missing")
ROOM = 2**30  # bytes of photographs that are kept
Planes = npt.NDArray[np.float32]  # (1, 3, h, w) in [0, 1]; of bands all planes
Rotation = Literal["none", "little", "quarters"]
LITTLE = 5.0  # degrees either way
CORNERS = 114 / 255  # of white: what a turn brings in (STLM's grey)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One part in the model's frame.

    source: index of the photograph. good, altered: as Frame.to_model gives them; the same where no
    defect was made. mask: (h, w) bool.
    """

    source: int
    good: Planes
    altered: Planes
    mask: Mask


@dataclass(frozen=True, kw_only=True)
class Stream:
    """read: the photograph of a good part by its number. chosen: numbers of those that are shown.
    kinds: of defects, keys of MAKERS, each as often. clean: share of pictures that get no defect, 0
    to 1.
    seed: tells streams apart. detail: shorter side of larger photographs while defects are made, in
    sides of the model's frame; 0 leaves them as they are. rotation: of photographs before a defect
    is made: "none"; "little", up to 5 degrees either way; "quarters", by multiples of 90 degrees,
    each as often, and then a little. made_by: kind → its maker.
    """

    read: Callable[[int], Pixels]
    chosen: tuple[int, ...]
    frame: Frame
    kinds: tuple[str, ...]
    clean: float
    seed: tuple[int, ...]
    detail: float = 0.0
    rotation: Rotation = "none"
    made_by: Callable[[str], Maker] = maker
    kept: dict[int, Pixels] = field(default_factory=dict, compare=False, repr=False)

    def picture(self, index: int) -> Picture:
        """Picture `index` of the stream; without a defect if the photograph allows none."""
        rng = np.random.default_rng([*self.seed, index])
        source = self.chosen[int(rng.integers(len(self.chosen)))]
        pixels = turned(self._photograph(source), self.rotation, rng)
        where = None
        if self._parted:
            where = pixels[..., -1] > pixels[..., -1].max() / 2  # a turn brings in less than half
            pixels = np.ascontiguousarray(pixels[..., :-1])
        frame = replace(self.frame, area=None)  # what is not inspected is blank already
        good = frame.to_model(pixels)
        nothing = np.zeros(self.frame.size, np.bool_)
        if rng.random() < self.clean or min(pixels.shape[:2]) < SMALLEST:
            return Picture(source=source, good=good, altered=good, mask=nothing)
        for kind in rng.permutation(self.kinds).tolist():
            try:
                made = self._made(kind, pixels, where, rng)
            except SynthError:
                continue  # such as a blur of an even surface: another kind may do
            altered = frame.to_model(made.image)
            return Picture(
                source=source, good=good, altered=altered, mask=frame.mask_to_model(made.mask)
            )
        return Picture(source=source, good=good, altered=good, mask=nothing)

    def _made(
        self, kind: str, pixels: Pixels, where: Mask | None, rng: np.random.Generator
    ) -> Altered:
        def draw(photograph: Pixels) -> Altered:
            return self.made_by(kind)(photograph, None, rng, where=where)

        return on_a_picture(draw, pixels, self.frame.bands, rng)

    @property
    def _parted(self) -> bool:
        """Whether some of a photograph is not inspected; windows of one are blank there already."""
        return self.frame.area is not None and self.frame.tiles is None

    def _photograph(self, source: int) -> Pixels:
        """Read, blanked and shrunk once; kept while there is room. If not all of it is inspected, a
        last channel follows that is 0 elsewhere."""
        if source in self.kept:
            return self.kept[source]
        pixels = self.read(source)
        seen = self.frame.seen(pixels.shape) if self._parted else None
        if seen is not None:
            pixels = self.frame.blanked(pixels)
            most = 1 if pixels.dtype.kind == "f" else white(pixels)
            pixels = np.dstack([pixels, np.where(seen, most, 0).astype(pixels.dtype)])
        share = self.detail * max(self.frame.size) / min(pixels.shape[:2])
        if 0 < share < 1:
            size = (round(pixels.shape[0] * share), round(pixels.shape[1] * share))
            pixels = resize_area(pixels, size)
        if (len(self.kept) + 1) * pixels.nbytes < ROOM:
            self.kept[source] = pixels
        return pixels


def turned(pixels: Pixels, rotation: Rotation, rng: np.random.Generator) -> Pixels:
    """(H, W, C), turned about its middle; by a quarter H and W change places."""
    if rotation == "none":
        return pixels
    if rotation == "quarters":
        pixels = np.ascontiguousarray(np.rot90(pixels, int(rng.integers(4))))
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), rng.uniform(-LITTLE, LITTLE), 1
    )
    grey = [round(CORNERS * white(pixels))] * 3
    askew = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=grey)
    return np.asarray(askew, pixels.dtype).reshape(pixels.shape)
