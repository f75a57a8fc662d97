"""Decode to verdict of one photograph after the other, for each runtime that is installed, over the
least that could be: decode, resize and the bare backbone in the same runtime.

The default method on magnetic_tile's test part, photographs from disk, one at a time. Each side is
a process of its own, in turns of BLOCK photographs, so that what else the machine does falls on
both, and no runtime's threads are in the other's way. The bare backbone has its sizes fixed and its
constants folded as the model's own graph has.

    python benchmarks/latency.py [--many 10000]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from turns import BLOCK, in_turns, p99, ratio, serve

SIDES = ("whole", "least")
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
    " {share:.0%} of them defective; ratio: the median of the turns', and their quartiles. least:"
    " decode, resize, bare backbone. memory: resident, of the inspecting process, after the first"
    " thousand and at the end."
)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in SIDES:
        serve(side(*sys.argv[1:]))
        return
    from machine import DATA, stamp, write

    from blemish.data import open_data
    from blemish.engines import installed

    parser = argparse.ArgumentParser(description="Latency of one process.")
    parser.add_argument("--many", type=int, default=800, help="photographs each")
    many = parser.parse_args().many
    tests = open_data(DATA / "magnetic_tile").test
    paths = [str(sample.image) for sample in tests]
    lines = [["runtime", "verdict ms", "p99", "p99 / median", "least ms", "p99", "ratio", "memory"]]
    lines.append(["---"] * len(lines[0]))
    with tempfile.TemporaryDirectory() as folder:
        part, bare = str(Path(folder) / "part.blemish"), str(Path(folder) / "bare.onnx")
        subprocess.run([sys.executable, "-c", PREPARE, DATA, part, bare], check=True)
        for runtime in installed():
            sides = {name: (sys.executable, __file__, name, runtime, part, bare) for name in SIDES}
            lines.append([runtime, *row(*in_turns(sides, paths, many))])
            print(" | ".join(lines[-1]), flush=True)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    share = statistics.mean(sample.is_defect for sample in tests)
    write("latency", f"{table}\n\n{FOOT.format(count=many, block=BLOCK, share=share)} {stamp(0)}")


def side(name: str, runtime: str, part: str, bare: str) -> Callable[[str], object]:
    """What one of SIDES does with a photograph."""
    import blemish

    if name == "whole":
        return blemish.load(part, runtime=runtime).inspect
    from blemish.artifact import open_artifact
    from blemish.engines import entries, open_engine
    from blemish.images import read_image

    frame, net = open_artifact(part).frame, open_engine(Path(bare).read_bytes(), runtime)
    entry = entries(net)["image"]
    return lambda path: net.run({entry: frame.to_model(read_image(path))})


def row(taken: dict[str, list[float]], memory: dict[str, list[int]]) -> list[str]:
    whole, least = (taken[name] for name in SIDES)
    mib = [kib / 1024 for kib in memory["whole"]]
    first, last = mib[min(1000 // BLOCK, len(mib) - 1)], mib[-1]
    return [
        f"{statistics.median(whole):.2f}",
        f"{p99(whole):.2f}",
        f"**{p99(whole) / statistics.median(whole):.2f}**",
        f"{statistics.median(least):.2f}",
        f"{p99(least):.2f}",
        ratio(whole, least),
        f"{first:.0f} → {last:.0f} MiB",
    ]


if __name__ == "__main__":
    main()
