"""One method a file; METHODS is all the registry there is."""

from __future__ import annotations

from blemish.methods.base import Method
from blemish.methods.fbft import Fbft
from blemish.methods.fractalad import Fractalad
from blemish.methods.lsfa import Lsfa
from blemish.methods.padim import Padim
from blemish.methods.patchcore import Patchcore
from blemish.methods.stlm import Stlm

METHODS: dict[str, type[Method]] = {
    "padim": Padim,
    "patchcore": Patchcore,
    "fbft": Fbft,
    "fractalad": Fractalad,
    "stlm": Stlm,
    "lsfa": Lsfa,
}
