"""Good parts of channels that are no colours, or of floats, and models of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from blemish.area import Area
from blemish.fitting import fit_folder
from blemish.runtime import Inspector

SIZE = (96, 112)
QUICK: dict[str, dict[str, Any]] = {  # settings of methods that train
    "fractalad": {"steps": 30, "batch": 4, "patience": 0},
    "stlm": {"steps": 30, "batch": 4, "patience": 0, "denoising": 15},
    "lsfa": {"steps": 4, "batch": 4, "grid": 12},
}


def part(seed: int, count: int = 5, kind: Any = np.uint16) -> npt.NDArray[Any]:
    """A good part in so many bands, which hold much the same."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SIZE) / 16
    shape = 0.5 + 0.3 * np.sin(rows) * np.cos(columns) + 0.02 * rng.standard_normal(SIZE)
    gains = np.linspace(0.6, 1.0, count) * rng.normal(1, 0.01)
    bands = shape[..., None] * gains + 0.005 * rng.standard_normal((*SIZE, count))
    if np.issubdtype(kind, np.floating):
        return ((bands - 0.4) * 37).astype(kind)  # below 0, too
    return (bands.clip(0, 1) * np.iinfo(kind).max * 0.9).astype(kind)


def spoilt(good: npt.NDArray[Any], band: int) -> npt.NDArray[Any]:
    """The same with a spot in one band alone."""
    bad = good.copy()
    spread = good[..., band].max() - good[..., band].min()
    bad[40:60, 50:70, band] = good[40:60, 50:70, band] // 2 + spread / 2
    return bad


def put(folder: Path, name: str, pixels: npt.NDArray[Any], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    how = {"photometric": "minisblack"}
    if pixels.shape[2] > 1:
        how["planarconfig"] = "contig"
    tifffile.imwrite(folder / name, pixels.squeeze(), **(how | options))
    return folder / name


def fitted(
    folder: Path,
    method: str,
    kind: Any,
    count: int,
    *,
    parts: int = 10,
    size: int = 96,
    area: Area | None = None,
) -> Inspector:
    for seed in range(parts):
        put(folder, f"{seed:02}.tiff", part(seed, count, kind))
    settings = {"size": size, **QUICK.get(method, {})}
    return fit_folder(folder, method=method, settings=settings, false_alarms=0.1, area=area)
