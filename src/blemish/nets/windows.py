"""Frozen features of the windows of large photographs, see features.py for those of whole ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from blemish.cache import keep
from blemish.engines import DEFAULT, Engine, cores, open_engine
from blemish.errors import ImageError, about
from blemish.frame import Frame
from blemish.images import decode_image, read_bytes
from blemish.nets.features import Fact, Features, Origin, shapes_of, store_of, taps_of
from blemish.records import Pixels
from blemish.tiles import Corner, Tiles
from blemish.track import Track

MOST = 4096  # windows to learn from; features of so many of 256 pixels take a gigabyte


def extract_windows(
    graph: bytes,
    frame: Frame,
    tiles: Tiles,
    paths: Sequence[Path],
    folder: Path,
    track: Track,
    *,
    runtime: str = DEFAULT,
    most: int = MOST,
) -> tuple[Features, tuple[Fact, ...]]:
    """Like features.extract, of windows that show something inspected: all, or as many of each
    photograph as make `most` in all, one at least. Which, is drawn by the photograph's content.
    tiles: the frame's.
    """
    engine = open_engine(graph, runtime, threads=1) if graph else None
    store = store_of(folder, graph, [asdict(frame)], engine)
    each = max(1, most // max(1, len(paths)))

    def work(path: Path) -> tuple[Fact, list[Corner]]:
        try:
            data = read_bytes(path)
            pixels = frame.blanked(decode_image(data, str(path)))
            mark = hashlib.sha256(data).hexdigest()
            size, channels = pixels.shape[:2], pixels.shape[2]
            corners = _drawn(tiles.corners(size, frame.seen(size)), each, mark)
            for corner in corners:
                _keep(engine, frame, tiles.cut(pixels, corner), _file(store, mark, corner))
        except ImageError as error:
            return Fact(error=about(error, path)), []
        bits = 8 * pixels.dtype.itemsize
        return Fact(sha256=mark, size=size, channels=channels, bits=bits), corners

    with ThreadPoolExecutor(cores()) as pool:
        found = list(track(pool.map(work, paths), "Looking at good parts", len(paths)))
    read = [(path, *one) for path, one in zip(paths, found, strict=True) if one[0].error is None]
    every = [
        (number, path, corner, _file(store, fact.sha256, corner))
        for number, (path, fact, corners) in enumerate(read)
        for corner in corners
    ]
    files = tuple(file for *_, file in every)
    origin = Origin(
        paths=tuple(path for _, path, *_ in every),
        graph=graph,
        frame=frame,
        corners=tuple(corner for _, _, corner, _ in every),
        kept=tuple(file.with_suffix(".npy") for file in files),
        runtime=runtime,
    )
    features = Features(
        files=files,
        shapes=shapes_of(engine, frame) if engine else (),
        origin=origin,
        numbers=tuple(number for number, *_ in every),
    )
    return features, tuple(fact for fact, _ in found)


def _drawn(corners: list[Corner], count: int, mark: str) -> list[Corner]:
    """At most `count` of them, in order."""
    if len(corners) <= count:
        return corners
    rng = np.random.default_rng(int(mark[:16], 16))
    return [corners[i] for i in sorted(rng.choice(len(corners), count, replace=False).tolist())]


def _file(store: Path, mark: str, corner: Corner) -> Path:
    return store / f"{mark}-{corner[0]}-{corner[1]}.f32"


def _keep(engine: Engine | None, frame: Frame, window: Pixels, file: Path) -> None:
    if file.exists():
        file.touch()  # so that trimming takes the oldest
    elif engine is not None:
        keep(file, taps_of(engine, frame.to_model(window)))
