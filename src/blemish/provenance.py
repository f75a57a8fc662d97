"""Where a model came from, as its manifest tells it, and whether its weights may be sold."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from blemish.engines import installed, library
from blemish.errors import WeightsError
from blemish.methods import METHODS
from blemish.methods.base import Config, as_json
from blemish.nets.pretrained import PRETRAINED
from blemish.nets.weights import carried, find_weights
from blemish.parts import GoodParts
from blemish.shots import Sight

VERSIONS = ("numpy", "opencv-python-headless", "torch", "timm", "onnx")


def describe(
    config: Config,
    method: str,
    preset: str,
    seed: int,
    commercial: bool,
    sight: Sight | None,
    runtime: str,
) -> dict[str, Any]:
    """What the manifest says of where the model came from. runtime: a key of engines.DEVICES."""
    scans = sight is not None and sight.points != "none"
    weights = [carried(name, path) for name, path in weights_files(config, scans).items()]
    versions = {name: version(name) for name in VERSIONS} | installed()
    return {
        "method": method,
        "preset": preset,
        "config": as_json(config),
        "seed": seed,
        "backbone": next(one for one in weights if one["name"] == config.backbone),
        "weights": weights,
        "commercial": commercial,
        "runtime": f"{runtime} {versions[library(runtime)]}",
        "versions": {
            "blemish": version("blemish"),
            "python": platform.python_version(),
            **versions,
        },
    }


def summary(data: str | Path, files: int, good: GoodParts, fitted: GoodParts) -> dict[str, Any]:
    """What the manifest says of the data: enough to tell a fitted image again, and odd ones."""
    sizes = sorted((h * w, h, w) for h, w in {fact.size for fact in good.facts})
    return {
        "folder": Path(data).resolve().name,
        "files": files,
        "used": len(good.facts),
        "fitted": len(fitted.facts),
        "smallest": list(sizes[0][1:]),
        "largest": list(sizes[-1][1:]),
        "channels": sorted({fact.channels for fact in good.facts}),
        "bits": sorted({fact.bits for fact in good.facts}),
        "sha256": sorted(fact.sha256 for fact in good.facts),
        "spared": sorted(
            {fact.sha256 for fact in good.facts} - {one.sha256 for one in fitted.facts}
        ),
    }


def _marks(parts: GoodParts) -> set[str]:
    return {fact.sha256 for fact in parts.facts}


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
