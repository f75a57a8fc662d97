"""The slim installation's list agrees with what the package says that it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"([a-z0-9-]+)==([0-9.]+) --hash=sha256:[0-9a-f]{64}")


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    kept = [PINNED.fullmatch(line) for line in lines if line and not line.startswith("#")]
    assert all(kept), "every line names a package, its version and its hash, and no address"
    return {match[1]: match[2] for match in kept if match}


def least() -> dict[str, str]:
    """What pyproject.toml asks for, at least, of the runtime."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"\ndependencies = \[\n(.*?)\n\]", text, re.DOTALL)
    assert block
    return dict(re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', block[1]))


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("name", sorted(least()))
def test_what_the_runtime_needs_is_there_and_new_enough(name: str) -> None:
    assert number(pinned()[name]) >= number(least()[name])


def test_nothing_heavy_is_there() -> None:
    assert not set(pinned()) & {"torch", "onnx", "matplotlib", "sympy", "protobuf", "pygments"}
