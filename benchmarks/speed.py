"""Fit, inspect, memory and import, each as a ratio within this run.

fit: seconds of fitting magnetic_tile from an empty feature cache, over the seconds of one pass of
the bare backbone, batch 1, in the same runtime over the decoded and resized training images.
inspect: decode to verdict over decode + backbone, medians over the same images, in turns of 30.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import DATA, stamp, write

# The high-water mark of the child alone: ru_maxrss would start at its parent's.
PEAK = (
    "print(next(int(line.split()[1]) / 1024"
    " for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)
BLOCK = 30  # images in a turn: threads of a waiting runtime spin for a while and are in the way
CHILD = {
    "fit": "import blemish; blemish.fit({data!r}, method={method!r}).save({part!r});" + PEAK,
    "inspect": "import blemish; from pathlib import Path; m = blemish.load({part!r});"
    "[m.inspect(p) for p in sorted(Path({data!r}, 'test', 'good').iterdir())];" + PEAK,
    "import": "import time; t = time.perf_counter(); import blemish;"
    " print(time.perf_counter() - t)",
}


def main() -> None:
    data = DATA / "magnetic_tile"
    rows = []
    for method in ("padim", "fbft"):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["BLEMISH_CACHE"] = folder
            part = str(Path(folder) / "part.blemish")
            names = {"data": str(data), "method": method, "part": part}
            fit_mib = _child("fit", names)  # also leaves the backbone's graph in the cache
            inspect_mib = _child("inspect", names)
            found = _fit_ratio(data, method), _inspect(data, part)
            rows.append((method, *found, fit_mib, inspect_mib))
    head = ["method", "fit s", "backbone pass s", "ratio", "inspect ms", "decode + backbone ms"]
    head += ["ratio", "p99 ms", "fit MiB", "inspect MiB"]
    lines = [head, ["---"] * len(head)]
    for method, (fit, one_pass), (ms, base, p99), fit_mib, inspect_mib in rows:
        values = (fit, one_pass, fit / one_pass, ms, base, ms / base, p99, fit_mib, inspect_mib)
        lines.append([method, *(f"{value:.2f}" for value in values)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    seconds = statistics.median(_child("import", {}) for _ in range(7))
    write("speed", f"{table}\n\n`import blemish`: {seconds:.3f} s (median of 7). {stamp(0)}")


def _child(what: str, names: dict[str, str]) -> float:
    code = CHILD[what].format(**names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.split()[-1]))


def _fit_ratio(data: Path, method: str) -> tuple[float, float]:
    """Medians of three, in turn: seconds of fit, seconds of one bare pass."""
    import shutil

    from blemish.cache import cache_folder
    from blemish.engines import open_engine
    from blemish.fitting import backbone_graph, choose, fit_folder
    from blemish.images import read_image

    _, config = choose(method, "embedded", {})
    engine, frame = open_engine(backbone_graph(config)), config.frame()
    paths = sorted((data / "train" / "good").iterdir())
    images = [frame.to_model(read_image(path)) for path in paths]
    fits, passes = [], []
    for _ in range(3):
        shutil.rmtree(cache_folder() / "features", ignore_errors=True)
        start = time.perf_counter()
        fit_folder(data, method=method)
        fits.append(time.perf_counter() - start)
        start = time.perf_counter()
        for image in images:
            engine.run({"image": image})
        passes.append(time.perf_counter() - start)
    return statistics.median(fits), statistics.median(passes)


def _inspect(data: Path, part: str) -> tuple[float, float, float]:
    """Median and 99th percentile of decode to verdict, and median of decode + backbone, in ms."""
    import blemish
    from blemish.engines import open_engine
    from blemish.fitting import backbone_graph, choose
    from blemish.images import read_image

    inspector = blemish.load(part)
    _, config = choose(inspector.artifact.about["method"], "embedded", {})
    engine, frame = open_engine(backbone_graph(config)), config.frame()
    paths = sorted((data / "test").rglob("*.jpg"))[:300]
    whole, bare = [], []
    for start_at in range(0, len(paths), BLOCK):
        block = paths[start_at : start_at + BLOCK]
        whole += [inspector.inspect(path).ms for path in block]
        images = [frame.to_model(read_image(path)) for path in block]
        for path, image in zip(block, images, strict=True):
            start = time.perf_counter()
            read_image(path)
            engine.run({"image": image})
            bare.append((time.perf_counter() - start) * 1000)
    whole_sorted = sorted(whole)
    return statistics.median(whole), statistics.median(bare), whole_sorted[-len(whole) // 100]


if __name__ == "__main__":
    main()
