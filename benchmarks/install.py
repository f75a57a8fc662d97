"""What the small installation weighs: a new environment without pip, package by package.

    python benchmarks/install.py [--slim]

--slim: by requirements/runtime.txt, which names what the runtime needs and nothing that others
declare and never import. pip compiles all of the plain one's modules; of the slim one's, Python
does what it imports when it inspects a photograph, which is done here before it is weighed. Takes
a package index, and a minute or two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from machine import DATA, stamp, write

import blemish

ROOT = Path(__file__).resolve().parents[1]
SLIM = ROOT / "requirements" / "runtime.txt"
SHOWN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description="Size of an installation.")
    parser.add_argument("--slim", action="store_true", help="only what the runtime imports")
    slim = parser.parse_args().slim
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        empty = weight(venv)
        install(venv, slim)
        inspect(venv, Path(folder))
        whole = weight(venv)
        (packages,) = venv.glob("lib/python*/site-packages")
        rows = sorted(((of(one), one) for one in distributions(path=[str(packages)])), key=first)
        lines = [["package", "MB"], ["---", "---"]]
        lines += [[f"{one.name} {one.version}", f"{mb:.1f}"] for mb, one in rows[:SHOWN]]
    rest = sum(mb for mb, _ in rows[SHOWN:])
    lines.append([f"{len(rows) - SHOWN} smaller ones", f"{rest:.1f}"])
    lines.append(["**all, bytecode and scripts too**", f"**{whole:.0f}**"])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = f"The environment itself, without pip, is {empty:.1f} MB of these. MB: 10^6 bytes."
    write("install-slim" if slim else "install", f"{table}\n\n{note} {stamp('none needed')}")


def install(venv: Path, slim: bool) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q"]
    if slim:
        pip += ["--no-deps", "--no-compile"]
        subprocess.run([*pip, "--require-hashes", "-r", str(SLIM)], check=True)
    subprocess.run([*pip, str(ROOT)], check=True)


def inspect(venv: Path, folder: Path) -> None:
    """As it will be used: one photograph, by the environment that is weighed."""
    part = blemish.fit(DATA / "magnetic_tile").save(folder / "part.blemish")
    image = sorted((DATA / "magnetic_tile" / "test").rglob("*.jpg"))[0]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = venv / "bin" / "blemish"
    line: list[str | Path] = [command, "inspect", part, image, "-o", folder / "out"]
    subprocess.run(line, check=True, env=kept, cwd=folder)


def weight(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def of(package: Distribution) -> float:
    """MB of the files that a package brought, bytecode too."""
    paths = (Path(str(package.locate_file(file))) for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def first(row: tuple[float, Distribution]) -> float:
    return -row[0]


if __name__ == "__main__":
    main()
