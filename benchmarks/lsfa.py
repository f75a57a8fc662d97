"""LSFA on photographs with scans: both modalities and each alone, as they are and adapted.

The made-up demo (every category, three seeds, 200 good pairs to fit on, 30 good and 60 defective
ones to test) and road_rgbd. Image AUROC; of defects that show in one modality alone, the share
found where 5 % false alarms were asked for. Differences have 95 % intervals (Student's t over
categories and seeds). Arguments NAME:SEED, such as lid:0 or road:0, leave out the others. The
demo is made in the folder for temporary files, and left there for the next run.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import DATA, stamp, write
from scipy import stats

from blemish.data import open_data
from blemish.data.demo3d import DEFECTS, make_demo3d
from blemish.data.demo3d_part import PARTS
from blemish.export import join
from blemish.fitting import (
    backbone_graph,
    choose,
    learn,
    look,
    sight_of,
)
from blemish.heads import native_maps
from blemish.levels import frame_of, photographs
from blemish.methods.base import Method
from blemish.metrics.ranking import auroc
from blemish.parts import GoodParts, split
from blemish.runtime import Scorer
from blemish.shots import read_shot
from blemish.track import silent

RUNS = (*(f"{name}:{seed}" for seed in range(3) for name in PARTS), "road:0")
PAIRS, GOOD, EACH = 200, 30, 12
PLAIN = {"steps": 0, "ridge": 0.0, "shape_ridge": 0.0, "patience": 0}
STAGES: dict[str, dict[str, Any]] = {  # each has all that those before it have
    "as they are": {**PLAIN, "even": False},
    "taps even": PLAIN,
    "linear map": {"steps": 0},
    "learnt": {},
}
CHOICES: dict[str, tuple[str, ...]] = {
    "both": ("photograph", "points"),
    "RGB": ("photograph",),
    "3D": ("points",),
}
ASKED = 0.05  # false alarms
TIMED = 20  # parts

Row = dict[str, float]
Rows = list[Row]  # one for each of STAGES


class Looked(NamedTuple):
    """Features of a set's parts."""

    kind: type[Method]
    good: GoodParts
    test: GoodParts


def main() -> None:
    head = ["set", "seed", "features", *CHOICES, "found", "in one alone", "false", "min", "ms"]
    lines, every = [head, ["---"] * len(head)], []
    for run in sys.argv[1:] or RUNS:
        name, seed = run.split(":")
        looked = _looked(_data(name, int(seed)))
        rows = []
        for stage, settings in STAGES.items():
            rows.append(_row(looked, int(seed), settings))
            lines.append([name, seed, stage, *_shown(rows[-1])])
            print(lines[-1], flush=True)
        every += [rows] if name in PARTS else []
        # After each set: what is there remains if the run is stopped.
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        write("lsfa", f"{table}\n\n{_summary(every)}\n\n{stamp('in the table')}")


def _data(name: str, seed: int) -> Path:
    if name == "road":
        return DATA / "road_rgbd"
    folder = Path(tempfile.gettempdir()) / "blemish-lsfa" / f"{name}-{seed}"
    made = make_demo3d(
        folder,
        seed=seed,
        train_good=PAIRS,
        test_good=GOOD,
        per_defect=EACH,
        categories=[name],
    )
    return made / name


def _looked(folder: Path) -> Looked:
    data = open_data(folder)
    kind, config = choose("lsfa", "embedded", {})
    sight = sight_of(config, data.train, False)
    frame = frame_of(config, photographs(data.train, sight), None)
    graph = backbone_graph(config, sight)
    good, test = (
        look(samples, graph, frame, sight, track=silent, warn=print)
        for samples in (data.train, data.test)
    )
    return Looked(kind, good, test)


def _row(looked: Looked, seed: int, settings: dict[str, Any]) -> Row:
    start = time.perf_counter()
    config = choose("lsfa", "embedded", settings)[1]
    parts = split(len(looked.good.paths), ASKED, seed, looked.kind.trained)
    head, calibrations, _ = learn(
        looked.kind,
        config,
        looked.good,
        parts,
        false_alarms=ASKED,
        seed=seed,
        track=silent,
        hear=lambda head, unseen: None,
    )
    row = {"min": (time.perf_counter() - start) / 60}
    kinds = [sample.defect_type for sample in looked.test.features.origin.samples]
    bad = np.array([kind != "good" for kind in kinds])
    alone = np.array([DEFECTS.get(kind, ("both",))[0] != "both" for kind in kinds])
    for choice, names in CHOICES.items():
        maps = native_maps(head, looked.test, names)
        scores = np.array([looked.test.frame.score(map) for map in maps])
        row[choice] = auroc(scores, bad)
        if choice == "both":
            hit = scores > calibrations[names].threshold
            row |= {"found": hit[bad].mean(), "false": hit[~bad].mean()}
            row["alone"] = hit[alone].mean() if alone.any() else math.nan
    return row | {"ms": _ms(looked, head)}


def _ms(looked: Looked, head: bytes) -> float:
    """Median from files to score, in milliseconds."""
    origin = looked.test.features.origin
    scorer = Scorer(join(origin.graph, head), origin.frame, origin.sight, runtime="onnxruntime")
    spent = []
    for sample in origin.samples[:TIMED]:
        start = time.perf_counter()
        scorer.score(read_shot(sample)[0])
        spent.append((time.perf_counter() - start) * 1000)
    return float(np.median(spent))


def _shown(row: Row) -> list[str]:
    rates = [
        f"{row[name]:.1%}" if row[name] == row[name] else "" for name in ("found", "alone", "false")
    ]
    return [
        *(f"{row[name]:.4f}" for name in CHOICES),
        *rates,
        f"{row['min']:.1f}",
        f"{row['ms']:.0f}",
    ]


def _summary(every: list[Rows]) -> str:
    """Differences over all made-up sets."""
    if len(every) < 2:
        return ""
    stages = dict(zip(STAGES, zip(*every, strict=True), strict=True))
    first, *_, last = STAGES
    lines = []
    for before, after in [*pairwise(STAGES), (first, last)]:
        gains = [
            [b[name] - a[name] for a, b in zip(stages[before], stages[after], strict=True)]
            for name in ("both", "alone")
        ]
        shown = " and ".join(map(_interval, gains))
        lines.append(f"{after}, less {before}: both, and found of what shows in one alone, {shown}")
    better = [row["both"] - max(row["RGB"], row["3D"]) for row in stages[last]]
    lines.append(f"{last}: both, less the better of RGB and 3D, {_interval(better)}")
    means = ", ".join(
        f"{name} {np.mean([row[name] for row in stages[last]]):.4f}" for name in CHOICES
    )
    rates = ("found", "alone", "false")
    shares = ", ".join(
        f"{name} {np.mean([row[name] for row in stages[last]]):.1%}" for name in rates
    )
    return "\n".join([*lines, f"means, {last}: {means}; {shares}"])


def _interval(values: list[float]) -> str:
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{np.mean(values):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
