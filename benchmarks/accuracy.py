"""The table of docs/methods: every method on the three real sets, native pixels, three seeds.

A seed chooses which good images are held out for calibration; nothing else is random in these
presets. Test labels are used here and nowhere else.
"""

from __future__ import annotations

import statistics
import time

from machine import DATA, stamp, write

from blemish.fitting import fit_folder
from blemish.methods import METHODS
from blemish.metrics.evaluate import FIGURES, evaluate
from blemish.scoring import score_dataset

SETS = ("magnetic_tile", "cookies", "hazelnut_toy")
SEEDS = (0, 1, 2)


def main() -> None:
    head = ("set", "method", *FIGURES, "false alarms", "found", "fit s")
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for name in SETS:
        for method in METHODS:
            lines.append(" | ".join([name, method, *_row(name, method)]))
            print(lines[-1], flush=True)
    table = "\n".join(f"| {line} |" for line in lines)
    write("accuracy", f"{table}\n\nMean over seeds (smallest to largest). {stamp(SEEDS)}")


def _row(name: str, method: str) -> list[str]:
    columns: dict[str, list[float]] = {}
    for seed in SEEDS:
        start = time.perf_counter()
        inspector = fit_folder(DATA / name, method=method, seed=seed)
        seconds = time.perf_counter() - start
        judged = score_dataset(inspector, DATA / name)
        result = evaluate(judged.items, threshold=inspector.artifact.calibration.threshold)
        values = {
            **result.figures,
            "false alarms": result.false_alarm_rate,
            "found": result.detection_rate,
            "fit s": seconds,
        }
        for column, value in values.items():
            columns.setdefault(column, []).append(float("nan") if value is None else value)
    return [
        f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        for values in columns.values()
    ]


if __name__ == "__main__":
    main()
