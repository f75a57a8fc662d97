"""The command line, run as a person runs it."""

from __future__ import annotations

import sys

import pytest

from blemish import cli


def run(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of `blemish` with these words."""
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["blemish", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return int(end.value.code or 0), out, err
