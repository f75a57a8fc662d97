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
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from turns import BLOCK, in_turns, p99, ratio, serve

COUNT = 600  # photographs each
LAYERS = {"its defaults: strides 4, 8, 16": [1, 2, 4], "our taps: strides 8, 16": [2, 4]}
FEW = 60  # good parts the peer learns from: its speed is the same with all
Work = Callable[[str], object]


def main() -> None:
    if len(sys.argv) > 1:
        kind, model, runtime = sys.argv[1:]
        serve({"blemish": ours, "anomalib": theirs}[kind](model, runtime))
        return
    from machine import DATA, stamp, write

    import blemish
    from blemish.engines import installed
    from blemish.int8 import in_eight_bits

    peers = os.environ.get("BLEMISH_PEERS", sys.executable)
    paths = [str(path) for path in sorted((DATA / "magnetic_tile" / "test").rglob("*.jpg"))]
    with tempfile.TemporaryDirectory() as folder:
        part = str(Path(folder) / "part.blemish")
        exact = blemish.fit(DATA / "magnetic_tile").artifact
        exact.save(part)
        quick = in_eight_bits(exact, DATA / "magnetic_tile")[0].save(Path(folder) / "8.blemish")
        sides = {
            f"blemish, {name}{bits}": (sys.executable, __file__, "blemish", file, name)
            for bits, file in (("", part), (", eight bits", str(quick)))
            for name in installed()
        }
        for title, blocks in LAYERS.items():
            model = str(prepare(peers, DATA / "magnetic_tile", Path(folder), blocks))
            sides[f"anomalib, OpenVINO, {title}"] = (peers, __file__, "anomalib", model, "")
        taken, _ = in_turns(sides, paths, COUNT)
    usual = taken[f"anomalib, OpenVINO, {next(iter(LAYERS))}"]
    lines = [["what", "ms, median", "p99", "anomalib's defaults over it"], ["---"] * 4]
    for name, values in taken.items():
        told = f"{statistics.median(values):.2f}", f"{p99(values):.2f}", ratio(usual, values)
        lines.append([name, *told])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    foot = f"{COUNT} photographs each, in turns of {BLOCK}; over it: the median of the turns', and"
    write("peer", f"{table}\n\n{foot} their quartiles. {stamp(0)}")


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
