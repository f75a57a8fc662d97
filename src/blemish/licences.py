"""Whether a preset's pretrained weights may be used in a product."""

from __future__ import annotations

from pathlib import Path

from blemish.errors import WeightsError
from blemish.methods import METHODS
from blemish.methods.base import Config
from blemish.nets.pretrained import PRETRAINED
from blemish.nets.weights import carried, find_weights


def require_cleared(config: Config) -> None:
    """Raises WeightsError, naming licence and alternatives, unless all pretrained weights are
    cleared for commercial use; and if they are not here, for then nobody knows what they are.
    Those that only scans need are among them: no data have been looked at yet."""
    for name in config.pretrained():
        if name in PRETRAINED and not PRETRAINED[name].commercial:
            one = PRETRAINED[name]
            raise _not_cleared(
                name, f"their licence is {one.licence}, but {one.why}; data: {one.data}"
            )
    for name, path in weights_files(config).items():
        if not carried(name, path)["commercial"]:
            raise _not_cleared(name, f"'{path}' is not the published file: its licence is unknown")


def _not_cleared(name: str, why: str) -> WeightsError:
    presets = {
        f"{of}/{preset}": one for of in METHODS for preset, one in METHODS[of].presets.items()
    }
    cleared = [
        preset
        for preset, one in presets.items()
        if all(PRETRAINED[needed].commercial for needed in one.pretrained())
    ]
    return WeightsError(
        f"weights must be cleared for commercial use with --commercial, but those of '{name}' are"
        f" not: {why}. Choose a preset with cleared ones ({', '.join(cleared)}), or fit without"
        " --commercial if you have found that you may use them."
    )


def weights_files(config: Config, scans: bool = True) -> dict[str, Path]:
    """The file of each of a config's pretrained weights. scans: see Config.pretrained. Raises
    WeightsError if one is not here."""
    return {name: find_weights(name, file) for name, file in config.pretrained(scans).items()}
