"""The street: a part.blemish file → Inspector → Prediction. Never imports torch.

Fitting, evaluation, command line and Python all score here, so there is no second way to predict
that could disagree.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from blemish.artifact import Artifact, open_artifact
from blemish.errors import ArtifactError, ImageError
from blemish.frame import Frame
from blemish.images import decode_image, read_bytes
from blemish.records import Map, Pixels, Prediction
from blemish.regions import regions, require_scale
from blemish.scans import scan_of
from blemish.sensors import Scan, Sensor
from blemish.shots import PHOTOGRAPH, POINTS, Shot, Sight, read_points


def session(graph: bytes, *, threads: int = 0) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU. threads: 0 takes one a core.

    Raises ArtifactError if the runtime refuses the graph, or if it keeps numbers in other files.
    """
    # A tensor outside the graph names its file under the key "location", and ONNX Runtime would
    # read it from below or above the working folder.
    if b"location" in graph:
        raise ArtifactError(
            "the graph must hold all of its numbers, but refers to another file."
            " Do not trust whoever gave it to you; fit again."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # refusals are raised, not printed
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common class
        raise ArtifactError(
            f"the graph must be one that ONNX Runtime {ort.__version__} runs, but it says: {error}."
            " Update onnxruntime, or fit again."
        ) from error


class Scorer:
    """A graph and how to feed it: scores images, without a verdict. Safe to share between threads.

    graph, frame, sight: as in Artifact. threads: 0 takes one a core. Raises ArtifactError if the
    graph does not run or does not fit the frame.
    """

    def __init__(
        self, graph: bytes, frame: Frame, sight: Sight | None = None, *, threads: int = 0
    ) -> None:
        self.frame, self.sight = frame, sight
        self._session = session(graph, threads=threads)
        self._entries = _fitting(self._session, _wanted(frame, sight))

    def score(self, shot: Pixels | Shot) -> tuple[Map, float]:
        """(H, W, C) pixels, or all that was taken of a part → native (H, W) map and image score,
        both raw.

        Raises ArtifactError if the graph fails on them, ImageError if nothing is there that it
        knows.
        """
        whole = shot if isinstance(shot, Shot) else Shot(pictures={PHOTOGRAPH: shot})
        # One image a run: sums inside the runtime can change with the batch's size.
        if self.sight is None:
            given = {"image": self.frame.to_model(_photograph(whole))}
        else:
            given = self.sight.feed(self.frame, whole)
        named = {self._entries[name]: one for name, one in given.items()}
        try:
            grid = np.asarray(self._session.run(None, named)[0])
        except Exception as error:  # as in session
            raise ArtifactError(
                f"the graph must run on an image, but ONNX Runtime says: {error}. Fit again."
            ) from error
        if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all():
            raise ArtifactError(
                "the graph must give a grid of (h', w') finite scores, but gave shape"
                f" {grid.shape} with {int((~np.isfinite(grid)).sum())} that are not. Fit again."
            )
        map = self.frame.to_native(grid, whole.size)
        return map, self.frame.score(map)


class Inspector:
    """Scores images with a fitted model. Safe to share between threads.

    artifact: what open_artifact or blemish.fit gives. threads: 0 takes one a core.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0) -> None:
        self.artifact = artifact
        self._scorer = Scorer(artifact.graph, artifact.frame, artifact.sight, threads=threads)

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 0) -> Inspector:
        """Opens a part.blemish file. Raises ArtifactError if it is not one."""
        return cls(open_artifact(path), threads=threads)

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

        image: a file, or (H, W) or (H, W, C) uint8 or uint16 pixels in RGB order; None if the
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
        )

    def score(self, shot: Pixels | Shot) -> tuple[Map, float]:
        """Native (H, W) map and image score of pixels or of a shot, both raw. See Scorer.score."""
        return self._scorer.score(shot)


def entries(run: ort.InferenceSession) -> dict[str, str]:
    """What a graph's inputs are called: by the name before parts of it were joined."""
    return {one.name.rsplit("/", 1)[-1]: one.name for one in run.get_inputs()}


def _wanted(frame: Frame, sight: Sight | None) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's inputs."""
    if sight is None:
        return {"image": (1, 3, *frame.size)}
    return sight.inputs(frame)


def _fitting(run: ort.InferenceSession, wanted: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """The graph's input for each thing that it will be given. Raises ArtifactError unless it takes
    these and nothing else."""
    inputs = {one.name: one for one in run.get_inputs()}
    # a graph of one input may call it anything
    alone = len(inputs) == len(wanted) == 1
    named = dict(zip(wanted, inputs, strict=True)) if alone else entries(run)
    fits = named.keys() == wanted.keys() and len(inputs) == len(wanted)
    types = [one.type for one in run.get_outputs()]
    if (
        not fits
        or not all(_takes(inputs[named[name]], shape) for name, shape in wanted.items())
        or types[:1] != ["tensor(float)"]
    ):
        takes = [(one.name, one.type, one.shape) for one in inputs.values()]
        must = ", ".join(f"{name} of {shape}" for name, shape in wanted.items())
        raise ArtifactError(
            f"the graph must take float {must} and give float scores, but takes {takes} and"
            f" gives {types}. Fit again."
        )
    return named


def _takes(entry: ort.NodeArg, shape: tuple[int, ...]) -> bool:
    # a name instead of a number takes any size
    return (
        entry.type == "tensor(float)"
        and len(entry.shape) == len(shape)
        and all(
            isinstance(has, str) or has in (wanted, None)
            for has, wanted in zip(entry.shape, shape, strict=True)
        )
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
    whole = pixels.ndim == 3 and pixels.shape[2] in (1, 3) and pixels.size > 0
    if not whole or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "an image array must be (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16, but is"
            f" {image.shape} of {image.dtype}. Convert it first."
        )
    return pixels
