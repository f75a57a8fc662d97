"""How good a model is: numpy in, numbers out; exact, at native resolution."""

from blemish.metrics.evaluate import FIGURES, Evaluation, Scored, evaluate
from blemish.metrics.ranking import auroc, average_precision, f1_max, roc_curve
from blemish.metrics.regions import (
    aupro,
    components,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
    pro_curve,
)

__all__ = [
    "FIGURES",
    "Evaluation",
    "Scored",
    "aupro",
    "auroc",
    "average_precision",
    "components",
    "evaluate",
    "f1_max",
    "pixel_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pro_curve",
    "roc_curve",
]
