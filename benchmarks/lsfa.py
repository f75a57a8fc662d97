"""LSFA on photographs with scans: both modalities and each alone, adapted and as they are.

The made-up demo (every category, three seeds, 200 good pairs to fit on) and road_rgbd. Image AUROC;
of defects that show in one modality alone, the share found where 5 % false alarms were asked for.
Differences have 95 % intervals (Student's t over categories and seeds). Arguments NAME:SEED, such
as lid:0 or road:0, leave out the others.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import DATA, stamp, write
from scipy import stats

from blemish.data import open_data
from blemish.data.demo3d import DEFECTS, make_demo3d
from blemish.data.demo3d_part import PARTS
from blemish.fitting import fit_folder
from blemish.metrics.ranking import auroc
from blemish.shots import read_shot

RUNS = (*(f"{name}:{seed}" for seed in range(3) for name in PARTS), "road:0")
PAIRS, GOOD, EACH = 200, 30, 12
PLAIN = {"steps": 0, "ridge": 0.0, "patience": 0}
CHOICES: dict[str, tuple[str, ...]] = {"both": (), "RGB": ("points",), "3D": ("photograph",)}
ASKED = 0.05  # false alarms


def main() -> None:
    head = ["set", "seed", "adapted", *CHOICES, "found", "in one alone", "false", "min", "ms"]
    lines, every = [head, ["---"] * len(head)], []
    with tempfile.TemporaryDirectory() as folder:
        for run in sys.argv[1:] or RUNS:
            name, seed = run.split(":")
            data = _data(name, int(seed), Path(folder))
            pair = [_row(data, int(seed), settings) for settings in (PLAIN, {})]
            for adapted, row in zip(("no", "yes"), pair, strict=True):
                lines.append([name, seed, adapted, *_shown(row)])
                print(lines[-1], flush=True)
            every += [pair] if name in PARTS else []
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    write("lsfa", f"{table}\n\n{_summary(every)}\n\n{stamp('in the table')}")


def _data(name: str, seed: int, folder: Path) -> Path:
    if name == "road":
        return DATA / "road_rgbd"
    whole = folder / str(seed)
    if not whole.is_dir():
        make_demo3d(whole, seed=seed, train_good=PAIRS, test_good=GOOD, per_defect=EACH)
    return whole / name


def _row(data: Path, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    start = time.perf_counter()
    inspector = fit_folder(data, method="lsfa", false_alarms=ASKED, seed=seed, settings=settings)
    row = {"min": (time.perf_counter() - start) / 60}
    test = open_data(data).test
    bad = np.array([sample.is_defect for sample in test])
    alone = np.array([DEFECTS.get(s.defect_type, ("both",))[0] != "both" for s in test])
    for choice, without in CHOICES.items():
        scores, rejected, spent = [], [], []
        for sample in test:
            begin = time.perf_counter()
            found = inspector.inspect_shot(read_shot(sample)[0].without(without))
            spent.append((time.perf_counter() - begin) * 1000)
            scores.append(found.score)
            rejected.append(found.verdict == "defect")
        row[choice] = auroc(np.array(scores), bad)
        if choice == "both":
            hit = np.array(rejected)
            row |= {"found": hit[bad].mean(), "false": hit[~bad].mean(), "ms": np.median(spent)}
            row["alone"] = hit[alone].mean() if alone.any() else math.nan
    return row


def _shown(row: dict[str, float]) -> list[str]:
    rates = [
        f"{row[name]:.1%}" if row[name] == row[name] else "" for name in ("found", "alone", "false")
    ]
    return [
        *(f"{row[name]:.3f}" for name in CHOICES),
        *rates,
        f"{row['min']:.1f}",
        f"{row['ms']:.0f}",
    ]


def _summary(pairs: list[list[dict[str, float]]]) -> str:
    """Differences over all made-up sets."""
    if len(pairs) < 2:
        return ""
    plain, adapted = zip(*pairs, strict=True)
    gains = {
        "adapted, less the memory as it is (both)": [
            a["both"] - p["both"] for p, a in zip(plain, adapted, strict=True)
        ],
        "both, less the better of RGB and 3D (adapted)": [
            a["both"] - max(a["RGB"], a["3D"]) for a in adapted
        ],
    }
    lines = [f"{name}: {_interval(values)}" for name, values in gains.items()]
    means = ", ".join(f"{name} {np.mean([a[name] for a in adapted]):.3f}" for name in CHOICES)
    share = np.mean([a["alone"] for a in adapted])
    lines.append(f"means, adapted: {means}; found of what shows in one modality alone: {share:.1%}")
    return "\n".join(lines)


def _interval(values: list[float]) -> str:
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{np.mean(values):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
