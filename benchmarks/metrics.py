"""Seconds, memory and figures of pixel metrics: ours, anomalib's and adeval's, on the same maps.

Each runs in a process of its own, all cores, over maps made beforehand; what is timed begins with
the maps in memory and ends with the figures. "times slower" compares runs of the same round. Peers
run under the interpreter BLEMISH_PEERS names (with anomalib 2.7 and adeval), or this one; one that
is not installed is a row that says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import stamp, write

SEED, SIDE = 0, 1024
FIGURES = ("pixel_auroc", "pixel_ap", "aupro_30")
PEERS = os.environ.get("BLEMISH_PEERS", sys.executable)
ROWS = (
    ("blemish", 100), ("blemish, all kept", 100), ("adeval", 100),
    ("blemish", 30), ("blemish, all kept", 30), ("adeval", 30), ("anomalib", 30),
)  # fmt: skip
ROUNDS = 5  # of all rows in turn, so that a machine's busy minutes fall on every tool
SLOW = "anomalib"  # once only
FOOT = """\
Maps of 1024 x 1024: smooth noise, every third good, the others with one to three elliptical defects
of 30 to 30,000 pixels, hotter by 0.5 to 4 standard deviations. "peak MiB" is what a tool added to
the maps in memory; peers get them stacked. blemish: AUROC, AP, F1, AUPRO at four limits, eight bins
of size, the detection curve; "all kept" is exact. anomalib: AUPRO at 30 % and AUROC, no AP, on
torch; its AUPRO leaves out what lies below the limit's last threshold. adeval: AUROC, AP and AUPRO
at 30 % from 1,000 equal strips between the least and the greatest score, straight lines within
(`np.trapz`, which new NumPy lacks, is lent to it)."""


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(child(sys.argv[1], int(sys.argv[2]))))
        return
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {row: [] for row in ROWS}
    for turn in range(ROUNDS):
        for row in ROWS:
            if turn == 0 or (row[0] != SLOW and "missing" not in runs[row][0]):
                runs[row].append(measured(*row))
    head = ["tool", "maps", "s", "least to most", "times slower", "peak MiB", *FIGURES]
    head.append("known bound")
    lines = [head, ["---"] * len(head)]
    for (name, count), said in runs.items():
        if "missing" in said[0]:
            lines.append([name, str(count), f"NOT INSTALLED: {said[0]['missing']}"])
            lines[-1] += [""] * (len(head) - 3)
            print(lines[-1], file=sys.stderr)
        else:
            lines.append([name, str(count), *row_of(said, runs["blemish", count])])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    write("metrics", f"{table}\n\n{FOOT}\n\n{stamp(SEED)}")


def row_of(said: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    seconds = [run["seconds"] for run in said]
    times = [one / run["seconds"] for one, run in zip(seconds, ours, strict=False)]
    cells = [f"{median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}"]
    cells.append(f"{median(times):.1f} ({min(times):.1f} to {max(times):.1f})")
    cells.append(f"{median(run['mib'] for run in said):.0f}")
    bound = said[0].get("bound")
    figures = [f"{said[0][f]:.6f}" if f in said[0] else "" for f in FIGURES]
    return [*cells, *figures, "none" if bound is None else f"{bound:.1e}"]


def measured(name: str, count: int) -> dict[str, Any]:
    python = sys.executable if name.startswith("blemish") else PEERS
    command = [python, __file__, name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(name: str, count: int) -> dict[str, Any]:
    """One tool's row; the peak is what it added to the maps."""
    run: Callable[[list[Any], list[Any]], dict[str, Any]]
    run = {"adeval": adeval, "anomalib": anomalib}.get(name) or (
        lambda maps, masks: blemish(maps, masks, everything="all kept" in name)
    )
    maps, masks = make_maps(count)
    try:
        return {"tool": name} | run(maps, masks)
    except ModuleNotFoundError as error:
        return {"missing": str(error)}


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    before = resident("VmRSS")
    start = time.perf_counter()
    said = work()
    return {"seconds": time.perf_counter() - start, "mib": resident("VmHWM") - before} | said


def resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def make_maps(count: int) -> tuple[list[Any], list[Any]]:
    import cv2

    maps, masks = [], []
    rng = np.random.default_rng(SEED)
    for i in range(count):
        noise = rng.normal(size=(SIDE // 8, SIDE // 8)).astype(np.float32)
        map = np.zeros((SIDE, SIDE), np.float32)
        map += cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        map += 0.3 * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(rng.integers(1, 4) if i % 3 else 0):
            axes = [int(np.exp(rng.uniform(np.log(3), np.log(100)))) for _ in "xy"]
            one, centre = np.zeros_like(mask), rng.integers(100, SIDE - 100, 2).tolist()
            cv2.ellipse(one, (centre, (2 * axes[0], 2 * axes[1]), rng.uniform(0, 180)), 1, -1)
            map += cv2.GaussianBlur(one.astype(np.float32), (0, 0), 2) * rng.uniform(0.5, 4)
            mask |= one
        maps.append(map)
        masks.append(mask > 0)
    return maps, masks


def blemish(maps: list[Any], masks: list[Any], everything: bool) -> dict[str, Any]:
    from blemish.metrics import EVERYTHING, Evaluator
    from blemish.records import Sample

    def work() -> dict[str, Any]:
        evaluator = Evaluator(budget=EVERYTHING if everything else None)
        for i, (map, mask) in enumerate(zip(maps, masks, strict=True)):
            kind = "defect" if mask.any() else "good"
            sample = Sample(image=Path(f"{i}.png"), split="test", defect_type=kind)
            evaluator.add(sample, float(i), map, mask)
        said = evaluator.result(0.0, bootstrap=0)
        return {f: said.figures[f] for f in FIGURES} | {"bound": said.error_bound}

    return timed(work)


def anomalib(maps: list[Any], masks: list[Any]) -> dict[str, Any]:
    import torch
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC

    preds, targets = torch.from_numpy(np.stack(maps)), torch.from_numpy(np.stack(masks))

    def work() -> dict[str, Any]:
        pro, roc = _AUPRO(), _AUROC()
        for pred, target in zip(preds, targets, strict=True):
            pro.update(pred[None], target[None].int())
            roc.update(pred.flatten(), target.flatten().int())
        return {"aupro_30": float(pro.compute()), "pixel_auroc": float(roc.compute())}

    return timed(work)


def adeval(maps: list[Any], masks: list[Any]) -> dict[str, Any]:
    if not hasattr(np, "trapz"):
        vars(np)["trapz"] = np.trapezoid  # its old name, which adeval still uses
    import adeval as peer

    preds, targets = np.stack(maps), np.stack(masks).view(np.uint8)

    def work() -> dict[str, Any]:
        values = peer.auroc_aupr_aupro(preds, targets)
        return dict(zip(FIGURES, map(float, values), strict=True))

    return timed(work)


if __name__ == "__main__":
    main()
