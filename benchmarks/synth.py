"""Milliseconds to make one defect of each kind, and as a ratio to decoding the same image.

At 256 x 256, and on one photograph of 12 megapixels: the same one, enlarged, for want of a public
one of that size. One thread of one core. In turns of all makers, so that a machine's busy minutes
fall on every row; decoding is read_image of the image as a PNG of 8 bits. Seconds of the process
are counted, not of the clock: neighbours on the same core are no cost of ours.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import cv2
import numpy as np
from machine import DATA, stamp, write
from PIL import Image

from blemish.images import decode_image, read_image
from blemish.records import Pixels
from blemish.synth import MAKERS
from blemish.synth.cutpaste import CutPaste, cutpaste
from blemish.synth.fractal import Fractal, fractal

SEED = 0
SIZES = {(256, 256): 300, (4000, 3000): 15}  # (H, W): seeds
TIMED: dict[str, Callable[..., Any]] = {
    **MAKERS,
    "fractal, on_object": partial(fractal, config=Fractal(on_object=True)),
    "cutpaste, scar": partial(cutpaste, config=CutPaste(scar=True)),
}


def main() -> None:
    cv2.setNumThreads(1)
    photograph = read_image(sorted((DATA / "cookies" / "train" / "good").iterdir())[0])
    tables = []
    for size, samples in SIZES.items():
        shrinks = size < photograph.shape
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        image = cv2.resize(photograph, size[::-1], interpolation=way)
        head = f"{size[0]} x {size[1]}, RGB of 8 bits; {samples} seeds; one thread."
        tables.append(f"{head}\n\n{table(measured(image, samples))}")
    write("synth", "\n\n".join([*tables, stamp(SEED)]))


def measured(image: Pixels, samples: int) -> dict[str, list[float]]:
    """Milliseconds of each maker on each seed."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    taken: dict[str, list[float]] = {name: [] for name in ("decode", *TIMED)}
    for seed in range(SEED, SEED + samples):
        taken["decode"].append(_ms(lambda: decode_image(buffer.getvalue(), "image.png")))
        for name, maker in TIMED.items():
            rng = np.random.default_rng(seed)
            taken[name].append(_ms(partial(maker, image, None, rng)))
    return taken


def table(taken: dict[str, list[float]]) -> str:
    """Medians in the order of the makers."""
    base = median(taken["decode"])
    head = ["maker", "ms", "fastest", "95 % within", "ratio to decoding"]
    lines = [head, ["---"] * len(head)]
    for name, ms in taken.items():
        figures = (median(ms), min(ms), float(np.percentile(ms, 95)), median(ms) / base)
        lines.append([name, *(f"{figure:.2f}" for figure in figures)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ms(work: Callable[[], Any]) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1e6


if __name__ == "__main__":
    main()
