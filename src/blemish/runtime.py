"""The street: a part.blemish file → Inspector → Prediction. Never imports torch.

Fitting, evaluation, command line and Python all score here, so there is no second way to predict
that could disagree.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from blemish.artifact import Artifact, open_artifact
from blemish.engines import Array, Engine, Port, cores, entries
from blemish.errors import ArtifactError, ImageError
from blemish.fastest import AUTO, Runtime, noise, open_chosen
from blemish.frame import Frame
from blemish.images import decode_image, pixel_count, read_bytes
from blemish.pipeline import failed, in_order, large_ones_alone, threads_each, workers_for
from blemish.records import Map, Outcome, Pixels, Prediction
from blemish.regions import regions, require_scale
from blemish.scans import scan_of
from blemish.sensors import Scan, Sensor
from blemish.shots import PHOTOGRAPH, POINTS, Shot, Sight, read_points
from blemish.tiles import Corner, Tiles


class Scorer:
    """A graph and how to feed it: scores images, without a verdict. Safe to share between threads.

    graph, frame, sight: as in Artifact. runtime, threads: see Inspector. runtime, the attribute:
    what runs the graph, and how it was chosen. Raises ArtifactError if the graph does not run or
    does not fit the frame, ConfigError if the runtime is not here.
    """

    runtime: Runtime

    def __init__(
        self,
        graph: bytes,
        frame: Frame,
        sight: Sight | None = None,
        *,
        runtime: str = AUTO,
        threads: int = 0,
    ) -> None:
        self.frame, self.sight = frame, sight
        wanted = _wanted(frame, sight)

        def example(engine: Engine) -> dict[str, Array]:
            named = _fitting(engine, wanted)
            return noise({named[name]: shape for name, shape in wanted.items()})

        # Windows are taken one a thread: side by side they scale better than within the graph.
        self._workers = 1 if frame.tiles is None else threads or cores()
        each = threads if frame.tiles is None else 1
        self._engine, self.runtime = open_chosen(graph, example, runtime, threads=each)
        self._entries = _fitting(self._engine, wanted)

    def score(self, shot: Pixels | Shot) -> tuple[Map, float]:
        """(H, W, C) pixels, or all that was taken of a part → native (H, W) map and image score,
        both raw.

        Raises ArtifactError if the graph fails on them, ImageError if nothing is there that it
        knows.
        """
        whole = shot if isinstance(shot, Shot) else Shot(pictures={PHOTOGRAPH: shot})
        if self.sight is not None:
            grid = self._grid(self.sight.feed(self.frame, whole))
            map = self.frame.to_native(grid, whole.size)
        elif self.frame.tiles is not None:
            pixels = self.frame.blanked(_photograph(whole))
            map = self.frame.blurred(self._windows(pixels, self.frame.tiles))
            map = self.frame.confined(map)
        else:
            # One image a run: sums inside the runtime can change with the batch's size.
            grid = self._grid({"image": self.frame.to_model(_photograph(whole))})
            map = self.frame.to_native(grid, whole.size)
        return map, self.frame.score(map)

    def _windows(self, pixels: Pixels, tiles: Tiles) -> Map:
        def grid_of(corner: Corner) -> Map:
            return self._grid({"image": self.frame.to_model(tiles.cut(pixels, corner))})

        size = (pixels.shape[0], pixels.shape[1])
        return tiles.map_of(size, grid_of, self._workers, self.frame.seen(size))

    def _grid(self, given: dict[str, Array]) -> Map:
        """(h', w') scores of what the graph is given by name. Raises ArtifactError."""
        grid = self._engine.run({self._entries[name]: one for name, one in given.items()})[0]
        if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all():
            raise ArtifactError(
                "the graph must give a grid of (h', w') finite scores, but gave shape"
                f" {grid.shape} with {int((~np.isfinite(grid)).sum())} that are not. Fit again."
            )
        return grid


class Inspector:
    """Scores images with a fitted model. Safe to share between threads.

    artifact: what open_artifact or blemish.fit gives. runtime: "auto", or a name from
    docs/runtimes.md. threads: of one run on the CPU; 0 takes one a core. Raises ArtifactError if
    the graph does not run, ConfigError if the runtime is not here.
    """

    def __init__(self, artifact: Artifact, *, runtime: str = AUTO, threads: int = 0) -> None:
        self.artifact, self._threads = artifact, threads
        self._beside: dict[int, Inspector] = {}  # for several workers, by threads of each
        self._scorer = Scorer(
            artifact.graph, artifact.frame, artifact.sight, runtime=runtime, threads=threads
        )
        self._told = str(self.runtime)

    @classmethod
    def load(cls, path: str | Path, *, runtime: str = AUTO, threads: int = 0) -> Inspector:
        """Opens a part.blemish file. Raises ArtifactError if it is not one; else as Inspector."""
        return cls(open_artifact(path), runtime=runtime, threads=threads)

    @property
    def runtime(self) -> Runtime:
        """What runs the graph: name, version, and how it was chosen."""
        return self._scorer.runtime

    def save(self, path: str | Path) -> Path:
        """Writes the model as a part.blemish file, whole or not at all. Raises DataError."""
        return self.artifact.save(path)

    def rescale(self, mm_per_pixel: float | None) -> None:
        """From now on regions are told in mm by this side of a pixel, whatever was told at the fit;
        None: in pixels alone. Raises ConfigError unless it is above 0."""
        require_scale(mm_per_pixel)
        self.artifact = replace(self.artifact, mm_per_pixel=mm_per_pixel)

    def inspect(
        self,
        image: str | Path | Pixels | None,
        *,
        points: str | Path | Scan | None = None,
        others: Mapping[str, str | Path | Pixels] | None = None,
    ) -> Prediction:
        """Verdict on one part, by its photograph and whatever else the model learnt from.

        image: a file, or (H, W) or (H, W, C) uint8, uint16 or float pixels, RGB; None if the
            camera gave none. points: a scan, or a file as its sensor wrote it. others: further
            photographs by name. Of a file, what belongs to it is found where it lay beside the
            photographs that were learnt from. What is missing is left out of the verdict, which
            says so.

        Raises ImageError if a file cannot be read, if something is given that the model does not
        know, or nothing that it knows, ArtifactError if the graph fails.
        """
        start = time.perf_counter()
        if others or points is not None:
            _require_known(self.artifact.sight, others or {}, points)
        found = Shot()
        if isinstance(image, (str, Path)):
            found = self.artifact.shot_of(Path(image))
        elif image is not None:
            found = Shot(pictures={PHOTOGRAPH: _as_pixels(image)})
        told = {name: _pixels(one) for name, one in (others or {}).items()}
        scan = found.scan if points is None else _scan(points, self.artifact.sensor)
        return self._predict(Shot(pictures={**found.pictures, **told}, scan=scan), start)

    def inspect_many(
        self, images: Iterable[str | Path | Pixels | Shot], *, workers: int = 0
    ) -> Iterator[Outcome]:
        """Verdicts on many parts, in their order, as they become known; to the bit those of
        `inspect`, however many workers there are.

        images: as of inspect, or Shots; taken one by one, at most 4 * workers + 1 ahead, so they
            may be endless. workers: parts inspected at once; 0 is one a core, at most 4. With one,
            nothing is taken ahead, and each verdict comes before the next image is asked for: for
            a live camera. Several share the cores: more parts an hour, each a little later.

        What cannot be read is an Outcome with its reason, and the rest goes on. Whoever stops
        early waits for the parts in hand, no longer. Raises ConfigError on workers below 0,
        ArtifactError if the graph fails.
        """
        count = workers_for(workers)
        one = self.one_of(count)

        def work(image: str | Path | Pixels | Shot) -> Outcome:
            file = Path(image) if isinstance(image, (str, Path)) else None
            try:
                if isinstance(image, Shot):
                    return Outcome(file=None, prediction=one.inspect_shot(image))
                return Outcome(file=file, prediction=one.inspect(image))
            except (ImageError, MemoryError) as error:
                return failed(file, error)

        def size(image: str | Path | Pixels | Shot) -> int:
            return pixel_count(image) if isinstance(image, (str, Path)) else 0

        careful = large_ones_alone(work, size)
        return in_order(work if count == 1 else careful, images, count)

    def one_of(self, workers: int) -> Inspector:
        """The Inspector that so many workers share: itself if it is alone or its threads were told,
        else one whose session takes for each image its worker's share of the cores."""
        threads = self._threads or threads_each(workers)
        if threads == self._threads:
            return self
        if threads not in self._beside:
            self._beside[threads] = Inspector(
                self.artifact, runtime=self.runtime.name, threads=threads
            )
        return self._beside[threads]

    def inspect_shot(self, shot: Shot) -> Prediction:
        """Verdict on all that was taken of a part; see inspect."""
        return self._predict(shot, time.perf_counter())

    def _predict(self, shot: Shot, start: float) -> Prediction:
        map, score = self.score(shot)
        calibration, missing = self.artifact.calibration_of(shot)
        defect = score > calibration.threshold
        levels, told = (calibration.seed, calibration.extent), self.artifact
        seen = told.frame.seen(map.shape)
        scale = told.mm_per_pixel
        found = regions(map, *levels, seen=seen, mm_per_pixel=scale) if defect else ()
        return Prediction(
            score=score,
            p_value=calibration.p_value(score),
            threshold=calibration.threshold,
            verdict="defect" if defect else "good",
            map=map,
            regions=found,
            ms=(time.perf_counter() - start) * 1000,
            missing=missing,
            seen=seen,
            runtime=self._told,
        )

    def score(self, shot: Pixels | Shot) -> tuple[Map, float]:
        """Native (H, W) map and image score of pixels or of a shot, both raw. See Scorer.score."""
        return self._scorer.score(shot)


