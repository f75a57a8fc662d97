"""What windows find that a look at the whole does not, and what they cost.

The default method on the three real sets, seed 0: photographs as a whole at 256 and 512 pixels, and
in windows of half and of a third of their shorter side, each at 256. Figures at native pixels; ms
of a photograph over those of the whole at 256, in this run.

    python benchmarks/tiles.py
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from machine import DATA, stamp, write

from blemish.data import open_data
from blemish.fitting import fit_folder
from blemish.images import read_image
from blemish.metrics import Evaluator
from blemish.runtime import Inspector
from blemish.scoring import score_dataset

SETS = ("magnetic_tile", "cookies", "hazelnut_toy")
FIGURES = ("image_auroc", "aupro_30", "aupro_05", "pixel_ap")
TIMED = 30  # photographs


def main() -> None:
    lines = [["set", "shown", "windows", *FIGURES, "times the whole's ms"]]
    lines.append(["---"] * len(lines[0]))
    for name in SETS:
        sizes = [min(read_image(one.image).shape[:2]) for one in open_data(DATA / name).train]
        shorter = round(statistics.median(sizes))
        shown: dict[str, dict[str, Any]] = {
            "whole, 256": {},
            "whole, 512": {"size": 512},
            "windows of a half": {"tile": shorter // 2},
            "windows of a third": {"tile": shorter // 3},
        }
        base = 0.0
        for title, settings in shown.items():
            inspector = fit_folder(DATA / name, settings=settings)
            row, taken = _row(inspector, name)
            base = base or taken
            lines.append([name, title, *row, f"{taken / base:.1f}"])
            print(" | ".join(lines[-1]), flush=True)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    write("tiles", f"{table}\n\nWindows share what they share by default. {stamp(0)}")


def _row(inspector: Inspector, name: str) -> tuple[list[str], float]:
    data = open_data(DATA / name)
    evaluator = Evaluator()
    score_dataset(inspector, data, evaluator)
    result = evaluator.result(inspector.artifact.calibration.threshold).figures
    paths = [sample.image for sample in data.test[:TIMED]]
    taken = statistics.median(_ms(inspector, path) for path in [paths[0], *paths])
    size, tiles = read_image(paths[0]).shape[:2], inspector.artifact.frame.tiles
    count = 1 if tiles is None else len(tiles.corners((size[0], size[1])))
    return [str(count), *(f"{result[figure]:.3f}" for figure in FIGURES)], taken


def _ms(inspector: Inspector, path: Path) -> float:
    start = time.perf_counter()
    inspector.inspect(path)
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
