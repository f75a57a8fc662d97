"""What an inspection costs against the size of the photograph, and of PatchCore's memory.

Photographs are made-up webs, PNG in colour. A model (padim, windows of 512 native pixels, 256 model
pixels) learns from eight of them. Each size is inspected in a process of its own: by Python, which
tells decoding and the whole, and by `blemish inspect -o`, which writes overlay and map. Peak memory
is the process's high-water mark after either. PatchCore's inspections are of 256 x 256 on one
thread, in turns, medians.

    python benchmarks/sizes.py [largest side, default 10000]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, stamp, write

SIZES = [(256, 256), (200, 5000), (1000, 1000), (2000, 2000), (2000, 8000), (4000, 4000)]
SIZES += [(7000, 7000), (10_000, 10_000)]
TILE = 512
ROWS = (256, 1024, 4096, 16_384, 65_536)  # of PatchCore's memory
TURNS = 40
CHILD = """
import json, sys, time
from pathlib import Path
import blemish
from blemish.cli import app
from blemish.images import read_image

part, image, out = sys.argv[1:]

def peak():
    return next(int(l.split()[1]) / 1024 for l in open('/proc/self/status') if l[:5] == 'VmHWM')

model = blemish.load(part)
start = time.perf_counter(); pixels = read_image(image); decode = time.perf_counter() - start
start = time.perf_counter(); found = model.inspect(pixels); score = time.perf_counter() - start
before = peak()
del pixels, found, model
start = time.perf_counter()
app(['inspect', part, image, '-o', out, '--json'], standalone_mode=False)
whole = time.perf_counter() - start
print(json.dumps([decode, score, before, whole, peak()]))
"""


def main() -> None:
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("BLEMISH_CACHE", f"{folder}/cache")
        rows = by_size(Path(folder), [size for size in SIZES if max(size) <= largest])
        banks = by_bank(Path(folder))
    head = "| H x W | megapixels | windows | decode s | decode to verdict s | peak MiB |"
    head += " with overlay and map s | peak MiB |\n|" + " ---: |" * 8
    lines = [
        f"| {h} x {w} | {h * w / 1e6:.2f} | {windows} | {decode:.2f} | {decode + score:.2f} |"
        f" {before:.0f} | {whole:.2f} | {peak:.0f} |"
        for (h, w), windows, (decode, score, before, whole, peak) in rows
    ]
    bank = "| rows of PatchCore's memory | model MB | ms |\n| ---: | ---: | ---: |\n"
    bank += "\n".join(f"| {count:,} | {size:.0f} | {ms:.1f} |" for count, size, ms in banks)
    foot = f"Tiles of {TILE} px, overlap 192, padim at 256. {stamp(0)}"
    write("sizes", "\n".join([head, *lines, "", bank, "", foot]))
    (RESULTS / "sizes.svg").write_text(drawing(rows, banks) + "\n", encoding="utf-8")


def by_size(folder: Path, sizes: list[tuple[int, int]]) -> list[Any]:
    import blemish

    (folder / "good").mkdir()
    for number in range(8):
        save(folder / "good" / f"{number}.png", web((1100, 1100), number))
    part = folder / "part.blemish"
    model = blemish.fit(folder / "good", settings={"tile": TILE}, false_alarms=0.2)
    model.save(part)
    tiles = model.artifact.frame.tiles
    rows = []
    for size in sizes:
        image = folder / "web.png"
        pixels = web(size, 99)
        middle = size[0] // 2, size[1] // 2
        pixels[middle[0] : middle[0] + 12, middle[1] : middle[1] + 40] = 250
        save(image, pixels)
        words = [sys.executable, "-c", CHILD, str(part), str(image), str(folder / "out")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        verdict, told = done.stdout.splitlines()
        rows.append((size, len(tiles.corners(size)) if tiles else 1, json.loads(told)))
        print(size, json.loads(verdict)["verdict"], told, flush=True)
    return rows


def by_bank(folder: Path) -> list[tuple[int, float, float]]:
    import blemish

    image = web((256, 256), 77)
    models, sizes = {}, {}
    for rows in ROWS:
        part = folder / "bank.blemish"
        settings = {"rows": rows, "share": 1.0, "tile": 256, "overlap": 0}
        blemish.fit(folder / "good", method="patchcore", settings=settings, false_alarms=0.2).save(
            part
        )
        models[rows] = blemish.load(part, threads=1)
        sizes[rows] = part.stat().st_size / 1e6
    spent: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for _ in range(TURNS):
        for rows, model in models.items():
            start = time.perf_counter()
            model.inspect(image)
            spent[rows].append(1000 * (time.perf_counter() - start))
    return [(rows, sizes[rows], statistics.median(spent[rows])) for rows in ROWS]


def drawing(rows: list[Any], banks: list[tuple[int, float, float]]) -> str:
    from blemish.report.chart import COLOURS, Axis, Chart, stack

    area = sorted((h * w / 1e6, told) for (h, w), _, told in rows)
    x = Axis(low=0.05, high=150, title="megapixels", logarithmic=True)
    seconds = Chart(x, Axis(low=0.002, high=30, title="seconds", logarithmic=True), width=480)
    whole = [(mp, decode + score) for mp, (decode, score, *_) in area]
    seconds.curve(whole, COLOURS[0], dots=True)
    seconds.curve([(mp, decode) for mp, (decode, *_) in area], COLOURS[6], dots=True)
    seconds.word((90, 30), "decode to verdict", colour=COLOURS[0])
    seconds.word((90, 46), "decode alone", colour=COLOURS[6])
    peaks = [(mp, told[4]) for mp, told in area]
    high = 1.1 * max(peak for _, peak in peaks)
    memory = Chart(x, Axis(low=0, high=high, title="peak, MiB"), width=480)
    memory.curve(peaks, COLOURS[1], dots=True)
    bank = Chart(
        Axis(low=200, high=80_000, title="rows of PatchCore's memory", logarithmic=True),
        Axis(low=0, high=1.1 * max(ms for *_, ms in banks), title="ms, 256 x 256"),
        width=480,
    )
    bank.curve([(count, ms) for count, _, ms in banks], COLOURS[2], dots=True)
    return stack([seconds, memory, bank])


def web(size: tuple[int, int], seed: int) -> Any:
    """(H, W, 3) uint8: a surface rough at several scales, the same whatever the size."""
    import cv2

    rng = np.random.default_rng(seed)
    rough = np.zeros(size, np.float32)
    for step in (2, 8, 32):
        small = rng.standard_normal((size[0] // step + 2, size[1] // step + 2)).astype(np.float32)
        layer = cv2.resize(small, None, fx=step, fy=step)[: size[0], : size[1]]
        rough += layer * step**0.5
    grey = np.clip(128 + 6 * rough, 0, 255).astype(np.uint8)
    return np.dstack([grey, grey, 255 - grey])


def save(path: Path, pixels: Any) -> None:
    import cv2

    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])


if __name__ == "__main__":
    main()
