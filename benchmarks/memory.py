"""A memory's rows: ours against anomalib's exact sampler, on the same points and the same cores.

The points are features of magnetic_tile's good parts: EfficientNet-Lite0's strides 2, 4, 8 and 16
side by side on the grid of stride 8, 192 numbers a place, 1,024 places an image. Each tool runs in
a process of its own, the peer under the interpreter BLEMISH_PEERS names (with anomalib 2.7). The
peer would need most of a day at full size: so many of its selections are timed, before and after
our run, the quicker rate counts, and every selection costs the same. Radii are compared at a size
where all three run to their end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

TAPS, SIDE, WIDTH = (2, 4, 8, 16), 32, 192
SHARE = 0.1
SELECTIONS = 30  # of the peer's at full size
THIN = 50  # every so many points of an image for the comparison of radii
FOOT = """\
"rows" are {share:.0%} of the points. anomalib's time at full size is its seconds a selection, from
{count} of them, times the number of rows. radius: the largest distance of a point to its nearest
row, in float64, over that of the plain greedy loop in float64 on the same points. anomalib
chooses among randomly projected points, of more dimensions than before. "one image more", "one
image less": taken into and out of the full memory."""


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(CHILDREN[sys.argv[1]](Path(sys.argv[2]))))
        return
    from machine import stamp, write

    with tempfile.TemporaryDirectory() as folder:
        points = Path(folder) / "points.npy"
        make_points(points)
        before = run("anomalib", points)
        ours = run("blemish", points)
        after = run("anomalib", points)
        radii = run("radii", points) | run("peer_radius", points)
    rows = ours["rows"]
    peer = min(before["selection"], after["selection"]) * rows
    size = [f"{ours['points']:,} x {WIDTH}", f"{rows:,}"]
    blemish, anomalib = (f"{radii[tool] / radii['plain']:.4f}" for tool in ("blemish", "anomalib"))
    lines = [
        ["tool", "points", "rows", "s", "share of anomalib's", f"radius at 1/{THIN} of the points"],
        ["---"] * 6,
        ["blemish", *size, f"{ours['s']:.0f}", f"{ours['s'] / peer:.2%}", blemish],
        ["blemish, one image more", "", "", f"{ours['more']:.1f}", "", ""],
        ["blemish, one image less", "", "", f"{ours['less']:.1f}", "", ""],
        ["anomalib", *size, f"{peer:.0f} (extrapolated)", "100%", anomalib],
    ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    foot = FOOT.format(share=SHARE, count=SELECTIONS)
    write("memory", f"{table}\n\n{foot}\n\n{stamp('none needed')}")


def run(child: str, points: Path) -> dict[str, Any]:
    peers = os.environ.get("BLEMISH_PEERS", sys.executable)
    python = peers if child in ("anomalib", "peer_radius") else sys.executable
    done = subprocess.run(
        [python, __file__, child, str(points)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    print(child, done.stdout.splitlines()[-1], flush=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def make_points(path: Path) -> None:
    import torch
    from machine import DATA
    from torch.nn import functional as F

    from blemish.data import open_data
    from blemish.engines import open_engine
    from blemish.fitting import backbone_graph, choose
    from blemish.images import read_image

    _, config = choose("padim", "embedded", {"taps": TAPS})
    net, frame = open_engine(backbone_graph(config)), config.frame()
    paths = [sample.image for sample in open_data(DATA / "magnetic_tile").train]
    shape = (len(paths) * SIDE * SIDE, WIDTH)
    points = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for index, image in enumerate(paths):
        taps = net.run({"image": frame.to_model(read_image(image))})
        grid = torch.cat([F.adaptive_avg_pool2d(torch.from_numpy(t), SIDE) for t in taps[:3]], 1)
        deep = F.interpolate(torch.from_numpy(taps[3]), (SIDE, SIDE), mode="bilinear")
        rows = torch.cat([grid, deep], 1)[0].flatten(1).T.numpy()
        points[index * len(rows) : (index + 1) * len(rows)] = rows


def blemish(path: Path) -> dict[str, Any]:
    from blemish.nets.memory import Memory

    points = np.load(path, mmap_mode="r")
    each = SIDE * SIDE
    blocks = {str(i): points[i * each : (i + 1) * each] for i in range(len(points) // each)}
    (last, extra) = blocks.popitem()
    memory = Memory(share=SHARE)
    times = {
        "s": timed(lambda: memory.add(blocks)),
        "more": timed(lambda: memory.add({last: extra})),
        "less": timed(lambda: memory.remove(["0"])),
    }
    return {"points": len(points), "rows": len(memory.at)} | times


def anomalib(path: Path) -> dict[str, Any]:
    import torch
    from anomalib.models.components.sampling import KCenterGreedy

    points = torch.from_numpy(np.load(path))
    sampler = KCenterGreedy(points, (SELECTIONS + 0.5) / len(points))
    sampler.model.fit(points)
    sampler.features = sampler.model.transform(points)
    sampler.reset_distances()
    place = torch.tensor(0)

    def choose() -> None:
        nonlocal place
        for _ in range(SELECTIONS):
            sampler.update_distances(place)
            place = sampler.get_new_idx()

    return {"selection": timed(choose) / SELECTIONS, "width": sampler.features.shape[1]}


def radii(path: Path) -> dict[str, Any]:
    from blemish.nets.memory import Memory

    points = np.load(path, mmap_mode="r")[::THIN].copy()
    memory = Memory(share=SHARE)
    memory.add({"all": points})
    wide, far = points.astype(np.float64), np.full(len(points), np.inf)
    place = int(np.square(wide - wide.mean(0)).sum(1).argmax())
    for _ in range(len(memory.at)):
        far = np.minimum(far, np.square(wide - wide[place]).sum(1))
        place = int(far.argmax())
    return {"blemish": radius(points, memory.rows), "plain": float(np.sqrt(far.max()))}


def peer_radius(path: Path) -> dict[str, Any]:
    import torch
    from anomalib.models.components.sampling import KCenterGreedy

    points = np.load(path, mmap_mode="r")[::THIN].copy()
    torch.manual_seed(0)
    rows = KCenterGreedy(torch.from_numpy(points), SHARE).sample_coreset().numpy()
    return {"anomalib": radius(points, rows)}


def radius(points: Array, rows: Array) -> float:
    wide = rows.astype(np.float64)
    nearest = [np.square(wide - point).sum(1).min() for point in points.astype(np.float64)]
    return float(np.sqrt(np.max(nearest)))


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


CHILDREN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "blemish": blemish,
    "anomalib": anomalib,
    "radii": radii,
    "peer_radius": peer_radius,
}

if __name__ == "__main__":
    main()
