"""Ours against anomalib's own OpenVINO inferencer, on its PaDiM with the same backbone.

Both from files, one photograph at a time, in processes of their own that take turns. anomalib's
model has its defaults for PaDiM: strides 4, 8 and 16 and 100 features, at 256 x 256; the values of
its weights do not matter to its speed. The peer runs under the interpreter that BLEMISH_PEERS names
(anomalib 2.7 with openvino and onnxscript).

    BLEMISH_PEERS=~/peers/bin/python python benchmarks/peer.py
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BLOCK, ROUNDS = 20, 15
LAYERS = {"its defaults: strides 4, 8, 16": [1, 2, 4], "our taps: strides 8, 16": [2, 4]}
FEW = 60  # good parts the peer learns from: its speed is the same with all
Work = Callable[[str], object]


def main() -> None:
    if len(sys.argv) > 1:
        serve(*sys.argv[1:])
        return
    from machine import DATA, stamp, write

    import blemish
    from blemish.engines import installed

    peers = os.environ.get("BLEMISH_PEERS", sys.executable)
    paths = [str(path) for path in sorted((DATA / "magnetic_tile" / "test").rglob("*.jpg"))]
    with tempfile.TemporaryDirectory() as folder:
        part = str(Path(folder) / "part.blemish")
        blemish.fit(DATA / "magnetic_tile").save(part)
        sides = {
            f"blemish, {name}": (sys.executable, "blemish", part, name) for name in installed()
        }
        for title, blocks in LAYERS.items():
            model = str(prepare(peers, DATA / "magnetic_tile", Path(folder), blocks))
            sides[f"anomalib, OpenVINO, {title}"] = (peers, "anomalib", model, "")
        taken = turns(sides, paths)
    best = min(statistics.median(values) for name, values in taken.items() if "blemish" in name)
    lines = [["what", "ms, median", "p99", "times ours"], ["---"] * 4]
    for name, values in taken.items():
        median, worst = statistics.median(values), sorted(values)[int(0.99 * len(values))]
        lines.append([name, f"{median:.2f}", f"{worst:.2f}", f"{median / best:.2f}"])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    write("peer", f"{table}\n\n{BLOCK * ROUNDS} photographs each, in turns of {BLOCK}. {stamp(0)}")


def turns(sides: Mapping[str, tuple[str, ...]], paths: list[str]) -> dict[str, list[float]]:
    """Milliseconds of each photograph, by side."""
    running = {name: start(line) for name, line in sides.items()}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    order = random.Random(0).choices(paths, k=BLOCK * ROUNDS)
    for at in range(0, len(order), BLOCK):
        for name, process in running.items():
            taken[name] += ask(process, order[at : at + BLOCK])
    for process in running.values():
        process.stdin.close()
        process.wait()
    return taken


def start(line: tuple[str, ...]) -> Any:
    python, *words = line
    return subprocess.Popen(
        [python, str(Path(__file__).resolve()), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tempfile.gettempdir(),  # the peer keeps a cache where it is started
    )


def ask(process: Any, block: list[str]) -> list[float]:
    process.stdin.write(json.dumps(block) + "\n")
    process.stdin.flush()
    for line in process.stdout:  # the peer talks
        if line.startswith("["):
            return [float(ms) for ms in json.loads(line)]
    raise SystemExit(f"{process.args} ended; run it by hand.")


def serve(kind: str, model: str, runtime: str) -> None:
    """Answers a line of paths with their milliseconds; the first of a turn does not count."""
    work = {"blemish": ours, "anomalib": theirs}[kind](model, runtime)
    for line in sys.stdin:
        block, taken = json.loads(line), []
        for path in [block[0], *block]:
            begun = time.perf_counter()
            work(path)
            taken.append((time.perf_counter() - begun) * 1000)
        print(json.dumps(taken[1:]), flush=True)


def ours(part: str, runtime: str) -> Work:
    import blemish

    return blemish.load(part, runtime=runtime).inspect


def theirs(model: str, _: str) -> Work:
    from anomalib.deploy import OpenVINOInferencer

    predict: Work = OpenVINOInferencer(path=model, device="CPU").predict
    return predict


PREPARE = """
import sys, json
from anomalib.data import Folder
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import Padim
root, out, blocks = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
data = Folder(name="parts", root=root, normal_dir="good", abnormal_dir="bad", num_workers=0,
              train_batch_size=8, eval_batch_size=8, val_split_mode="same_as_test")
model = Padim(backbone="tf_efficientnet_lite0", layers=[f"blocks.{one}" for one in blocks],
              pre_trained=False, n_features=100,
              pre_processor=Padim.configure_pre_processor((256, 256)))
engine = Engine(accelerator="cpu", devices=1, logger=False, default_root_dir=out)
engine.fit(model, datamodule=data)
engine.export(model, export_type=ExportType.OPENVINO, export_root=out)
"""


def prepare(peers: str, data: Path, folder: Path, blocks: list[int]) -> Path:
    root, out = folder / "set", folder / f"peer-{len(blocks)}"
    for name, source, count in (("good", "train/good", FEW), ("bad", "test/blowhole", 8)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / source).glob("*.jpg"))[:count]:
            link = root / name / path.name
            if not link.exists():
                link.symlink_to(path)
    line = [peers, "-c", PREPARE, str(root), str(out), json.dumps(blocks)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(out.rglob("model.xml"))


if __name__ == "__main__":
    main()
