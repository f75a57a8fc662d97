"""A model in eight bits against the same model in floats: time, agreement, size.

Magnetic_tile, 256 x 256, default method, or those named by arguments. Both graphs run the same
photographs in turns of 20, in each runtime that is installed, with one thread and with all; the
ratio is the median of the turns' own, each of two medians, since a machine's speed changes.
Agreement is what `blemish export --int8` finds on parts that neither model has seen, with made-up
defects: Spearman's rank correlation over pixels, and image AUROC of both.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time

import numpy as np
from machine import DATA, stamp, write

TURN, ROUNDS = 20, 24


def main() -> None:
    head = ["method", "runtime", "threads", "floats ms", "eight bits ms", "ratio", "MB", "rank"]
    head += ["image AUROC", "in floats"]
    lines = [head, ["---"] * len(head)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("BLEMISH_CACHE", folder)
        for method in sys.argv[1:] or ["padim"]:
            lines += _rows(method)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    write(
        "int8",
        f"{table}\n\n{TURN * ROUNDS} photographs each, in turns of {TURN}; ratio: the"
        f" median of the turns', and their quartiles. {stamp(0)}",
    )


def _rows(method: str) -> list[list[str]]:
    from blemish.engines import installed
    from blemish.errors import ExportError
    from blemish.fitting import fit_folder
    from blemish.images import read_image
    from blemish.int8 import in_eight_bits

    data = DATA / "magnetic_tile"
    exact = fit_folder(data, method=method).artifact
    try:
        quick, agreement = in_eight_bits(exact, data)
    except ExportError as error:
        return [[method, str(error), *[""] * 8]]
    paths = sorted((data / "test").rglob("*.jpg"))
    images = [exact.frame.to_model(read_image(path)) for path in paths[: TURN * ROUNDS]]
    told = quick.about["int8"]
    rows = []
    for runtime in installed():
        for threads in (1, 0):
            floats, bits = _in_turns((exact.graph, quick.graph), images, runtime, threads)
            ratios = sorted(one / other for one, other in zip(floats, bits, strict=True))
            megabytes = f"{len(exact.graph) / 1e6:.1f} → {len(quick.graph) / 1e6:.1f}"
            row = [method, runtime, str(threads or "all")]
            row += [f"{statistics.median(floats):.2f}", f"{statistics.median(bits):.2f}"]
            quarter, half, most = (ratios[len(ratios) * part // 4] for part in (1, 2, 3))
            row += [f"**{half:.2f}** ({quarter:.2f} to {most:.2f})", megabytes]
            row += [f"{agreement.rank:.4f}"]
            row += [f"{agreement.exact:.4f} → {agreement.quick:.4f}"]
            rows.append([*row, f"{len(told['floats'])} of {told['convolutions']}"])
            print(rows[-1], flush=True)
    return rows


def _in_turns(
    graphs: tuple[bytes, bytes], images: list[np.ndarray], runtime: str, threads: int
) -> list[list[float]]:
    """Of each graph, the median ms of a run in each turn."""
    from blemish.engines import open_engine

    engines = [open_engine(graph, runtime, threads=threads) for graph in graphs]
    spent: list[list[float]] = [[] for _ in engines]
    for start_at in range(0, len(images), TURN):
        for engine, taken in zip(engines, spent, strict=True):
            name, turn = engine.inputs[0].name, []
            engine.run({name: images[start_at]})  # while the other's threads fall asleep
            for image in images[start_at : start_at + TURN]:
                start = time.perf_counter()
                engine.run({name: image})
                turn.append((time.perf_counter() - start) * 1000)
            taken.append(statistics.median(turn))
    return spent


if __name__ == "__main__":
    main()