def _wanted(frame: Frame, sight: Sight | None) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's inputs."""
    if sight is None:
        return {"image": (1, frame.planes, *frame.size)}
    return sight.inputs(frame)


def _fitting(engine: Engine, wanted: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """The graph's input for each thing that it will be given. Raises ArtifactError unless it takes
    these and nothing else."""
    inputs = {one.name: one for one in engine.inputs}
    # a graph of one input may call it anything
    alone = len(inputs) == len(wanted) == 1
    named = dict(zip(wanted, inputs, strict=True)) if alone else entries(engine)
    fits = named.keys() == wanted.keys() and len(inputs) == len(wanted)
    types = [one.type for one in engine.outputs]
    if (
        not fits
        or not all(_takes(inputs[named[name]], shape) for name, shape in wanted.items())
        or types[:1] != ["float32"]
    ):
        takes = [(one.name, one.type, one.shape) for one in engine.inputs]
        must = ", ".join(f"{name} of {shape}" for name, shape in wanted.items())
        raise ArtifactError(
            f"the graph must take float {must} and give float scores, but takes {takes} and"
            f" gives {types}. Fit again."
        )
    return named


def _takes(entry: Port, shape: tuple[int, ...]) -> bool:
    return (
        entry.type == "float32"
        and len(entry.shape) == len(shape)
        and all(has in (wanted, None) for has, wanted in zip(entry.shape, shape, strict=True))
    )


def _require_known(sight: Sight | None, others: Iterable[str], points: object) -> None:
    """Raises ImageError on a modality that the model does not know: it would look as if it took
    part in the verdict."""
    known = (PHOTOGRAPH,) if sight is None else sight.modalities
    told = [*others, *[POINTS] * (points is not None)]
    if odd := [name for name in told if name not in known]:
        raise ImageError(
            f"what is given of a part must be among what the model learnt from"
            f" ({', '.join(known)}), but is {', '.join(odd)}. Correct the name, or leave it out."
        )


def _scan(points: str | Path | Scan, sensor: Sensor | None) -> Scan:
    if isinstance(points, (str, Path)):
        return read_points(Path(points), sensor)
    if not isinstance(points, Scan):
        raise ImageError(
            f"points must be a path or a Scan, but are of {type(points)}. Make them one with"
            " blemish.scans.scan_of."
        )
    return scan_of(points.points, points.seen)  # a program's may hold NaN, or another float type


def _photograph(shot: Shot) -> Pixels:
    if PHOTOGRAPH not in shot.pictures:
        raise ImageError(
            "an image must be a photograph for this model, which learnt from nothing else, but none"
            " is there. Give the photograph."
        )
    return shot.pictures[PHOTOGRAPH]


def _pixels(image: str | Path | Pixels) -> Pixels:
    if isinstance(image, (str, Path)):
        return decode_image(read_bytes(image), str(image))
    return _as_pixels(image)


def _as_pixels(image: Pixels) -> Pixels:
    """Checks an array handed in by a program. Raises ImageError."""
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"an image must be a path or a NumPy array, but is of {type(image)}. Convert it first."
        )
    pixels = image[..., None] if image.ndim == 2 else image
    known = pixels.dtype in (np.uint8, np.uint16) or pixels.dtype.kind == "f"
    if pixels.ndim != 3 or pixels.size == 0 or not known:
        raise ImageError(
            "an image array must be (H, W) or (H, W, C) of uint8, uint16 or floats, but is"
            f" {image.shape} of {image.dtype}. Convert it first."
        )
    return pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels
