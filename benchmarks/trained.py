"""Methods that are trained, on real sets: minutes of fitting, figures at native pixels, latency.

latency: one image through the whole graph over one through the bare backbone, batch 1, the same
runtime, medians of 200 in turns. Arguments METHOD:SET:SEED leave out the others. The seed chooses
the parts that are spared, the pictures with defects and the head's first weights.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np
from machine import DATA, stamp, write

from blemish.data import open_data
from blemish.engines import open_engine
from blemish.fitting import backbone_graph, choose, fit_folder
from blemish.metrics import Evaluator
from blemish.runtime import Inspector
from blemish.scoring import score_dataset

RUNS = (
    "fractalad:magnetic_tile:0",
    "fractalad:magnetic_tile:1",
    "fractalad:magnetic_tile:2",
    "fractalad:cookies:0",
    "fractalad:hazelnut_toy:0",
    "stlm:magnetic_tile:0",
    "stlm:magnetic_tile:1",
    "stlm:magnetic_tile:2",
)
TURNS, WARM = 200, 20
FIGURES = ("image_auroc", "pixel_auroc", "aupro_30", "aupro_05")
ASKED = 0.05  # false alarms


def main() -> None:
    times = ["graph ms", "backbone ms", "ratio"]
    head = ["method", "set", "seed", "fit min", *FIGURES, "false alarms", "found", *times]
    lines = [head, ["---"] * len(head)]
    for run in sys.argv[1:] or RUNS:
        method, name, seed = run.split(":")
        lines.append([method, name, seed, *_row(method, name, int(seed))])
        print(lines[-1], flush=True)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    asked = f"False alarms asked for: {ASKED:.0%}."
    write("trained", f"{table}\n\n{asked} {stamp('in the table')}")


def _row(method: str, name: str, seed: int) -> list[str]:
    start = time.perf_counter()
    inspector = fit_folder(DATA / name, method=method, false_alarms=ASKED, seed=seed)
    minutes = (time.perf_counter() - start) / 60
    evaluator = Evaluator()
    score_dataset(inspector, open_data(DATA / name), evaluator)
    said = evaluator.result(inspector.artifact.calibration.threshold)
    shown = [f"{said.figures[figure]:.3f}" for figure in FIGURES]
    rates = [f"{rate:.1%}" for rate in (said.false_alarm_rate, said.detection_rate)]
    whole, bare = _latency(inspector, method)
    return [f"{minutes:.1f}", *shown, *rates, f"{whole:.2f}", f"{bare:.2f}", f"{whole / bare:.2f}"]


def _latency(inspector: Inspector, method: str) -> tuple[float, float]:
    _, config = choose(method, "embedded", {})
    runs = [open_engine(inspector.artifact.graph), open_engine(backbone_graph(config))]
    image = np.random.default_rng(0).random((1, 3, *config.frame().size), np.float32)
    times: list[list[float]] = [[], []]
    for turn in range(TURNS + WARM):
        for run, spent in zip(runs, times, strict=True):
            milliseconds = _once(run, image)
            if turn >= WARM:
                spent.append(milliseconds)
    whole, bare = map(statistics.median, times)
    return whole, bare


def _once(run: Any, image: Any) -> float:
    start = time.perf_counter()
    run.run({run.inputs[0].name: image})
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
