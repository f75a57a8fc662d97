"""One HTML file that tells how good a model is; opens anywhere, asks no network for anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blemish.calibrate import upper_rate
from blemish.images import write_whole
from blemish.metrics.evaluation import Evaluation, Scored
from blemish.metrics.sizes import LIMITS
from blemish.records import Region
from blemish.regions import sizes
from blemish.report import plots
from blemish.report.html import data_uri, template
from blemish.report.overlay import RGB, as_rgb, outline, paint
from blemish.report.relief import relief
from blemish.report.scene import scene, scene_script
from blemish.report.text import how_measured
from blemish.report.view import View

SHOWN = 6  # worst cases of either kind
THUMBNAIL = (560, 480)  # largest height and width of a picture on the page
TRUTH = (57, 255, 20)  # green outline of what a person marked
EXPLAINED = {
    "image_auroc": ("Image AUROC", "chance that a defective part scores above a good one"),
    "image_ap": ("Image AP", "average share of true defects among the parts scored highest"),
    "image_f1_max": ("Image F1 max", "best balance of found and false, at the best threshold"),
    "pixel_auroc": ("Pixel AUROC", "chance that a defect's pixel is hotter than a good one"),
    "pixel_ap": ("Pixel AP", "average share of true defect among the hottest pixels"),
    "pixel_f1_max": ("Pixel F1 max", "best balance of found and false pixels"),
    "aupro_30": ("AUPRO@30", "share of each defect found, up to 30 % of good pixels marked"),
    "aupro_10": ("AUPRO@10", "the same, up to 10 % of good pixels marked"),
    "aupro_05": ("AUPRO@5", "the same, up to 5 %"),
    "aupro_01": ("AUPRO@1", "the same, up to 1 %"),
}
BINS = {  # name, words; of sizes.size_bins
    "Q1": "smallest quarter",
    "Q2": "smaller half",
    "Q3": "smaller three quarters",
    "Q4": "all",
    "D2": "second quarter alone",
    "D3": "third quarter alone",
    "D4": "largest quarter alone",
}

Views = Callable[[Scored], View]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One part on the page. pictures: (caption, data URI). regions: what was found, in words; empty
    if nothing. scene: JSON for scene_script's viewer; None for parts without a scan."""

    name: str
    kind: str
    score: float
    rejected: bool
    pictures: tuple[tuple[str, str], ...]
    regions: str
    scene: str | None


def write_report(
    folder: str | Path,
    *,
    title: str,
    evaluation: Evaluation,
    items: Sequence[Scored],
    views: Views,
    info: Mapping[str, str],
    command: str,
) -> Path:
    """Writes folder/report.html, whole or not at all, and returns its path.

    items: what was evaluated; their maps and masks are not needed any more.
    views: called for the few parts that are shown.
    info: what is to be told about the model, in this order: method, data, versions, guarantee …
    command: command line that makes this report again.
    Raises DataError if it cannot be written, and whatever views raises.
    """
    misses = sorted((i for i in items if i.sample.is_defect), key=lambda i: i.score)[:SHOWN]
    alarms = sorted((i for i in items if not i.sample.is_defect), key=lambda i: -i.score)[:SHOWN]
    cases = [
        [_case(item, evaluation.threshold, views) for item in group] for group in (misses, alarms)
    ]
    turned = any(case.scene for group in cases for case in group)
    text = template("page.html").render(
        title=title,
        evaluation=evaluation,
        good=_verdicts(evaluation.counts["good"], evaluation.false_alarm_rate),
        defects=_verdicts(evaluation.counts["defect"], evaluation.detection_rate),
        explained=EXPLAINED,
        bins=BINS,
        areas=[name for name in EXPLAINED if name in LIMITS],
        how_measured=how_measured(evaluation),
        by_area=_by_area(evaluation),
        histogram=plots.histogram(_by_kind(items), evaluation.threshold),
        roc=_roc(evaluation),
        pro=plots.pro(evaluation.pro) if evaluation.pro else None,
        misses=cases[0],
        alarms=cases[1],
        script=scene_script() if turned else None,
        info=info,
        command=command,
    )
    path = Path(folder) / "report.html"
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # names need not be Unicode
    return path


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """How many of n parts were called defective. at_most: bound of the long-run rate, at 95 %
    confidence."""

    n: int
    rejected: int
    rate: float
    at_most: float


def _verdicts(n: int, rate: float | None) -> Verdicts | None:
    if rate is None:
        return None
    rejected = round(rate * n)
    at_most = upper_rate(n, rejected) if rejected < n else 1.0
    return Verdicts(n=n, rejected=rejected, rate=rate, at_most=at_most)


def _roc(evaluation: Evaluation) -> str | None:
    false_alarms, found = evaluation.false_alarm_rate, evaluation.detection_rate
    if evaluation.roc is None or false_alarms is None or found is None:
        return None
    return plots.roc(evaluation.roc, (false_alarms, found))


def _by_area(evaluation: Evaluation) -> str | None:
    found = evaluation.sizes and evaluation.sizes.detection
    return plots.by_area(found) if found else None


def _by_kind(items: Sequence[Scored]) -> dict[str, list[float]]:
    """Scores by kind, good first."""
    kinds = sorted({(item.sample.is_defect, item.sample.defect_type) for item in items})
    return {
        kind: [item.score for item in items if item.sample.defect_type == kind] for _, kind in kinds
    }


def _case(item: Scored, threshold: float, views: Views) -> Case:
    view = views(item)
    photograph = as_rgb(view.pixels)
    painted = paint(view.pixels, view.prediction, view.levels)
    pictures, turned = [("photograph", photograph), ("what the model sees", painted)], None
    if view.mask is not None and view.mask.any():
        marked = outline(photograph, view.mask, TRUTH)
        pictures.insert(1, ("marked by a person", marked))
    if view.scan is not None:
        surface = paint(relief(view.scan), view.prediction, view.levels)
        pictures.append(("the same in relief", surface))
        turned = scene(view.scan, photograph, surface)
    return Case(
        name=f"{item.sample.defect_type}/{item.sample.image.name}",
        kind=item.sample.defect_type,
        score=item.score,
        rejected=item.score > threshold,
        pictures=tuple((caption, _thumbnail(picture)) for caption, picture in pictures),
        regions=_in_words(view.prediction.regions),
        scene=turned,
    )


def _in_words(regions: Sequence[Region]) -> str:
    """How many, and the sizes of the largest three."""
    largest = sorted(regions, key=lambda region: -region.area_px)[:3]
    told = "; ".join(f"{sizes(one)} at {one.box[0]}, {one.box[1]}" for one in largest)
    more = f" and {len(regions) - len(largest)} more" if len(regions) > len(largest) else ""
    return f"{len(regions)} region{'s' * (len(regions) > 1)}: {told}{more}" if regions else ""


def _thumbnail(picture: RGB) -> str:
    """A JPEG in a data URI; small pictures are enlarged by a whole number, pixel for pixel."""
    height, width = picture.shape[:2]
    scale = min(THUMBNAIL[0] / height, THUMBNAIL[1] / width)
    scale = min(int(scale), 3) if scale >= 1 else scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(picture, size, interpolation=how)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]))
    return data_uri(data.tobytes())
