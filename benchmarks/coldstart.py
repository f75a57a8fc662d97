"""Process start to first verdict: a Python of two lines, and the command line.

Of a model on disk and a photograph of magnetic_tile, each time in a new process; the files are in
the system's cache, as they are from the second start of a day on. Which modules take longest to
import is told, too.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import DATA, stamp, write

from blemish.engines import installed
from blemish.fitting import fit_folder

ROUNDS = 15
SHOWN = 8  # modules
PYTHON = "import blemish; print(blemish.load({part!r}).inspect({image!r}).verdict)"
FOOT = "Medians of {rounds} starts in turns, and the quickest. "


def main() -> None:
    image = str(sorted((DATA / "magnetic_tile" / "test").rglob("*.jpg"))[0])
    with tempfile.TemporaryDirectory() as folder:
        part = str(Path(folder) / "part.blemish")
        fit_folder(DATA / "magnetic_tile").save(part)
        command = str(Path(sys.executable).with_name("blemish"))
        code = PYTHON.format(part=part, image=image)
        ways = {
            "nothing (`python -c pass`)": [sys.executable, "-c", "pass"],
            "Python: load, inspect": [sys.executable, "-c", code],
            "`blemish inspect`": [command, "inspect", part, image, "--quiet"],
        }
        rows = []
        for runtime in installed():
            environment = {**os.environ, "BLEMISH_RUNTIME": runtime}
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way, line in ways.items():
                    taken[way].append(seconds(line, environment))
            rows += [[runtime, way, *shown(values)] for way, values in taken.items()]
        slow = imports(code)
    lines = [["runtime", "what", "s, median", "s, quickest"], ["---"] * 4, *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    told = ", ".join(f"{name} {ms:.0f}" for name, ms in slow)
    foot = f"{FOOT.format(rounds=ROUNDS)}Own ms of the slowest imports: {told}."
    write("coldstart", f"{table}\n\n{foot} {stamp(0)}")


def seconds(line: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(line, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def shown(values: list[float]) -> list[str]:
    return [f"{statistics.median(values):.2f}", f"{min(values):.2f}"]


def imports(code: str) -> list[tuple[str, float]]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", done.stderr)
    return sorted(((name, int(us) / 1000) for us, name in found), key=lambda one: -one[1])[:SHOWN]


if __name__ == "__main__":
    main()
