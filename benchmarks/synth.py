"""Milliseconds to make one defect at 256 x 256, and as a ratio to decoding the same image.

One thread of one core. Medians over SAMPLES seeds, in turns of all makers, so that a machine's busy
minutes fall on every row; decoding is read_image of the image as a PNG of 8 bits. Seconds of the
process are counted, not of the clock: neighbours on the same core are no cost of ours.
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
from blemish.synth.cutpaste import CutPaste, cutpaste
from blemish.synth.fractal import Fractal, fractal
from blemish.synth.perlin import perlin
from blemish.synth.transplant import transplant

SEED, SIDE, SAMPLES = 0, 256, 300
MAKERS: dict[str, Callable[..., Any]] = {
    "fractal": fractal,
    "fractal, on_object": partial(fractal, config=Fractal(on_object=True)),
    "perlin": perlin,
    "cutpaste": cutpaste,
    "cutpaste, scar": partial(cutpaste, config=CutPaste(scar=True)),
    "transplant": transplant,
}


def main() -> None:
    cv2.setNumThreads(1)
    file = sorted((DATA / "cookies" / "train" / "good").iterdir())[0]
    image = cv2.resize(read_image(file), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    taken: dict[str, list[float]] = {name: [] for name in ("decode", *MAKERS)}
    for seed in range(SEED, SEED + SAMPLES):
        taken["decode"].append(_ms(lambda: decode_image(buffer.getvalue(), "image.png")))
        for name, maker in MAKERS.items():
            rng = np.random.default_rng(seed)
            taken[name].append(_ms(partial(maker, image, None, rng)))
    base = median(taken["decode"])
    head = ["maker", "ms", "fastest", "95 % within", "ratio to decoding"]
    lines = [head, ["---"] * len(head)]
    for name, ms in taken.items():
        figures = (median(ms), min(ms), float(np.percentile(ms, 95)), median(ms) / base)
        lines.append([name, *(f"{figure:.2f}" for figure in figures)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    foot = f"{SIDE} x {SIDE}, RGB of 8 bits; {SAMPLES} seeds; one thread."
    write("synth", f"{table}\n\n{foot} {stamp(SEED)}")


def _ms(work: Callable[[], Any]) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1e6


if __name__ == "__main__":
    main()
