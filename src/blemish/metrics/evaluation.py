"""What is said about a test set: every figure, with the way it was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from blemish.metrics.ranking import Floats
from blemish.metrics.sizes import CUMULATIVE, DISJOINT, LIMITS, Detection
from blemish.records import Map, Mask, Sample

IMAGE_FIGURES = ("image_auroc", "image_ap", "image_f1_max")
PIXEL_FIGURES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", *LIMITS)
FIGURES = IMAGE_FIGURES + PIXEL_FIGURES


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One test image and what the model says about it.

    score: finite image score. map: (H, W) native map; without one the image counts for the image
    figures only. mask: (H, W) bool, True on the defect; None for a good image, and for a defective
    one whose pixels nobody marked: that one counts for the image figures only.
    """

    sample: Sample
    score: float
    map: Map | None = None
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sizes:
    """The benchmark by size; sizes are areas in native pixels of 8-connected defects.

    edges: the three quartiles of the sizes. bins: for Q1 … Q4 and D1 … D4, as sizes.size_bins names
    them, "defects", their number, and the AUPROs, None without defects. robustness: rho at 30 %
    over the four cumulative bins, a reconstruction. detection: None without good images.
    """

    edges: tuple[float, float, float]
    bins: dict[str, dict[str, float | int | None]]
    robustness: float
    detection: Detection | None

    def to_json(self) -> dict[str, Any]:
        """Plain Python values."""
        return {
            "edges_px": list(self.edges),
            "cumulative": {name: dict(self.bins[name]) for name in CUMULATIVE},
            "disjoint": {name: dict(self.bins[name]) for name in DISJOINT},
            "robustness": {
                "value": self.robustness,
                "limit": LIMITS["aupro_30"],
                "mean": "bins",
                "reconstructed": True,
            },
            "detection": self.detection and _plain(asdict(self.detection)),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Every figure of one test set. Figures are in [0, 1], None where they have no meaning.

    figures: the ten of FIGURES. by_type: for each type of defect the same ten, of its images
        against all good ones, with "count" and "detection_rate".
    intervals: for each image figure 95 % of the values that bootstrap resamples of the images
        give, as (low, high).
    counts: images: "good", "defect", and of the defective ones how many are "without_mask" and how
        many have an "empty_mask", one that marks no pixel.
    threshold: scores above it are verdicts "defect". false_alarm_rate: share of good images above
        it. detection_rate: share of defective images above it.
    mode: "exact", or "bounded" if there were too many pixels to keep. error_bound: no pixel figure
        here, overall, by type or by size, is further than this from the exact one.
    n_thresholds: None if AUPRO is over the whole curve, else the number of its coarse thresholds.
    seg_f1: F1 of the pixels above pixel_threshold; None without one, or without marked defects.
    sizes: None without marked defects.
    roc: (fpr, tpr) of the images. pro: (fpr, pro) of the pixels up to a fpr of 0.3. Both thinned
        for drawing.
    """

    figures: dict[str, float | None]
    by_type: dict[str, dict[str, float | int | None]]
    intervals: dict[str, tuple[float, float] | None]
    counts: dict[str, int]
    threshold: float
    false_alarm_rate: float | None
    detection_rate: float | None
    mode: Literal["exact", "bounded"]
    error_bound: float
    n_thresholds: int | None
    seg_f1: float | None
    pixel_threshold: float | None
    sizes: Sizes | None
    roc: tuple[Floats, Floats] | None
    pro: tuple[Floats, Floats] | None

    def to_json(self) -> dict[str, Any]:
        """Plain Python values, laid out as `blemish evaluate --json` prints them; no NaN."""
        return {
            **self.figures,
            "by_type": {kind: dict(row) for kind, row in self.by_type.items()},
            "counts": dict(self.counts),
            "threshold": self.threshold,
            "false_alarm_rate": self.false_alarm_rate,
            "detection_rate": self.detection_rate,
            "intervals": {name: pair and list(pair) for name, pair in self.intervals.items()},
            "mode": self.mode,
            "error_bound": self.error_bound,
            "n_thresholds": self.n_thresholds,
            "seg_f1": self.seg_f1,
            "pixel_threshold": self.pixel_threshold,
            "sizes": self.sizes and self.sizes.to_json(),
        }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Tuples as the lists that JSON makes of them."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in row.items()}
