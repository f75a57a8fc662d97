"""Makes defects on good images: for training, for rehearsals, for data sets of their own."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from blemish.errors import ConfigError
from blemish.synth.base import Altered, Maker
from blemish.synth.cutpaste import cutpaste
from blemish.synth.fractal import fractal
from blemish.synth.missing import missing
from blemish.synth.perlin import perlin
from blemish.synth.relief import bump, dent, hole, scratch3d
from blemish.synth.stains import blur, scorch, stain
from blemish.synth.strokes import crack, scratch
from blemish.synth.transplant import transplant

__all__ = ["FLAT", "MAKERS", "RELIEF", "Altered", "Maker", "maker", "settings_of"]

MAKERS: dict[str, Maker] = {
    "scratch": scratch,
    "crack": crack,
    "stain": stain,
    "scorch": scorch,
    "blur": blur,
    "missing": missing,
    "fractal": fractal,
    "perlin": perlin,
    "cutpaste": cutpaste,
    "transplant": transplant,
    "dent": dent,
    "bump": bump,
    "hole": hole,
    "scratch3d": scratch3d,
}
RELIEF = ("dent", "bump", "hole", "scratch3d")  # they shape points, too, where there are some
FLAT = tuple(kind for kind in MAKERS if kind not in RELIEF)


def maker(kind: str) -> Maker:
    """The function that makes defects of a kind. Raises ConfigError, naming the nearest kind.

    >>> maker("dent").__name__
    'dent'
    """
    if kind not in MAKERS:
        near = difflib.get_close_matches(kind, MAKERS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"a kind of defect must be one of {', '.join(MAKERS)}, but is '{kind}'."
            f" Did you mean {near}?"
        )
    return MAKERS[kind]


def settings_of(kind: str) -> Any:
    """The parameters a kind has by default, a frozen dataclass. Raises ConfigError like maker."""
    return inspect.signature(maker(kind)).parameters["config"].default
