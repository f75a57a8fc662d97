"""What the command line prints for people."""

from __future__ import annotations

from blemish.artifact import Artifact
from blemish.metrics.evaluation import FIGURES, Evaluation


def about(artifact: Artifact) -> dict[str, str]:
    """Name → sentence on where a model came from and what its threshold promises."""
    stored, calibration = artifact.about, artifact.calibration
    backbone, data = stored["backbone"], stored["data"]
    small, large = (" x ".join(map(str, data[key])) for key in ("smallest", "largest"))
    return {
        "method": f"{stored['method']}, preset {stored['preset']}, seed {stored['seed']}",
        "settings": ", ".join(f"{name}={value}" for name, value in stored["config"].items()),
        "model frame": f"{artifact.frame.size[0]} x {artifact.frame.size[1]} px",
        "backbone": f"{backbone['name']}, weights {backbone['licence']}, from {backbone['source']}",
        "data": f"{data['used']} good images of '{data['folder']}', {small} to {large} px",
        "calibration": f"{len(calibration.scores)} good parts, {calibration.how}",
        "threshold": f"{calibration.threshold:.4g}",
        "promise": calibration.note(),
        "graph": f"{len(artifact.graph) / 1e6:.1f} MB",
        "written with": ", ".join(f"{name} {of}" for name, of in stored["versions"].items()),
    }


def figures_table(evaluation: Evaluation) -> str:
    """The figures of FIGURES, overall and by type, as lines of fixed width."""
    types = {"all": dict(evaluation.figures), **evaluation.by_type}
    width = max(len(name) for name in types)
    head = " ".join([" " * width, *(f"{name:>13}" for name in FIGURES)])
    lines = [head, *(_line(name.ljust(width), row) for name, row in types.items())]
    for name, pair in evaluation.intervals.items():
        if pair:
            lines.append(f"{name}: {pair[0]:.3f} to {pair[1]:.3f} (95 % bootstrap)")
    if evaluation.seg_f1 is not None:
        lines.append(f"seg_f1 above the model's own level: {evaluation.seg_f1:.4f}")
    if evaluation.sizes:
        lines.append(how_measured(evaluation))
    good, defect = evaluation.counts["good"], evaluation.counts["defect"]
    lines.append(
        f"At the threshold {evaluation.threshold:.4g}:"
        f" {_share(evaluation.false_alarm_rate)} of {good} good parts called defective,"
        f" {_share(evaluation.detection_rate)} of {defect} defective parts found."
    )
    return "\n".join(lines)


def how_measured(evaluation: Evaluation) -> str:
    """Sentences on the figures of pixels: where AUPRO's thresholds lie, and how exact all are."""
    exact = (
        "Every figure is exact."
        if evaluation.mode == "exact"
        else "There were too many pixels to keep: each figure of pixels is within"
        f" {evaluation.error_bound:.1e} of the exact one."
    )
    return f"{aupro_mode(evaluation.n_thresholds)} {exact}"


def aupro_mode(n_thresholds: int | None) -> str:
    """A sentence on where AUPRO's thresholds lie."""
    if n_thresholds is None:
        return (
            "AUPRO is dense: over the whole curve, not between a few thresholds as in many papers."
        )
    return (
        f"AUPRO is coarse: between {n_thresholds} thresholds, as papers do; compare it only with"
        " figures drawn between as many."
    )


def _line(name: str, row: dict[str, float | int | None] | dict[str, float | None]) -> str:
    cells = (row.get(figure) for figure in FIGURES)
    return " ".join([name, *(f"{'-' if c is None else format(c, '.4f'):>13}" for c in cells)])


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"
