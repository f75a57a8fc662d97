"""Where the presets' choices were made: synthetic defects on good training images held out.

A quarter of each set's good training images is held out; the rest is fitted. Good held-out images
stand against the same images with one painted defect each. No test label is read. The trials that
this harness judged are in docs/methods/fbft.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import cv2
import numpy as np
import numpy.typing as npt
from machine import DATA, stamp, write

from blemish.cache import cache_folder
from blemish.data import open_data
from blemish.engines import Engine, open_engine
from blemish.fitting import backbone_graph, choose, head_graph
from blemish.images import read_image, write_png
from blemish.metrics import aupro, auroc
from blemish.nets.features import Features, extract
from blemish.records import Mask, Pixels
from blemish.track import silent

SETS = ("magnetic_tile", "cookies", "hazelnut_toy")
SEED = 0
Floats = npt.NDArray[np.float32]
Painted = tuple[Floats, Floats]  # altered image, how strongly each pixel was altered


def crack(x: Floats, scale: float, rng: np.random.Generator) -> Painted:
    """A dark random walk, 1 to 3 px wide."""
    turns = np.cumsum(rng.normal(0, 0.35, int(rng.uniform(10, 50)))) + rng.uniform(0, 2 * np.pi)
    steps = 3 * scale * np.stack([np.cos(turns), np.sin(turns)], 1)
    points = rng.uniform(0, 1, 2) * x.shape[1::-1] + np.cumsum(steps, 0)
    mask = np.zeros(x.shape[:2], np.float32)
    width = max(1, round(rng.uniform(1, 3) * scale))
    cv2.polylines(mask, [np.rint(points).astype(np.int32)], False, 1.0, width, cv2.LINE_AA)
    return x - mask[..., None] * rng.uniform(0.7, 2) * spread(x), mask


def blob(x: Floats, scale: float, rng: np.random.Generator) -> Painted:
    """A dark or bright ellipse of 2 to 12 px radius."""
    mask = np.zeros(x.shape[:2], np.float32)
    centre = rng.integers(0, x.shape[1::-1]).tolist()
    radius = rng.uniform(2, 12) * scale
    axes = (max(1, round(radius)), max(1, round(radius * rng.uniform(0.5, 1))))
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
    return x + mask[..., None] * rng.choice([-1, 1]) * rng.uniform(0.7, 2) * spread(x), mask


def paste(x: Floats, scale: float, rng: np.random.Generator) -> Painted:
    """A piece of the same image, turned and put elsewhere under a soft random mask."""
    h, w = (min(int(rng.uniform(15, 70) * scale), side - 1) for side in x.shape[:2])
    mask, source = np.zeros(x.shape[:2], np.float32), x.copy()
    (y0, y1), (x0, x1) = rng.integers(0, x.shape[0] - h, 2), rng.integers(0, x.shape[1] - w, 2)
    rough = rng.normal(size=(5, 5)).astype(np.float32)
    noise = cv2.resize(rough, (w, h), None, 0, 0, 2)
    mask[y1 : y1 + h, x1 : x1 + w] = np.clip(6 * (noise - np.quantile(noise, 0.4)), 0, 1)
    source[y1 : y1 + h, x1 : x1 + w] = x[y0 : y0 + h, x0 : x0 + w][::-1, ::-1]
    return x + mask[..., None] * (source - x), mask


def light(x: Floats, scale: float, rng: np.random.Generator) -> Painted:
    """A smooth local change of brightness."""
    rough = rng.normal(size=(4, 4)).astype(np.float32)
    noise = cv2.resize(rough, x.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.clip(3 * (noise - np.quantile(noise, rng.uniform(0.5, 0.8))), 0, 1)
    return x + mask[..., None] * rng.choice([-1, 1]) * rng.uniform(0.35, 1) * spread(x), mask


KINDS: tuple[Callable[[Floats, float, np.random.Generator], Painted], ...] = (
    crack,
    blob,
    paste,
    light,
)


def spread(x: Floats) -> float:
    """Standard deviation of the image's pixels: the unit of a defect's contrast."""
    return max(float(x.std()), 12.0)


def spoil(image: Pixels, kind: int, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """An image with one defect, and the mask of what it visibly changed (never empty)."""
    x, scale = image.astype(np.float32), float(np.sqrt(image.shape[0] * image.shape[1])) / 300
    while True:
        altered, _ = KINDS[kind % len(KINDS)](x, scale, rng)
        pixels = np.rint(altered.clip(0, 255)).astype(np.uint8)
        mask = np.abs(pixels.astype(np.float32) - x).max(axis=2) > 6
        if mask.sum() >= 8 and mask.mean() < 0.5:
            return pixels, mask


def rehearse(name: str, method: str, folder: Path) -> tuple[float, float]:
    """Image AUROC and AUPRO@30 of one method on one set's synthetic defects."""
    kind, config = choose(method, "embedded", {})
    paths = [sample.image for sample in open_data(DATA / name).train]
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(paths))
    held = [paths[i] for i in order[: max(7, len(paths) // 4)]]
    spoiled, masks = [], []
    for round_ in range(max(1, 60 // len(held))):
        for number, path in enumerate(held):
            pixels, mask = spoil(read_image(path), number + round_, rng)
            spoiled.append(folder / f"{name}-{round_}-{number}.png")
            write_png(spoiled[-1], pixels if pixels.shape[2] == 3 else pixels[..., 0])
            masks.append(mask)
    graph, frame, store = backbone_graph(config), config.frame(), cache_folder() / "features"
    fitted, _ = extract(graph, frame, [paths[i] for i in order[len(held) :]], store, silent)
    head = head_graph(kind, config, fitted, seed=SEED, track=silent)
    engine = open_engine(head)
    seen, facts = extract(graph, frame, held + spoiled, store, silent)
    maps = [
        frame.to_native(engine.run(_feed(engine, seen, i))[0], fact.size)
        for i, fact in enumerate(facts)
    ]
    truth = [np.zeros(map.shape, bool) for map in maps[: len(held)]] + masks
    labels = np.arange(len(maps)) >= len(held)
    scores = np.array([frame.score(map) for map in maps])
    return auroc(scores, labels), aupro(maps, truth, 0.3)


def _feed(engine: Engine, features: Features, index: int) -> dict[str, Floats]:
    names = [one.name for one in engine.inputs]
    return dict(zip(names, features.batch([index]), strict=True))


def main() -> None:
    import tempfile

    lines = ["| method | " + " | ".join((*SETS, "mean")) + " |", "| --- |" + " --- |" * 4]
    with tempfile.TemporaryDirectory() as folder:
        for method in ("padim", "fbft"):
            pairs = [rehearse(name, method, Path(folder)) for name in SETS]
            pairs.append((mean(p[0] for p in pairs), mean(p[1] for p in pairs)))
            cells = " | ".join(f"{image:.3f} / {region:.3f}" for image, region in pairs)
            lines.append(f"| {method} | {cells} |")
    foot = "Image AUROC / AUPRO@30 on synthetic defects, native pixels."
    write("rehearsal", "\n".join(lines) + f"\n\n{foot} {stamp(SEED)}")


if __name__ == "__main__":
    main()
