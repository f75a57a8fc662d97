"""A few weights, and a local web server that behaves as badly as it is told to."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


@dataclass
class Server:
    """content: of its one file. quirks: what it does with the first request, the second and so on;
    what comes after the last is behaved well. asked: (path, Range or None, If-Range or None)."""

    content: bytes
    quirks: list[str] = field(default_factory=list)
    etag: str | None = '"one"'
    ranges: bool = True
    url: str = ""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    gate: threading.Event | None = None  # answers wait for it
    over: threading.Event = field(default_factory=threading.Event)  # what stalls waits for it


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """A server on a free port of this machine."""
    server = Server(content)

    class Handler(_Handler):
        behaviour = server

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server.url = f"http://127.0.0.1:{listening.server_address[1]}/net.pth"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            listening.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    behaviour: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        told, own = self.behaviour, self.headers
        told.asked.append((self.path, own.get("Range"), own.get("If-Range")))
        quirk = told.quirks.pop(0) if told.quirks else ""
        if told.gate is not None:
            told.gate.wait(60)
        if re.fullmatch(r"\d\d\d", quirk):
            self._refuse(int(quirk))
        else:
            self._answer(quirk, self._start(quirk))

    def _refuse(self, code: int) -> None:
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", "/elsewhere/net.pth")
        if code == 416:
            self.send_header("Content-Range", f"bytes */{len(self.behaviour.content)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _start(self, quirk: str) -> int | None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        told = self.behaviour
        same = self.headers.get("If-Range") in (None, told.etag)
        if wanted is None or not same or not told.ranges or quirk == "ignore":
            return None
        return int(wanted[1])

    def _answer(self, quirk: str, start: int | None) -> None:
        told = self.behaviour
        if start is not None and start >= len(told.content):
            self._refuse(416)
            return
        body = told.content[start or 0 :]
        if quirk == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(200 if start is None else 206)
        if told.etag:
            self.send_header("ETag", told.etag)
        if start is not None:
            first = start + 7 * (quirk == "shift")
            last = len(told.content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{last + 1}")
        if quirk != "unsized":
            surplus = {"long": 100, "short": -100}.get(quirk, 0)
            self.send_header("Content-Length", str(len(body) + surplus))
        self.end_headers()
        if quirk in ("cut", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if quirk == "stall":
                told.over.wait(60)
        elif quirk == "drop":
            pass
        else:
            self.wfile.write(body if quirk != "short" else body[:-100])
        self.close_connection = True


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    """What tells Point-MAE's weights, for which timm builds no network, and more: 3 MB."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "module.MAE_encoder.encoder.first_conv.0.weight": torch.randn(128, 3, 1, generator=draw),
        "module.MAE_encoder.blocks.blocks.11.attn.qkv.weight": torch.randn(
            1152, 384, generator=draw
        ),
        "module.more": torch.randn(300_000, generator=draw),
    }


def packed(tensors: dict[str, torch.Tensor]) -> bytes:
    """A checkpoint as Point-MAE's authors publish it."""
    buffer = io.BytesIO()
    torch.save({"base_model": tensors, "epoch": 300}, buffer)
    return buffer.getvalue()
