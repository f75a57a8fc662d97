"""What a result must carry to be believed: seed, commit, machine, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

DATA = Path(os.environ.get("BLEMISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results"


def stamp(seed: object) -> str:
    """One line for the foot of a table."""
    commit = _git("rev-parse", "--short", "HEAD")
    # what another benchmark has just written changes nothing
    if _git("status", "--porcelain", "--untracked-files=no", ":/", ":!/benchmarks/results"):
        commit += "-dirty"
    names = ("numpy", "opencv-python-headless", "onnxruntime", "torch")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cpu = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.processor(),
    )
    return (
        f"seed {seed}; commit {commit}; {os.cpu_count()} cores of {cpu}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def write(name: str, text: str) -> None:
    """Prints a result and keeps it under benchmarks/results."""
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
