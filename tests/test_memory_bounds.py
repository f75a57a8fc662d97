"""Memory while inspecting: bounded for one large plate, flat over many photographs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graphs
from blemish.tiles import Tiles

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)

PEAK = """
import sys
from pathlib import Path
from blemish.runtime import Inspector

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

model = Inspector.load(sys.argv[1], runtime="onnxruntime", threads=2)
"""
PLATE = """
model.inspect(sys.argv[2])
before = peak()
found = model.inspect(sys.argv[3])
print(found.verdict, *found.map.shape, peak() - before)
"""
MANY = """
images = sorted(Path(sys.argv[2]).rglob("*.jpg"))
peaks = []
for number in range(300):
    found = model.inspect(images[number % len(images)])
    if number + 1 in (50, 300):
        peaks.append(peak())
print(peaks[1] - peaks[0])
"""
SEVERAL = """
from itertools import cycle, islice
images = sorted(Path(sys.argv[2]).rglob("*.jpg"))
peaks = []
for number, found in enumerate(model.inspect_many(islice(cycle(images), 300), workers=2)):
    if number + 1 in (50, 300):
        peaks.append(peak())
print(peaks[1] - peaks[0])
"""


def said(code: str, *words: object) -> list[str]:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def plate(folder: Path, side: int) -> Path:
    """A made-up one with a defect, as a file."""
    pattern = np.random.default_rng(0).integers(0, 200, (300, 300, 3), np.uint8)
    pixels = np.tile(pattern, (side // 300, side // 300, 1))
    pixels[100:300, 100:400] = 255
    Image.fromarray(pixels).save(folder / f"{side}.png", compress_level=1)
    return folder / f"{side}.png"


def test_a_large_plate_takes_little_beside_its_pixels_and_its_map(tmp_path: Path) -> None:
    """36 megapixels: pixels and map are 240 MiB. All windows at once, as the graph takes them,
    would be 600 MiB more, a copy in floats 400, another map 140. Measured: 450 to 460."""
    side = 512
    made = graphs.artifact(graphs.brightness((1, 3, side, side)))
    frame = replace(made.frame, size=(side, side), tiles=Tiles(side=side, overlap=96))
    part = replace(made, frame=frame).save(tmp_path / "part.blemish")
    small, large = plate(tmp_path, 600), plate(tmp_path, 6000)
    verdict, height, width, growth = said(PLATE, part, small, large)
    assert (verdict, height, width) == ("defect", "6000", "6000")
    assert float(growth) < 530


@pytest.mark.parametrize("code", [MANY, SEVERAL], ids=["one by one", "by two workers"])
def test_memory_is_flat_over_many_photographs(code: str, part: Path, demo: Path) -> None:
    """A map kept of each photograph would be 100 MiB more, its pixels 75."""
    (growth,) = said(code, part, demo)
    assert float(growth) < 10
