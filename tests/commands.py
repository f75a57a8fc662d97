"""The command line, run as a person runs it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from blemish import cli


class Done(NamedTuple):
    """Exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """What was printed for machines, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


def run(capfd: pytest.CaptureFixture[str], *words: object) -> Done:
    """`blemish` with these words, in this process; streams are not terminals."""
    capfd.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["blemish", *map(str, words)])
        # The program dies of a closed pipe, as it should; tests and their servers must not.
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            cli.main()
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert "\x1b" not in out + err  # neither colours nor bars
    return Done(int(end.value.code or 0), out, err)
