"""Programs that take turns on the same photographs, each in a process of its own.

What else the machine does falls on all of them, and none's threads are in another's way.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = 20  # photographs in a turn


def in_turns(
    sides: Mapping[str, Sequence[str]], paths: Sequence[str], count: int
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Milliseconds of `count` photographs, drawn from these, by side; and the memory of its process
    after each turn, in KiB, 0 where the system does not tell. sides: command lines that serve."""
    running = {name: _start(line) for name, line in sides.items()}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    memory: dict[str, list[int]] = {name: [] for name in sides}
    order = random.Random(0).choices(paths, k=count)
    for at in range(0, count, BLOCK):
        for name, process in running.items():
            told = _ask(process, order[at : at + BLOCK])
            taken[name] += told["ms"]
            memory[name].append(told["kib"])
    for process in running.values():
        process.stdin.close()
        process.wait()
    return taken, memory


def _start(line: Sequence[str]) -> Any:
    return subprocess.Popen(
        [*line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tempfile.gettempdir(),  # a peer keeps a cache where it is started
    )


def _ask(process: Any, block: Sequence[str]) -> Any:
    process.stdin.write(json.dumps(block) + "\n")
    process.stdin.flush()
    for line in process.stdout:  # a peer talks
        if line.startswith('{"ms"'):
            return json.loads(line)
    raise SystemExit(f"{process.args} ended; run it by hand.")


def serve(work: Callable[[str], object]) -> None:
    """Answers a line of paths with their milliseconds; the first of a turn, which wakes sleeping
    threads, does not count."""
    for line in sys.stdin:
        block, taken = json.loads(line), []
        for path in [block[0], *block]:
            begun = time.perf_counter()
            work(path)
            taken.append((time.perf_counter() - begun) * 1000)
        print(json.dumps({"ms": taken[1:], "kib": _resident()}), flush=True)


def _resident() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmRSS: 0"]
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def ratio(values: Sequence[float], others: Sequence[float]) -> str:
    """The median over the turns of one side's median over the other's, and the quartiles."""
    turns = [
        statistics.median(values[at : at + BLOCK]) / statistics.median(others[at : at + BLOCK])
        for at in range(0, len(values), BLOCK)
    ]
    low, half, high = statistics.quantiles(turns, n=4)
    return f"**{half:.2f}** ({low:.2f} to {high:.2f})"
