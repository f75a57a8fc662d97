"""Several workers against one, and ten thousand images: times and memory, each within this run.

Magnetic_tile, default method, JPEG file to verdict, for each runtime that is installed. Images a
second: the same images by one worker of one thread, by one with all cores and by two (as
inspect_many sets them), in turns. Then, in a process that does nothing else, 10,000 images with one
worker and with two: median and 99th percentile of their ms, and the process's resident memory after
the first 500 and at the end; and plain calls of inspect, in turns with the one worker, which must
not be slower.

Run: python benchmarks/throughput.py [number of images: 10000 unless told, a few minutes]
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from machine import DATA, stamp, write
from turns import p99

ROUNDS, TURN = 12, 100  # images that one setting inspects before it is the next one's turn
BLOCK, PLAIN = 500, 100  # of the many: images between looks at memory, and plain calls after them


def main(count: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BLEMISH_CACHE"] = folder
        from blemish.engines import installed

        part = Path(folder) / "part.blemish"
        data = DATA / "magnetic_tile"
        _child("-c", f"import blemish; blemish.fit({str(data)!r}).save({str(part)!r})")
        tables = [_throughput(part, name) for name in installed()]
        tables += [_child(__file__, "many", str(part), name, str(count)) for name in installed()]
    write("throughput", "\n\n".join([*tables, stamp(0)]))


def _child(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _paths() -> list[Path]:
    return sorted((DATA / "magnetic_tile" / "test").rglob("*.jpg"))


def _throughput(part: Path, runtime: str) -> str:
    from blemish.runtime import Inspector

    one = Inspector.load(part, runtime=runtime, threads=1)
    every = Inspector.load(part, runtime=runtime)
    settings = {"1, one thread": (one, 1), "1, a thread a core": (every, 1), "2": (every, 2)}
    spent: dict[str, list[float]] = {name: [] for name in settings}
    busy: dict[str, list[float]] = {name: [] for name in settings}
    for inspector, workers in settings.values():  # sessions and files are warm afterwards
        list(inspector.inspect_many(_paths()[:TURN], workers=workers))
    for _ in range(ROUNDS):
        for name, (inspector, workers) in settings.items():
            start, working = time.perf_counter(), time.process_time()
            for _ in inspector.inspect_many(_paths()[:TURN], workers=workers):
                pass
            spent[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - working)
    lines = [[f"workers ({runtime})", "images a second", "times one of one thread"]]
    lines[0].append("CPU ms an image")  # which tells little of other work on the machine
    lines.append(["---"] * len(lines[0]))
    for name, seconds in spent.items():
        ratios = [base / own for base, own in zip(spent["1, one thread"], seconds, strict=True)]
        told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cpu = f"{statistics.median(busy[name]) / TURN * 1000:.1f}"
        lines.append([name, f"{TURN / statistics.median(seconds):.0f}", told, cpu])
    return _table(lines)


def _many(part: Path, runtime: str, count: int) -> str:
    from blemish.runtime import Inspector

    inspector, process = Inspector.load(part, runtime=runtime), psutil.Process()
    head = [f"{count} images ({runtime})", "median ms", "p99 ms", "p99 / median",
            f"MiB after {BLOCK}", "MiB at the end", "most MiB"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    plain: list[float] = []
    same: list[float] = []
    for workers in (1, 2):
        ms: list[float] = []
        memory: list[float] = []
        for block in _blocks(_paths(), count):
            found = inspector.inspect_many(block, workers=workers)
            of_block = [one.prediction.ms for one in found if one.prediction]
            ms += of_block
            memory.append(process.memory_info().rss / 2**20)
            if workers == 1:
                same += of_block[:PLAIN]
                plain += [inspector.inspect(path).ms for path in block[:PLAIN]]
        told = (memory[0], memory[-1], max(memory))
        name = f"{workers} worker{'s' * (workers > 1)}"
        lines.append([name, *_times(ms), *(f"{mib:.0f}" for mib in told)])
    lines.append([f"1 worker, {PLAIN} of each {BLOCK}", *_times(same), "", "", ""])
    lines.append(["the same by inspect, in turns", *_times(plain), "", "", ""])
    return _table(lines)


def _blocks(paths: list[Path], count: int) -> Iterator[list[Path]]:
    endless = itertools.islice(itertools.cycle(paths), count)
    while block := list(itertools.islice(endless, BLOCK)):
        yield block


def _times(ms: list[float]) -> list[str]:
    median, slow = statistics.median(ms), p99(ms)
    return [f"{median:.2f}", f"{slow:.2f}", f"{slow / median:.2f}"]


def _table(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["many"]:
        print(_many(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    else:
        main(*map(int, sys.argv[1:]))
