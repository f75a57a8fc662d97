"""Learns what good parts look like, then finds, outlines and measures defects it has never seen.

model = blemish.fit("good/")
model.save("part.blemish")
blemish.load("part.blemish").inspect("x.png")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import BlemishError
from blemish.errors import needs_extra as _needs_extra
from blemish.records import Outcome, Prediction, Region, Sample

if TYPE_CHECKING:
    from blemish.runtime import Inspector

__version__ = "0.1.0"
__all__ = [
    "BlemishError",
    "Outcome",
    "Prediction",
    "Region",
    "Sample",
    "__version__",
    "fit",
    "load",
]


def fit(
    data: str | Path,
    *,
    layout: str = "auto",
    method: str = "padim",
    preset: str = "embedded",
    settings: dict[str, Any] | None = None,
    false_alarms: float = 0.01,
    seed: int = 0,
    rehearse: bool = False,
    commercial: bool = False,
    roi: str | Path | None = None,
    ignore: str | Path | None = None,
    mm_per_pixel: float | None = None,
    runtime: str = "onnxruntime",
) -> Inspector:
    """Learns from the good images of a folder; needs the train extra.

    data: a folder of good photographs, or of a data set (its test part is not looked at).
    layout: of the data set, a name from docs/data.md; "auto" recognises it.
    method, preset: a name from `blemish fit --help`.
    settings: fields of the method's config to change, for example {"size": 320}.
    false_alarms: share of good parts that may be called defective, in (0, 1).
    rehearse: also report, in the Inspector's artifact.about["rehearsal"], how made-up defects on
        good parts that a model was not fitted on are found (blemish.rehearse).
    commercial: refuse pretrained weights that are not cleared for commercial use (docs/weights.md).
    roi, ignore: files of what is inspected, and of what in it is not: polygons in JSON or masks
        (docs/regions.md). The model keeps them.
    mm_per_pixel: side of a pixel of the photographs; regions then have sizes in mm, too.
    runtime: what runs the frozen backbone, and the Inspector: a name from docs/runtimes.md.
    Returns an Inspector, ready to inspect and to save.
    Raises DataError, ConfigError, WeightsError or MissingExtraError, each saying what to do.
    """
    with _needs_extra("fitting", "train"):
        from blemish.fitting import fit_folder  # torch is for the workshop only
    from blemish.area import read_area

    return fit_folder(
        data,
        layout=layout,
        method=method,
        preset=preset,
        settings=settings,
        false_alarms=false_alarms,
        seed=seed,
        rehearse=rehearse,
        commercial=commercial,
        area=read_area(roi, ignore),
        mm_per_pixel=mm_per_pixel,
        runtime=runtime,
    )


def load(path: str | Path, *, runtime: str = "auto", threads: int = 0) -> Inspector:
    """Opens a part.blemish file.

    runtime: a name from docs/runtimes.md, such as "openvino"; "auto" takes the soonest done of
        those installed. threads: of one run on the CPU; 0 takes one a core.
    Raises ArtifactError if the file is missing, damaged or of another format, ConfigError if the
    runtime is not installed or finds no device.
    """
    from blemish.runtime import Inspector

    return Inspector.load(path, runtime=runtime, threads=threads)
