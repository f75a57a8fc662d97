"""What a verdict costs by the side of the model's input, and by the rows of a memory.

padim (the default) at several sizes and patchcore with several memories, fitted to the same PARTS
good photographs of magnetic_tile; milliseconds from decoded pixels to the verdict, in turns. Writes
a table and the drawing docs/performance.svg.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from machine import DATA, stamp, write

import blemish
from blemish.images import read_image
from blemish.report.chart import COLOURS, Axis, Chart, stack
from blemish.runtime import Inspector

PARTS, SHOWN, ROUNDS = 100, 10, 4
SIZES = (128, 192, 256, 384, 512, 768)
ROWS = (256, 512, 1024, 2048, 4096, 8192)
DRAWING = Path(__file__).resolve().parents[1] / "docs" / "performance.svg"
GREY = "#808080"  # can be read on white and on black


def main() -> None:
    images = [read_image(path) for path in sorted((DATA / "magnetic_tile/test").rglob("*.jpg"))]
    images = images[:: max(1, len(images) // SHOWN)][:SHOWN]
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((DATA / "magnetic_tile" / "train" / "good").iterdir())[:PARTS]:
            shutil.copy(path, folder)
        by_size = {side: fit(folder, "padim", {"size": side}) for side in SIZES}
        by_rows = {rows: fit(folder, "patchcore", {"rows": rows}) for rows in ROWS}
    sizes, memories = measured(by_size, images), measured(by_rows, images)
    lines = ["| padim: side, px | ms | patchcore at 256: rows | ms |", "| --- | --- | --- | --- |"]
    for (side, ms), (rows, cost) in zip(sizes.items(), memories.items(), strict=True):
        lines.append(f"| {side} | {ms:.1f} | {rows:,} | {cost:.1f} |")
    DRAWING.write_text(drawing(sizes, memories) + "\n", encoding="utf-8")
    write("cost", "\n".join(lines) + f"\n\nMedians of {SHOWN * ROUNDS}. {stamp(0)}")


def fit(folder: str, method: str, settings: dict[str, Any]) -> Inspector:
    model = blemish.fit(folder, method=method, settings=settings, false_alarms=0.1)
    return Inspector(model.artifact, runtime="onnxruntime")


def measured(models: dict[int, Inspector], images: list[Any]) -> dict[int, float]:
    taken: dict[int, list[float]] = {key: [] for key in models}
    for _ in range(ROUNDS):
        for key, model in models.items():
            spent = [model.inspect(image).ms for image in [images[0], *images]]
            taken[key] += spent[1:]  # the first wakes sleeping threads
    return {key: statistics.median(values) for key, values in taken.items()}


def drawing(sizes: dict[int, float], memories: dict[int, float]) -> str:
    top = 1.3 * max(*sizes.values(), *memories.values())
    low = 0.7 * min(*sizes.values(), *memories.values())
    charts = []
    for title, points, colour in (
        ("padim: side of the model's input, pixels", sizes, COLOURS[0]),
        ("patchcore at 256 x 256: rows of the memory", memories, COLOURS[1]),
    ):
        ticks = tuple((float(key), f"{key:,}") for key in points)
        low_x, high_x = min(points) * 0.85, max(points) * 1.15
        x = Axis(low=low_x, high=high_x, logarithmic=True, ticks=ticks, title=title)
        y = Axis(low=low, high=top, logarithmic=True, title="ms a photograph")
        chart = Chart(x, y, width=560, height=280)
        chart.curve(points.items(), colour, dots=True)
        charts.append(chart)
    return stack(charts).replace("currentColor", GREY)


if __name__ == "__main__":
    main()
