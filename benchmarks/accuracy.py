"""The table of docs/methods: methods that fit in seconds, on the three real sets, native pixels,
three seeds. Those that train for minutes have benchmarks of their own.

A seed chooses which good images are held out for calibration; nothing else is random in these
presets. Test labels are used here and nowhere else.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import starmap

from machine import DATA, stamp, write

from blemish.calibrate import Calibration
from blemish.data import open_data
from blemish.fitting import fit_folder
from blemish.methods import METHODS
from blemish.metrics import FIGURES, Evaluator, Scored
from blemish.scoring import score_dataset

SETS = ("magnetic_tile", "cookies", "hazelnut_toy")
SEEDS = (0, 1, 2)
RATES = (0.01, 0.05, 0.1)  # false alarms asked for
FOOT = (
    "Mean over seeds (smallest to largest, where they differ). N % → a / f: asked for N % false"
    " alarms, the share of good test parts called defective, and of defective ones found."
)


def main() -> None:
    head = ("set", "method", *FIGURES, *(f"{rate:.0%} →" for rate in RATES))
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for name in SETS:
        for method in (title for title, kind in METHODS.items() if not kind.trained):
            lines.append(" | ".join([name, method, *_row(name, method)]))
            print(lines[-1], flush=True)
    table = "\n".join(f"| {line} |" for line in lines)
    write("accuracy", f"{table}\n\n{FOOT} {stamp(SEEDS)}")


def _row(name: str, method: str) -> list[str]:
    columns: dict[str, list[float]] = {}
    for seed in SEEDS:
        inspector = fit_folder(DATA / name, method=method, seed=seed)
        evaluator = Evaluator()
        judged = score_dataset(inspector, open_data(DATA / name), evaluator)
        calibration = inspector.artifact.calibration
        result = evaluator.result(calibration.threshold)
        for figure, value in result.figures.items():
            columns.setdefault(figure, []).append(float("nan") if value is None else value)
        for rate in RATES:
            for kind, share in _shares(judged.items, calibration, rate).items():
                columns.setdefault(f"{kind} {rate}", []).append(share)
    shown = [_shown(columns[figure]) for figure in FIGURES]
    pairs = [(columns[f"good {rate}"], columns[f"defect {rate}"]) for rate in RATES]
    return shown + list(starmap(lambda a, f: f"{_shown(a)} / {_shown(f)}", pairs))


def _shares(items: tuple[Scored, ...], calibration: Calibration, rate: float) -> dict[str, float]:
    """Shares of good and of defective parts above the threshold for a rate."""
    threshold = replace(calibration, false_alarms=rate).threshold
    parts = {
        "good": [item for item in items if not item.sample.is_defect],
        "defect": [item for item in items if item.sample.is_defect],
    }
    return {k: statistics.mean(item.score > threshold for item in v) for k, v in parts.items()}


def _shown(values: list[float]) -> str:
    low, mean, high = min(values), statistics.mean(values), max(values)
    return f"{mean:.3f}" if low == high else f"{mean:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
