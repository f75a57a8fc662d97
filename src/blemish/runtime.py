"""The street: a part.blemish file → Inspector → Prediction. Never imports torch.

Fitting, evaluation, command line and Python all score here, so there is no second way to predict
that could disagree.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from blemish.artifact import Artifact, open_artifact
from blemish.errors import ArtifactError, ImageError
from blemish.images import decode_image, read_bytes
from blemish.records import Map, Pixels, Prediction, Region


def session(graph: bytes, *, threads: int = 0) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU. threads: 0 takes one a core.

    Raises ArtifactError if the runtime refuses the graph.
    """
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


class Inspector:
    """Scores images with a fitted model. Safe to share between threads.

    artifact: what open_artifact or blemish.fit gives. threads: 0 takes one a core.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0) -> None:
        self.artifact = artifact
        self._session = session(artifact.graph, threads=threads)
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 0) -> Inspector:
        """Opens a part.blemish file. Raises ArtifactError if it is not one."""
        return cls(open_artifact(path), threads=threads)

    def save(self, path: str | Path) -> Path:
        """Writes the model as a part.blemish file, whole or not at all. Raises DataError."""
        return self.artifact.save(path)

    def inspect(self, image: str | Path | Pixels) -> Prediction:
        """Verdict on one image: a file, or (H, W) or (H, W, C) uint8 or uint16 pixels in RGB order.

        Raises ImageError if it cannot be read.
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
        """(H, W, C) pixels → native (H, W) map and image score, both raw."""
        frame = self.artifact.frame
        # One image a run: sums inside the runtime can change with the batch's size.
        grid = self._session.run(None, {self._input: frame.to_model(pixels)})[0]
        map = frame.to_native(grid, (pixels.shape[0], pixels.shape[1]))
        return map, frame.score(map)


def regions(map: Map, seed: float, extent: float) -> tuple[Region, ...]:
    """8-connected pixels above `extent` whose peak is above `seed`, highest peak first.

    Two levels, as in Canny's hysteresis, outline a whole defect without starting new ones. The
    map's own peak always counts, so that a defect has at least one region.
    """
    seed = min(seed, float(np.nextafter(map.max(), np.float32(-np.inf))))
    above = (map > min(extent, seed)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    found = [_region(map, labels, label, stats[label]) for label in range(1, count)]
    return tuple(sorted((r for r in found if r.peak > seed), key=lambda region: -region.peak))


def _region(map: Map, labels: npt.NDArray[Any], label: int, stats: npt.NDArray[Any]) -> Region:
    x, y, width, height, area = (int(value) for value in stats)
    window = (slice(y, y + height), slice(x, x + width))
    peak = float(map[window][labels[window] == label].max())
    return Region(box=(x, y, width, height), area_px=area, peak=peak)


def _as_pixels(image: Pixels) -> Pixels:
    """Checks an array handed in by a program. Raises ImageError."""
    pixels = image[..., None] if image.ndim == 2 else image
    whole = pixels.ndim == 3 and pixels.shape[2] in (1, 3) and pixels.size > 0
    if not whole or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "an image array must be (H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16, but is"
            f" {image.shape} of {image.dtype}. Convert it first."
        )
    return pixels
