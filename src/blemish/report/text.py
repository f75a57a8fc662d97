"""What the command line prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blemish.artifact import Artifact
from blemish.errors import ArtifactError
from blemish.metrics.evaluation import FIGURES, Evaluation


@contextmanager
def stated(what: str) -> Iterator[None]:
    """Raises ArtifactError where a manifest does not say what `blemish fit` writes into it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"a model must say {what} as blemish fit writes it, but its manifest lacks or misstates"
            f" {error}. Copy the file again, or fit again."
        ) from error


@stated("where it came from")
def about(artifact: Artifact) -> dict[str, str]:
    """Name → sentence on where a model came from and what its threshold promises.

    Raises ArtifactError if the manifest does not tell.
    """
    stored, calibration = artifact.about, artifact.calibration
    backbone, data = stored["backbone"], stored["data"]
    small, large = (" x ".join(map(str, data[key])) for key in ("smallest", "largest"))
    return {
        "method": f"{stored['method']}, preset {stored['preset']}, seed {stored['seed']}",
        "settings": ", ".join(f"{name}={value}" for name, value in stored["config"].items()),
        "model frame": f"{artifact.frame.size[0]} x {artifact.frame.size[1]} px",
        "backbone": f"{backbone['name']}, weights {backbone['licence']}, from {backbone['source']}",
        "licences": licences(stored),
        "data": f"{data['used']} good images of '{data['folder']}', {small} to {large} px",
        **_modalities(artifact),
        **_inspected(artifact),
        "calibration": f"{len(calibration.scores)} good parts, {calibration.how}",
        "threshold": f"{calibration.threshold:.4g}",
        "promise": calibration.note(),
        "graph": f"{len(artifact.graph) / 1e6:.1f} MB",
        **_eight_bits(stored),
        **({"fitted with": f"{stored['runtime']}"} if "runtime" in stored else {}),
        "written with": ", ".join(f"{name} {of}" for name, of in stored["versions"].items()),
    }


def _inspected(artifact: Artifact) -> dict[str, str]:
    """What of the photographs is looked at, and how large it is, where a person told."""
    area, scale = artifact.frame.area, artifact.mm_per_pixel
    return {
        **({} if area is None else {"inspected": area.told()}),
        **({} if scale is None else {"scale": f"{scale:g} mm per pixel"}),
    }


def _modalities(artifact: Artifact) -> dict[str, str]:
    """Of a model of several: which, where they lie, and the threshold without some of them."""
    if artifact.sight is None:
        return {}
    sensor, apart = artifact.sensor, artifact.parted.items()
    lie = [f"{sensor.kind} at {sensor.pattern}"] if sensor else []
    lie += [f"{name} at {pattern}" for name, pattern in artifact.others.items()]
    alone = "; ".join(f"{choice} {one.threshold:.4g}" for choice, one in apart)
    where = ", ".join(lie) or "beside the photograph, as data sets have it"
    return {
        "modalities": f"{', '.join(artifact.sight.modalities)}; {where}",
        "with less": f"thresholds {alone}",
    }


def _eight_bits(stored: dict[str, Any]) -> dict[str, str]:
    """Of a model whose backbone was put into eight bits: how well it agrees with what it was."""
    if "int8" not in stored:
        return {}
    told = stored["int8"]
    agreement = told["agreement"]
    return {
        "eight bits": f"all but {len(told['floats'])} of {told['convolutions']} convolutions of the"
        f" backbone; maps' rank correlation {agreement['rank']:.4f}, image AUROC"
        f" {agreement['quick']:.4f} for {agreement['exact']:.4f}"
    }


def licences(stored: dict[str, Any]) -> str:
    """What a manifest says of the licences of all pretrained weights that went into a model."""
    told = [
        f"{one['name']}: {one['licence']}, {'' if one.get('commercial') else 'not '}cleared for"
        f" commercial use, learnt from {one.get('data', 'unknown')}"
        for one in stored.get("weights", [])
    ]
    asked = "fitted with --commercial" if stored.get("commercial") else ""
    return "; ".join([*told, *filter(None, [asked])]) or f"weights {stored['backbone']['licence']}"


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


@stated("how its rehearsal went")
def rehearsal_table(told: dict[str, Any]) -> str:
    """What Rehearsal.result gives, as lines of fixed width with the sentences that go with them.

    Raises ArtifactError if that is not what was given.
    """
    judges = {
        "held out": "by this model, which was not fitted on these parts",
        "cross-fitted": "each by a model fitted without its part",
    }
    good = told["good"]
    lines = [
        f"Rehearsal: made-up defects on {good['parts']} good parts, inspected"
        f" {judges[told['how']]}. Real ones may be easier or harder to find.",
        f"{'':<16}{'found':>9}{'95 %':>15}{'image AUROC':>13}{'AUPRO@30':>10}{'area, px':>18}",
    ]
    names = ("smallest quarter", "second", "third", "largest quarter")
    rows = [*told["kinds"].items(), *zip(names, told["sizes"], strict=False)]
    rows += [("all", told["all"])] * (told["all"] is not None)
    for name, row in rows:
        area = " to ".join(f"{area}" for area in row["area_px"])
        lines.append(
            f"{name:<16}{row['found']:>3} of {row['made']:>3}{_between(row['interval']):>14}"
            f"{row['image_auroc']:>13.3f}{row['aupro_30']:>10.3f}{area:>18}"
        )
    for kind, missing in told["not_made"].items():
        lines.append(f"{kind}: {missing['count']} could not be made: {missing['reason']}")
    lines.append(
        f"Of the same parts untouched, {good['called']} of {good['parts']} were called defective"
        f" ({_between(good['interval'])})."
    )
    if told["image_auroc_interval"]:
        low, high = told["image_auroc_interval"]
        lines.append(f"Image AUROC of all: {low:.3f} to {high:.3f} (95 % bootstrap).")
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


def _between(interval: list[float]) -> str:
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"
