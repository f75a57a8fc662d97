"""Writes the tables of docs/weights.md from the source. Run: python docs/generate_weights.py"""

from __future__ import annotations

from pathlib import Path

from blemish.cli_weights import size
from blemish.nets.pretrained import PRETRAINED, Pretrained

PAGE = Path(__file__).with_name("weights.md")
RULE = "| --- |"


def page(text: str) -> str:
    """The page with its tables' rows made anew."""
    tables = iter((main_row, hash_row))
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("| ") and lines and lines[-1].startswith("| ") and not is_rule(line):
            continue
        lines.append(line)
        if is_rule(line):
            row = next(tables)
            lines += [row(one) for one in PRETRAINED.values()]
    return "\n".join(lines) + "\n"


def is_rule(line: str) -> bool:
    """Whether a line parts a table's head from its rows."""
    return line.startswith(RULE)


def main_row(one: Pretrained) -> str:
    """What it is."""
    place = f"[{one.file}]({one.url})" if one.url else one.file
    cleared = "cleared" if one.commercial else "**not cleared**"
    presets = ", ".join(one.presets)
    cells = (f"`{one.name}`", f"{place}, {size(one.size)}", one.licence, cleared, one.data, presets)
    return f"| {' | '.join(cells)} |"


def hash_row(one: Pretrained) -> str:
    """Which file exactly, and why it is cleared or not."""
    return f"| `{one.name}` | `{one.sha256}` | {one.why} |"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
