"""Decode to verdict of one photograph after the other, for each runtime that is installed, over the
least that could be: decode, resize and the bare backbone in the same runtime.

The default method on magnetic_tile's test part, photographs from disk, one at a time. In turns of
BLOCK photographs each, so that what else the machine does falls on both. The bare backbone has its
sizes fixed and its constants folded as the model's own graph has.

    python benchmarks/latency.py [--many 10000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import DATA, stamp, write

import blemish
from blemish.data import open_data
from blemish.engines import Engine, entries, installed, open_engine
from blemish.images import read_image
from blemish.runtime import Inspector

BLOCK = 20  # photographs in a turn
ROUNDS = 40
PREPARE = """
import sys
from pathlib import Path
from blemish.export import settle
from blemish.fitting import backbone_graph, choose, fit_folder
data, part, bare = map(Path, sys.argv[1:])
model = fit_folder(data / "magnetic_tile")
model.save(part)
size = (1, 3, *model.artifact.frame.size)
bare.write_bytes(settle(backbone_graph(choose("padim", "embedded", {})[1]), {"image": size}))
"""
FOOT = (
    "Medians and 99th percentiles of {count:,} photographs each, in turns of {block}, about"
    " {share:.0%} of them defective. least: decode, resize, bare backbone. memory: resident, after"
    " the first thousand and at the end."
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Latency of one process.")
    parser.add_argument("--many", type=int, default=BLOCK * ROUNDS, help="photographs each")
    many = parser.parse_args().many
    tests = open_data(DATA / "magnetic_tile").test
    paths = [sample.image for sample in tests]
    lines = [["runtime", "verdict ms", "p99", "p99 / median", "least ms", "p99", "ratio", "memory"]]
    lines.append(["---"] * len(lines[0]))
    with tempfile.TemporaryDirectory() as folder:
        part, bare = Path(folder) / "part.blemish", Path(folder) / "bare.onnx"
        # in a process of its own, so that no torch is in the memory that is told
        subprocess.run([sys.executable, "-c", PREPARE, DATA, part, bare], check=True)
        for runtime in installed():
            inspector = blemish.load(part, runtime=runtime)
            net = open_engine(bare.read_bytes(), runtime)
            lines.append([runtime, *row(inspector, net, paths, many)])
            print(" | ".join(lines[-1]), flush=True)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    share = statistics.mean(sample.is_defect for sample in tests)
    write("latency", f"{table}\n\n{FOOT.format(count=many, block=BLOCK, share=share)} {stamp(0)}")


def row(inspector: Inspector, net: Engine, paths: list[Path], many: int) -> list[str]:
    frame, name = inspector.artifact.frame, entries(net)["image"]

    def least(path: Path) -> None:
        net.run({name: frame.to_model(read_image(path))})

    order = random.Random(0).choices(paths, k=many)
    whole: list[float] = []
    base: list[float] = []
    memory = [resident()]
    for start in range(0, many, BLOCK):
        block = order[start : start + BLOCK]
        whole += timed(inspector.inspect, block)
        base += timed(least, block)
        if start <= 1000:
            memory[0] = max(memory[0], resident())
    median, bare_median = statistics.median(whole), statistics.median(base)
    return [
        f"{median:.2f}",
        f"{p99(whole):.2f}",
        f"{p99(whole) / median:.2f}",
        f"{bare_median:.2f}",
        f"{p99(base):.2f}",
        f"**{median / bare_median:.2f}**",
        f"{memory[0]:.0f} → {resident():.0f} MiB",
    ]


def timed(work: Callable[[Path], object], paths: list[Path]) -> list[float]:
    """Milliseconds of each; the first of a turn does not count, which wakes sleeping threads."""
    taken = []
    for path in [paths[0], *paths]:
        start = time.perf_counter()
        work(path)
        taken.append((time.perf_counter() - start) * 1000)
    return taken[1:]


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def resident() -> float:
    """MiB of this process; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
