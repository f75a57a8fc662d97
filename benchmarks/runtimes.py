"""ONNX Runtime and OpenVINO: how soon they are done, how far apart, and what fitting gains.

inspect: pixels to verdict, medians over the same photographs of magnetic_tile, in turns, and
milliseconds that any core was at work for one of them, which other work disturbs less. apart: the
largest difference of a map as a share of its largest value, and of a score likewise.
fit: seconds from decoded and resized photographs to features, by the pool that fit uses, in turns.
start: seconds of a process from its start to its first verdict, choice remembered, in turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import DATA, stamp, write

import blemish
from blemish.engines import TITLES, cores, difference, open_engine
from blemish.fitting import backbone_graph, choose
from blemish.images import read_image

BLOCK = 30  # images in a turn: threads of a waiting runtime spin for a while and are in the way
METHODS = ("padim", "fbft")
START = (
    "import time\n"
    "import blemish, os; blemish.load({part!r}, runtime={runtime!r}).inspect({image!r})\n"
    "ticks = float(open('/proc/self/stat').read().split()[21]) / os.sysconf('SC_CLK_TCK')\n"
    "print(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)"
)


def main() -> None:
    data = DATA / "magnetic_tile"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("BLEMISH_CACHE", folder)
        parts = {name: Path(folder) / f"{name}.blemish" for name in METHODS}
        for method, part in parts.items():
            blemish.fit(data, method=method).save(part)
        lines = ["| method | threads | ONNX Runtime ms | OpenVINO ms | ratio | of cores | apart |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        lines += [_inspected(data, part, threads) for part in parts.values() for threads in (0, 1)]
        text = "\n".join(lines) + f"\n\n{_fitted(data)}\n\n{_started(data, parts['padim'])}"
    write("runtimes", f"{text}\n\n{stamp(0)}")


def _inspected(data: Path, part: Path, threads: int) -> str:
    inspectors = [blemish.load(part, runtime=name, threads=threads) for name in TITLES]
    images = [read_image(path) for path in sorted((data / "test").rglob("*.jpg"))[:120]]
    spent: list[list[float]] = [[] for _ in inspectors]
    found: list[list[Any]] = [[] for _ in inspectors]
    worked = [0.0 for _ in inspectors]
    for start in range(0, len(images), BLOCK):
        for place, one in enumerate(inspectors):
            before = time.process_time()
            made = [one.inspect(image) for image in images[start : start + BLOCK]]
            worked[place] += time.process_time() - before
            spent[place].extend(each.ms for each in made[1:])
            found[place].extend(made)
    first, second = map(statistics.median, spent)
    pairs = list(zip(*found, strict=True))
    maps = max(difference(a.map, b.map) for a, b in pairs)
    scores = max(abs(a.score - b.score) / abs(a.score) for a, b in pairs)
    sides = sum(a.verdict != b.verdict for a, b in pairs)
    apart = f"map {maps:.1e}, score {scores:.1e}, {sides} verdicts of {len(pairs)}"
    busy = " and ".join(f"{1000 * each / len(images):.1f}" for each in worked)
    times = f"{first:.2f} | {second:.2f} | {first / second:.2f} | {busy} ms"
    return f"| {part.stem} | {threads or 'all'} | {times} | {apart} |"


def _fitted(data: Path) -> str:
    _, config = choose("padim", "embedded", {})
    graph, frame = backbone_graph(config), config.frame()
    paths = sorted((data / "train" / "good").iterdir())[:120]
    images = [frame.to_model(read_image(path)) for path in paths]
    engines = [open_engine(graph, name, threads=1) for name in TITLES]
    spent: list[list[float]] = [[] for _ in engines]
    with ThreadPoolExecutor(cores()) as pool:
        for turn in range(6):
            for engine, seconds in zip(engines, spent, strict=True):
                start = time.perf_counter()
                list(pool.map(lambda image, engine=engine: engine.run({"image": image}), images))
                if turn:
                    seconds.append(time.perf_counter() - start)
    first, second = map(statistics.median, spent)
    return (
        f"Features of {len(images)} photographs, {cores()} at a time: {first:.2f} s by ONNX"
        f" Runtime, {second:.2f} s by OpenVINO, ratio {first / second:.2f}."
    )


def _started(data: Path, part: Path) -> str:
    image = str(next(iter(sorted((data / "test" / "good").iterdir()))))
    spent: dict[str, list[float]] = {name: [] for name in TITLES}
    for turn in range(6):
        for runtime, seconds in spent.items():
            code = START.format(part=str(part), runtime=runtime, image=image)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            seconds.extend([float(done.stdout)] * (turn > 0))
    told = ", ".join(f"{statistics.median(all):.2f} s {TITLES[of]}" for of, all in spent.items())
    return f"Process start to first verdict: {told}."


if __name__ == "__main__":
    main()
