"""A model in eight bits against the same model in floats: time, agreement, size.

Magnetic_tile, 256 x 256, default method, or those named by arguments. Both graphs run the same
photographs, resized before, each in a process of its own, in turns, in each runtime that is
installed, with one thread and with all. Agreement is what `blemish export --int8` finds on parts
that neither model has seen, with made-up defects: Spearman's rank correlation over pixels, and
image AUROC of both.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import DATA, stamp, write
from turns import BLOCK, in_turns, ratio, serve

COUNT, SHOWN = 480, 120  # runs of each graph, and photographs that they are drawn from


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        serve(running(*sys.argv[2:]))
        return
    head = ["method", "runtime", "threads", "floats ms", "eight bits ms", "ratio", "MB", "rank"]
    head += ["image AUROC", "in floats"]
    lines = [head, ["---"] * len(head)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("BLEMISH_CACHE", folder)
        for method in sys.argv[1:] or ["padim"]:
            lines += _rows(method, Path(folder))
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    told = f"{COUNT} runs each, in turns of {BLOCK}; ratio: the median of the turns', and their"
    write("int8", f"{table}\n\n{told} quartiles. {stamp(0)}")


def _rows(method: str, folder: Path) -> list[list[str]]:
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
    files = {name: folder / f"{name}.onnx" for name in ("floats", "eight bits")}
    for file, artifact in zip(files.values(), (exact, quick), strict=True):
        file.write_bytes(artifact.graph)
    paths = sorted((data / "test").rglob("*.jpg"))[:SHOWN]
    images = np.concatenate([exact.frame.to_model(read_image(path)) for path in paths])
    np.save(folder / "images.npy", images)
    told = quick.about["int8"]
    rows = []
    for runtime in installed():
        for threads in ("1", "0"):
            sides = {
                name: (sys.executable, __file__, "run", str(file), runtime, threads)
                for name, file in files.items()
            }
            taken, _ = in_turns(sides, [str(number) for number in range(SHOWN)], COUNT)
            row = [method, runtime, {"0": "all"}.get(threads, threads)]
            row += [f"{statistics.median(values):.2f}" for values in taken.values()]
            row += [ratio(taken["floats"], taken["eight bits"])]
            row += [f"{len(exact.graph) / 1e6:.1f} → {len(quick.graph) / 1e6:.1f}"]
            row += [f"{agreement.rank:.4f}", f"{agreement.exact:.4f} → {agreement.quick:.4f}"]
            rows.append([*row, f"{len(told['floats'])} of {told['convolutions']}"])
            print(rows[-1], flush=True)
    return rows


def running(graph: str, runtime: str, threads: str) -> Callable[[str], object]:
    """A run of the graph on one of the images beside it, by number."""
    from blemish.engines import entries, open_engine

    images = np.load(Path(graph).parent / "images.npy")
    engine = open_engine(Path(graph).read_bytes(), runtime, threads=int(threads))
    entry = entries(engine)["image"]
    return lambda number: engine.run({entry: images[int(number)][None]})


if __name__ == "__main__":
    main()
