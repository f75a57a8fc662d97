"""How good a model is: numpy in, numbers out; at native resolution, exact or to a known bound."""

from blemish.metrics.defects import components
from blemish.metrics.evaluate import Evaluator, evaluate
from blemish.metrics.evaluation import FIGURES, Evaluation, Scored
from blemish.metrics.pool import EVERYTHING, Budget
from blemish.metrics.ranking import auroc, average_precision, f1_max, roc_curve
from blemish.metrics.regions import (
    aupro,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
    pro_curve,
)
from blemish.metrics.sizes import detection, robustness, size_bins

__all__ = [
    "EVERYTHING",
    "FIGURES",
    "Budget",
    "Evaluation",
    "Evaluator",
    "Scored",
    "aupro",
    "auroc",
    "average_precision",
    "components",
    "detection",
    "evaluate",
    "f1_max",
    "pixel_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pro_curve",
    "robustness",
    "roc_curve",
    "size_bins",
]
