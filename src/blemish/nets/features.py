"""Frozen features of a set of images: computed once, through the runtime, kept by content."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blemish.cache import backgrounds_folder, keep
from blemish.descriptors import VERSION
from blemish.engines import DEFAULT, Engine, cores, entries, open_engine, require_known
from blemish.errors import ImageError, about
from blemish.fastest import AUTO, noise, open_chosen
from blemish.frame import Frame
from blemish.images import decode_image, read_bytes, read_image
from blemish.records import Pixels, Sample
from blemish.shots import PHOTOGRAPH, Shot, Sight, read_shot
from blemish.tiles import Corner
from blemish.track import Track

Array = npt.NDArray[np.float32]
Kept = TypeVar("Kept")
BATCH = 32  # images whose features are in memory at once


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What features come from, for methods that look at photographs again or alter them.

    paths: the photographs of the N images. graph: the frozen backbone, ONNX. frame: what it is
        shown. sight, samples: of several modalities, what is shown of which samples. runtime: what
        runs the graph wherever fitting needs it again.
    corners: where they lie if images are windows of photographs. kept: the file of each window's
        pixels, written once it is looked at again.
    """

    paths: tuple[Path, ...]
    graph: bytes
    frame: Frame
    sight: Sight | None = None
    samples: tuple[Sample, ...] = ()
    corners: tuple[Corner, ...] = ()
    kept: tuple[Path, ...] = ()
    runtime: str = DEFAULT

    def engine(self) -> Engine:
        """What runs the graph, one thread a run: images side by side scale better."""
        return open_engine(self.graph, self.runtime, threads=1)

    def read(self, index: int) -> Pixels:
        """(H, W, C) of an image: a photograph, or a window of one. Raises ImageError."""
        tiles, path = self.frame.tiles, self.paths[index]
        if tiles is None:
            return read_image(path)
        if not self.kept[index].is_file():
            # once for all of its windows: it may be large
            pixels = self.frame.blanked(read_image(path))
            for one, corner, kept in zip(self.paths, self.corners, self.kept, strict=True):
                if one == path:
                    buffer = io.BytesIO()
                    np.save(buffer, tiles.cut(pixels, corner))
                    keep(kept, buffer.getvalue())
        return cast(Pixels, np.load(self.kept[index], allow_pickle=False))


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of N images at each tap, on disk, read in batches.

    Where large photographs are looked at in windows, an image is a window.

    files: one raw float32 file an image, its taps one after the other, named by the image's
        sha256; without taps there are names only.
    shapes: (C, h', w') of each tap; of several modalities (P, C, h', w') of its P photographs, and
        if there are points (48, g, g) and (1, g, g) as descriptors.describe gives them.
    origin: what they were made from.
    numbers: of the photograph that each image is a window of, from 0 without gaps; none if every
        image is a photograph.
    """

    files: tuple[Path, ...]
    shapes: tuple[tuple[int, ...], ...]
    origin: Origin
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def photographs(self) -> int:
        """How many there are."""
        return max(self.numbers) + 1 if self.numbers else len(self)

    def of(self, index: int) -> int:
        """Number of the photograph that an image is, or is a window of."""
        return self.numbers[index] if self.numbers else index

    def turnwise(self) -> list[int]:
        """All images, the first window of each photograph before the second of any: whoever takes
        some from the start has as many photographs as can be."""
        before: Counter[int] = Counter()
        ranked = []
        for index in range(len(self)):
            ranked.append((before[self.of(index)], index))
            before[self.of(index)] += 1
        return [index for _, index in sorted(ranked)]

    def batch(self, indices: Sequence[int]) -> tuple[Array, ...]:
        """(B, *shape) float32 for each of shapes, of the images at these indices."""
        if not self.shapes:
            return ()
        lengths = [int(np.prod(shape)) for shape in self.shapes]
        rows = np.empty((len(indices), sum(lengths)), np.float32)
        for row, index in zip(rows, indices, strict=True):
            row[:] = np.fromfile(self.files[index], np.float32)
        parts = np.split(rows, np.cumsum(lengths)[:-1], axis=1)
        return tuple(p.reshape(-1, *s) for p, s in zip(parts, self.shapes, strict=True))

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """All images in order, BATCH at a time; each tap as batch gives it."""
        for start in range(0, len(self), BATCH):
            taps = self.batch(range(start, min(start + BATCH, len(self))))
            yield tuple(torch.from_numpy(tap) for tap in taps)

    def grids(self, net: nn.Module, track: Track) -> Iterator[Tensor]:
        """What a net makes of the taps of all images, (B, D, h, w) batch by batch, in order."""
        for taps in track(self.batches(), "Fitting", -(-len(self) // BATCH)):
            yield net(*taps)

    def part(self, photographs: Sequence[int]) -> Features:
        """The same features, of some of the photographs by their numbers."""
        windows: dict[int, list[int]] = {}
        for index, number in enumerate(self.numbers):
            windows.setdefault(number, []).append(index)
        chosen = [(new, i) for new, n in enumerate(photographs) for i in windows.get(n, [n])]
        indices = [index for _, index in chosen]
        origin = self.origin

        def those(every: tuple[Kept, ...]) -> tuple[Kept, ...]:
            return tuple(every[i] for i in indices) if every else ()

        origin = replace(
            origin,
            paths=those(origin.paths),
            samples=those(origin.samples),
            corners=those(origin.corners),
            kept=those(origin.kept),
        )
        return replace(
            self,
            files=those(self.files),
            numbers=tuple(new for new, _ in chosen) if self.numbers else (),
            origin=origin,
        )


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What one image file turned out to be. error: why it was left out, or None."""

    sha256: str = ""
    size: tuple[int, int] = (0, 0)  # (H, W)
    channels: int = 0
    bits: int = 0
    error: str | None = None


