"""What photographs of good parts tell, once, about how pictures enter the model's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from blemish.area import Area
from blemish.errors import ImageError
from blemish.frame import SIXTEEN_BIT_WHITES, Frame
from blemish.images import has_sixteen_bits, read_image
from blemish.methods.base import Config
from blemish.records import Sample
from blemish.shots import Sight


def photographs(samples: Sequence[Sample], sight: Sight | None) -> list[Path]:
    """All files that the model is shown as photographs."""
    others = [] if sight is None else [path for one in samples for _, path in one.others]
    return [*(sample.image for sample in samples), *others]


def frame_of(config: Config, paths: Sequence[Path], area: Area | None) -> Frame:
    """How the method's images enter, with what these photographs of good parts tell."""
    return replace(config.frame(), white=find_white(paths), area=area)


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
