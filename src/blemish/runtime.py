"""The street: a part.blemish file → Inspector → Prediction. Never imports torch.

Fitting, evaluation, command line and Python all score here, so there is no second way to predict
that could disagree.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from blemish.artifact import Artifact, open_artifact
from blemish.errors import ArtifactError, ImageError
from blemish.frame import Frame
from blemish.images import decode_image, read_bytes
from blemish.records import Map, Pixels, Prediction
from blemish.regions import regions


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

    graph, frame: as in Artifact. threads: 0 takes one a core. Raises ArtifactError if the graph
    does not run or does not fit the frame.
    """

    def __init__(self, graph: bytes, frame: Frame, *, threads: int = 0) -> None:
        self.frame = frame
        self._session = session(graph, threads=threads)
        self._input = _input(self._session, frame.size)

    def score(self, pixels: Pixels) -> tuple[Map, float]:
        """(H, W, C) pixels → native (H, W) map and image score, both raw.

        Raises ArtifactError if the graph fails on them.
        """
        # One image a run: sums inside the runtime can change with the batch's size.
        image = self.frame.to_model(pixels)
        try:
            grid = np.asarray(self._session.run(None, {self._input: image})[0])
        except Exception as error:  # as in session
            raise ArtifactError(
                f"the graph must run on an image, but ONNX Runtime says: {error}. Fit again."
            ) from error
        if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all():
            raise ArtifactError(
                "the graph must give a grid of (h', w') finite scores, but gave shape"
                f" {grid.shape} with {int((~np.isfinite(grid)).sum())} that are not. Fit again."
            )
        map = self.frame.to_native(grid, (pixels.shape[0], pixels.shape[1]))
        return map, self.frame.score(map)


class Inspector:
    """Scores images with a fitted model. Safe to share between threads.

    artifact: what open_artifact or blemish.fit gives. threads: 0 takes one a core.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0) -> None:
        self.artifact = artifact
        self._scorer = Scorer(artifact.graph, artifact.frame, threads=threads)

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 0) -> Inspector:
        """Opens a part.blemish file. Raises ArtifactError if it is not one."""
        return cls(open_artifact(path), threads=threads)

    def save(self, path: str | Path) -> Path:
        """Writes the model as a part.blemish file, whole or not at all. Raises DataError."""
        return self.artifact.save(path)

    def inspect(self, image: str | Path | Pixels) -> Prediction:
        """Verdict on one image: a file, or (H, W) or (H, W, C) uint8 or uint16 pixels in RGB order.

        Raises ImageError if it cannot be read, ArtifactError if the graph fails on it.
        """
        start = time.perf_counter()
        if isinstance(image, (str, Path)):
            pixels = decode_image(read_bytes(image), str(image))
        else:
            pixels = _as_pixels(image)
        map, score = self.score(pixels)
        calibration = self.artifact.calibration
        defect = score > calibration.threshold
        found = regions(map, calibration.seed, calibration.extent) if defect else ()
        return Prediction(
            score=score,
            p_value=calibration.p_value(score),
            threshold=calibration.threshold,
            verdict="defect" if defect else "good",
            map=map,
            regions=found,
            ms=(time.perf_counter() - start) * 1000,
        )

    def score(self, pixels: Pixels) -> tuple[Map, float]:
        """(H, W, C) pixels → native (H, W) map and image score, both raw. Raises ArtifactError."""
        return self._scorer.score(pixels)


def _input(run: ort.InferenceSession, size: tuple[int, int]) -> str:
    """Name of the graph's only input. Raises ArtifactError unless it fits the frame."""
    given = [(one.name, one.type, one.shape) for one in run.get_inputs()]
    wanted = (1, 3, *size)
    fits = (
        len(given) == 1
        and given[0][1] == "tensor(float)"
        and len(given[0][2]) == len(wanted)
        # a name instead of a number takes any size
        and all(
            has in (one, None) or isinstance(has, str)
            for has, one in zip(given[0][2], wanted, strict=True)
        )
    )
    types = [one.type for one in run.get_outputs()]
    if not fits or types[:1] != ["tensor(float)"]:
        raise ArtifactError(
            f"the graph must take one float image of {wanted} and give float scores, but takes"
            f" {given} and gives {types}. Fit again."
        )
    return str(given[0][0])


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