def chosen_runtime(graph: bytes, frame: Frame, sight: Sight | None, runtime: str) -> str:
    """A key of engines.DEVICES: what fastest.open_chosen takes for a backbone, one thread a run, if
    "auto" is asked for. Raises ConfigError on an unknown name, or one that is not here."""
    if not graph:  # nothing to measure
        require_known(DEFAULT if runtime == AUTO else runtime)
        return DEFAULT if runtime == AUTO else runtime
    shapes = (sight.inputs(frame) if sight else {}) | {"image": (1, frame.planes, *frame.size)}

    def example(engine: Engine) -> dict[str, Array]:
        return noise({entry: shapes[name] for name, entry in entries(engine).items()})

    return open_chosen(graph, example, runtime, threads=1)[1].name


def extract(
    graph: bytes,
    frame: Frame,
    paths: Sequence[Path],
    folder: Path,
    track: Track,
    *,
    runtime: str = DEFAULT,
) -> tuple[Features, tuple[Fact, ...]]:
    """Features of every readable image, and a fact a path (with .error where it was left out).

    graph: of the frozen backbone; without one the images are only looked at, and have no taps.
    folder: where features are kept; what is there by the same graph, frame, runtime and image bytes
    is used again. Raises DataError if it cannot be written.
    """
    engine = open_engine(graph, runtime, threads=1) if graph else None
    store = store_of(folder, graph, [asdict(frame)], engine)
    shapes = shapes_of(engine, frame) if engine else ()

    def work(path: Path) -> Fact:
        return _one(path, engine, frame, store)

    with ThreadPoolExecutor(cores()) as pool:
        facts = tuple(track(pool.map(work, paths), "Looking at good parts", len(paths)))
    read = [(path, fact) for path, fact in zip(paths, facts, strict=True) if fact.error is None]
    files = tuple(store / f"{fact.sha256}.f32" for _, fact in read)
    origin = Origin(
        paths=tuple(path for path, _ in read), graph=graph, frame=frame, runtime=runtime
    )
    return Features(files=files, shapes=shapes, origin=origin), facts


