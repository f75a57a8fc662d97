"""Writes docs/cli.md from the command line's own help. Run: python docs/generate_cli.py"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from blemish.cli import app

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 96  # characters a line of help
VERBS = (
    "fit", "inspect", "evaluate", "info", "bench", "synth", "export", "verify", "demo", "data",
    "data info", "data doctor", "weights", "weights list", "weights fetch", "weights import",
    "weights verify", "weights bundle",
)  # fmt: skip


def page() -> str:
    """The whole page: the help of blemish and of each verb."""
    parts = [
        "# The command line",
        "",
        "Made by `python docs/generate_cli.py` from the help of each verb; do not edit.",
    ]
    for verb in ("", *VERBS):
        command = f"blemish {verb}".rstrip()
        parts += ["", f"## {command}", "", "```text", told(verb), "```"]
    return "\n".join(parts) + "\n"


def told(verb: str) -> str:
    """What `blemish VERB --help` prints."""
    result = CliRunner().invoke(
        app,
        [*verb.split(), "--help"],
        prog_name="blemish",
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
