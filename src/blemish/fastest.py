"""Which runtime: the one asked for, or of those installed the one that is soonest done on this very
graph, measured for about a second and remembered.

Remembered by graph, versions, processor, cores and threads: a process that starts again with the
same ones opens what was chosen, and so scores to the bit as before.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blemish.cache import cache_folder, keep
from blemish.engines import (
    DEFAULT,
    Array,
    Engine,
    cores,
    difference,
    here,
    installed,
    open_engine,
    require_known,
    tolerance,
)
from blemish.errors import ArtifactError, BlemishError

AUTO = "auto"
VARIABLE = "BLEMISH_RUNTIME"  # of the environment: what auto stands for
SECONDS = 1.0  # of measuring, opening the runtimes included
TURN = 0.1  # seconds that one runtime is measured before it is another's turn
MARGIN = 1.1  # how many times sooner another than the default must be to be chosen

Example = Callable[[Engine], Mapping[str, Array]]  # what an engine is fed while it is measured


@dataclass(frozen=True)
class Runtime:
    """What runs a graph. name: a key of engines.DEVICES. how: why it was chosen."""

    name: str
    version: str
    how: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def noise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """The same float32 numbers in [0, 1) each time, for inputs of these shapes."""
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def open_chosen(
    graph: bytes, example: Example, runtime: str = AUTO, *, threads: int = 0
) -> tuple[Engine, Runtime]:
    """An engine for a graph, and how it was chosen; arguments and errors as of open_engine.

    runtime: "auto" takes what BLEMISH_RUNTIME says; if that says nothing, the soonest done of those
    installed for the CPU. example: makes what an engine is fed while it is measured.
    """
    told = os.environ.get(VARIABLE) or AUTO
    if runtime != AUTO or told != AUTO:
        name, how = (told, f"{VARIABLE} asks for it") if runtime == AUTO else (runtime, "asked for")
        require_known(name)
    elif len(names := here()) < 2:
        name, how = (names or (DEFAULT,))[0], "the only one installed"
    else:
        return _soonest(graph, example, names, threads)
    engine = open_engine(graph, name, threads=threads)
    return engine, Runtime(name, engine.version, how)


def _soonest(
    graph: bytes, example: Example, names: Sequence[str], threads: int
) -> tuple[Engine, Runtime]:
    file = _memory(graph, threads)
    if kept := _recalled(file, names):
        name, how = kept
        engine = open_engine(graph, name, threads=threads)
        return engine, Runtime(name, engine.version, f"{how}; remembered")
    engine, how = measured(graph, example, names, threads)
    if file is not None:
        with suppress(BlemishError):  # it is measured again next time
            keep(file, json.dumps({"runtime": engine.name, "how": how}).encode())
    return engine, Runtime(engine.name, engine.version, how)


def measured(
    graph: bytes,
    example: Example,
    names: Sequence[str],
    threads: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Engine, str]:
    """The engine that is soonest done, and a sentence on what was measured. names: the first is
    taken unless another is MARGIN times sooner. One that does not agree with the first is left out.

    Raises ArtifactError if none runs the graph.
    """
    start = clock()
    engines, said = _agreeing(graph, example, names, threads)
    feeds = [example(engine) for engine in engines]
    spent: list[list[float]] = [[] for _ in engines]
    while len(engines) > 1 and (clock() - start < SECONDS or not spent[-1]):
        for engine, feed, seconds in zip(engines, feeds, spent, strict=True):
            _turn(engine, feed, seconds, clock)
    medians = [statistics.median(seconds) if seconds else 0.0 for seconds in spent]
    best = min(range(len(engines)), key=medians.__getitem__)
    chosen = engines[best if medians[best] * MARGIN < medians[0] else 0]
    told = [f"{e.name} {1000 * s:.3g} ms" for e, s in zip(engines, medians, strict=True) if s]
    return chosen, f"measured: {', '.join([*told, *said])}"


def _turn(
    engine: Engine, feed: Mapping[str, Array], spent: list[float], clock: Callable[[], float]
) -> None:
    engine.run(feed)  # while the other's threads, which wait for work in a loop, fall asleep
    end = clock() + TURN
    while True:
        start = clock()
        engine.run(feed)
        spent.append(clock() - start)
        if clock() >= end:
            return


def _agreeing(
    graph: bytes, example: Example, names: Sequence[str], threads: int
) -> tuple[list[Engine], list[str]]:
    """Engines that run the graph and agree with the first, and what is said of the others. Raises
    the first one's ArtifactError if there is none."""
    engines: list[Engine] = []
    said, refusals = [], []
    expected: list[Array] = []
    for name in names:
        try:
            engine = open_engine(graph, name, threads=threads)
            made = engine.run(example(engine))
        except ArtifactError as error:
            refusals.append(error)
            said.append(f"{name} does not run it")
            continue
        expected = expected or made
        apart = max(difference(one, other) for one, other in zip(expected, made, strict=True))
        if apart <= tolerance(graph) or not engines:
            engines.append(engine)
        else:
            said.append(f"{name} differs by {apart:.2g}")
    if not engines:
        raise refusals[0]
    return engines, said


def _memory(graph: bytes, threads: int) -> Path | None:
    """Where a choice is remembered; None if there is no such place."""
    told = [installed(), _processor(), cores(), threads]
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode() + graph).hexdigest()
    with suppress(BlemishError):
        return cache_folder() / "runtimes" / f"{key[:32]}.json"
    return None


def _recalled(file: Path | None, names: Sequence[str]) -> tuple[str, str] | None:
    """Name and sentence, or None where nothing is remembered that could be believed."""
    if file is None:
        return None
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(file.read_bytes())
        if kept["runtime"] in names and isinstance(kept["how"], str):
            return kept["runtime"], kept["how"]
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line
    return f"{platform.machine()} {os.environ.get('PROCESSOR_IDENTIFIER', '')}"