def extract_shots(
    graph: bytes,
    frame: Frame,
    sight: Sight,
    samples: Sequence[Sample],
    folder: Path,
    track: Track,
    *,
    runtime: str = DEFAULT,
) -> tuple[Features, tuple[Fact, ...]]:
    """Like extract, of all that was taken of each sample."""
    engine = open_engine(graph, runtime, threads=1)
    store = store_of(folder, graph, [asdict(frame), asdict(sight), VERSION], engine)

    def work(sample: Sample) -> tuple[Fact, Path]:
        try:
            shot, files = read_shot(sample, backgrounds_folder())
            sensor = json.dumps(sample.sensor and sample.sensor.as_json())
            marks = [hashlib.sha256(file).hexdigest() for file in files]
            key = hashlib.sha256(json.dumps([*marks, sensor]).encode()).hexdigest()
            file = store / f"{key}.f32"
            if file.exists():
                file.touch()
            else:
                keep(
                    file, b"".join(one.tobytes() for one in shown(engine, sight.feed(frame, shot)))
                )
        except ImageError as error:
            return Fact(error=about(error, sample.image)), store
        pixels = shot.pictures[PHOTOGRAPH]
        fact = Fact(
            sha256=marks[0],
            size=shot.size,
            channels=pixels.shape[2],
            bits=8 * pixels.dtype.itemsize,
        )
        return fact, file

    with ThreadPoolExecutor(cores()) as pool:
        found = list(track(pool.map(work, samples), "Looking at good parts", len(samples)))
    read = [(s, file) for s, (fact, file) in zip(samples, found, strict=True) if not fact.error]
    shapes = _shapes_of(engine, frame, sight)
    origin = Origin(
        paths=tuple(sample.image for sample, _ in read),
        graph=graph,
        frame=frame,
        sight=sight,
        samples=tuple(sample for sample, _ in read),
        runtime=runtime,
    )
    features = Features(files=tuple(file for _, file in read), shapes=shapes, origin=origin)
    return features, tuple(fact for fact, _ in found)


def store_of(folder: Path, graph: bytes, told: list[Any], engine: Engine | None) -> Path:
    """Where features lie, by all that they depend on but the images. Runtimes agree, but not to the
    bit: what one made is no other's."""
    made_by = [engine.name, engine.version] if engine else []
    key = graph + json.dumps([*told, *made_by], sort_keys=True).encode()
    return folder / hashlib.sha256(key).hexdigest()[:32]


def shown(engine: Engine, fed: dict[str, Array]) -> list[Array]:
    """What a backbone makes of all photographs and of a scan, and what a head is told besides."""
    names = entries(engine)
    scan = {entry: fed[name] for name, entry in names.items() if name != "image"}
    # one by one: sums inside the runtime can change with the batch's size
    each = [engine.run({names["image"]: image[None], **scan}) for image in fed["image"]]
    made: dict[str, Array] = {}
    for entry, *outs in zip(engine.outputs, *each, strict=True):
        name = entry.name.rsplit("/", 1)[-1]
        made[name] = np.concatenate(outs) if name.startswith("tap_") else outs[0][0]
    told = {name: fed[name][0] for name in ("shape", "seen") if name in fed}
    return list((made | told).values())


def _shapes_of(engine: Engine, frame: Frame, sight: Sight) -> tuple[tuple[int, ...], ...]:
    empty = Shot(pictures={name: np.zeros((1, 1, 3), np.uint8) for name in sight.pictures})
    return tuple(one.shape for one in shown(engine, sight.feed(frame, empty)))


def _one(path: Path, engine: Engine | None, frame: Frame, store: Path) -> Fact:
    try:
        data = read_bytes(path)
        pixels = decode_image(data, str(path))
        sha256 = hashlib.sha256(data).hexdigest()
        file = store / f"{sha256}.f32"
        if file.exists():
            file.touch()  # so that trimming takes the oldest
        elif engine is not None:
            keep(file, taps_of(engine, frame.to_model(pixels)))
        else:
            frame.blanked(pixels)  # whether it fits
    except ImageError as error:
        return Fact(error=about(error, path))
    height, width, channels = pixels.shape
    return Fact(
        sha256=sha256, size=(height, width), channels=channels, bits=8 * pixels.dtype.itemsize
    )


def taps_of(engine: Engine, image: Array) -> bytes:
    """A file of Features: of (1, planes, h, w), all taps."""
    taps = engine.run({"image": image})
    return np.concatenate([tap.ravel() for tap in taps]).tobytes()


def shapes_of(engine: Engine, frame: Frame) -> tuple[tuple[int, ...], ...]:
    """(C, h', w') of each tap of a frozen backbone."""
    taps = engine.run({"image": np.zeros((1, frame.planes, *frame.size), np.float32)})
    return tuple(tap.shape[1:] for tap in taps)
