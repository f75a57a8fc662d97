"""A folder of good photographs → an Inspector, step by step.

read → frozen features (cached) → split → fit → calibrate on parts the model never saw → one
graph → artefact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from blemish.area import Area
from blemish.artifact import Artifact
from blemish.cache import backgrounds_folder, cache_folder, keep, trim
from blemish.calibrate import Calibration, Calibrator
from blemish.data import open_data
from blemish.engines import DEFAULT, open_engine
from blemish.errors import ConfigError, DataError
from blemish.export import check_join, check_parity, join, settle, to_onnx
from blemish.frame import Frame
from blemish.groups import GROUPS, SIZE
from blemish.heads import ALL, Choice, feed, inputs, native_maps
from blemish.images import write_whole
from blemish.levels import frame_of, photographs
from blemish.methods import METHODS
from blemish.methods.base import Config, Method
from blemish.nets.features import Features, chosen_runtime, extract, extract_shots
from blemish.nets.points import Shapes, read_point_mae
from blemish.nets.pretrained import BACKBONES
from blemish.nets.weights import file_hash, find_weights
from blemish.nets.windows import extract_windows
from blemish.parts import GoodParts, Split, remarks, split, usable
from blemish.provenance import describe, require_cleared, summary, weights_files
from blemish.records import Sample
from blemish.regions import require_scale
from blemish.rehearse import Rehearsal, prepare
from blemish.runtime import Inspector, Scorer
from blemish.sensors import Sensor
from blemish.settings import configure
from blemish.shots import Sight, read_shot
from blemish.track import Track, silent

_GRAPHS = 2  # raise it whenever the same weights give another graph


def fit_folder(
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
    sensor: Sensor | None = None,
    others: Mapping[str, str] | None = None,
    area: Area | None = None,
    mm_per_pixel: float | None = None,
    runtime: str = DEFAULT,
    track: Track = silent,
    warn: Callable[[str], None] = lambda message: None,
) -> Inspector:
    """See blemish.fit. area: what is inspected. track: progress. warn: hears what is left out."""
    _require_told(false_alarms, mm_per_pixel)
    kind, config = choose(method, preset, settings or {})
    if commercial:
        require_cleared(config)
    dataset = open_data(data, layout, sensor=sensor, others=others)
    _tell(warn, dataset.notes)
    sight = sight_of(config, dataset.train, rehearse)
    plain = kind.name if sight is not None or "image" in kind(config).takes else None
    frame = frame_of(config, photographs(dataset.train, sight), area, plain)
    graphs = map(backbone_graph, [config], [sight], [frame.planes // 3])
    (backbone,) = track(graphs, "Preparing the backbone", 1)
    runtime = chosen_runtime(backbone, frame, sight, runtime)
    good = look(dataset.train, backbone, frame, sight, runtime=runtime, track=track, warn=warn)
    parts = split(len(good.paths), false_alarms, seed, kind.trained)
    rehearsal = _rehearsal(good, parts, seed, track) if rehearse else None
    hear = _hearing(rehearsal, backbone)
    head, calibrations, fitted = learn(
        kind, config, good, parts, false_alarms=false_alarms, seed=seed, track=track, hear=hear
    )
    graph = _whole(backbone, head, good)
    trim(cache_folder())
    about = describe(config, method, preset, seed, commercial, sight, runtime)
    about["data"] = summary(data, len(dataset.train), good, fitted)
    if rehearsal is not None:
        about["rehearsal"] = rehearsal.result(calibrations[ALL])
    whole, *fewer = calibrations
    return Inspector(
        Artifact(
            graph=graph,
            frame=frame,
            calibration=calibrations[whole],
            about=about,
            sight=sight,
            parted={"+".join(choice): calibrations[choice] for choice in fewer},
            sensor=sensor if sight else None,
            others=dict(others or {}) if sight else {},
            mm_per_pixel=mm_per_pixel,
        ),
        runtime=runtime,
    )


def _tell(warn: Callable[[str], None], sentences: Iterable[str]) -> None:
    for sentence in sentences:
        warn(sentence)


def _require_told(false_alarms: float, mm_per_pixel: float | None) -> None:
    if not 0 < false_alarms < 1:
        raise ConfigError(f"false_alarms must be between 0 and 1, but is {false_alarms}.")
    require_scale(mm_per_pixel)


def _rehearsal(good: GoodParts, parts: Split, seed: int, track: Track) -> Rehearsal:
    spared = [good.paths[i] for fold in parts.folds for i in fold]
    return prepare(spared, seed=seed, seen=good.frame.seen, bands=good.frame.bands, track=track)


def _hearing(rehearsal: Rehearsal | None, backbone: bytes) -> Callable[[bytes, GoodParts], None]:
    def hear(head: bytes, unseen: GoodParts) -> None:
        if rehearsal is not None:
            runtime = unseen.features.origin.runtime
            scorer = Scorer(join(backbone, head), unseen.frame, runtime=runtime)
            rehearsal.hear(scorer.score, unseen.paths)

    return hear


def sight_of(config: Config, samples: Sequence[Sample], rehearse: bool) -> Sight | None:
    """Config.sight, None of no samples. Raises ConfigError if several modalities are to be
    rehearsed, padded or cut into windows."""
    sight = config.sight(samples) if samples else None
    if sight is not None and (config.pad or config.tile):
        raise ConfigError(
            "pad and tile must be left out where photographs come with"
            f" {', '.join(sight.modalities[1:])}, which are neither padded nor cut into windows."
            " Fit without them."
        )
    if rehearse and sight is not None:
        raise ConfigError(
            "a rehearsal must be of photographs alone, but these parts come with"
            f" {', '.join(sight.modalities)}. Fit without --rehearse."
        )
    return sight


def look(
    samples: Sequence[Sample],
    backbone: bytes,
    frame: Frame,
    sight: Sight | None,
    *,
    runtime: str = DEFAULT,
    track: Track,
    warn: Callable[[str], None],
) -> GoodParts:
    """Features of what is usable of good samples; see parts.usable."""
    store, paths = cache_folder() / "features", [sample.image for sample in samples]
    if sight is None and frame.tiles is not None:
        features, facts = extract_windows(
            backbone, frame, frame.tiles, paths, store, track, runtime=runtime
        )
    elif sight is None:
        features, facts = extract(backbone, frame, paths, store, track, runtime=runtime)
    else:
        needed = [sight.needed(sample) for sample in samples]
        features, facts = extract_shots(
            backbone, frame, sight, needed, store, track, runtime=runtime
        )
    good = usable(paths, features, facts, frame, warn)
    _tell(warn, remarks(good))
    return good


def _whole(backbone: bytes, head: bytes, good: GoodParts) -> bytes:
    """Backbone and head as the one graph that is deployed. Raises ExportError unless it gives what
    they give in turn."""
    origin = good.features.origin
    if origin.sight is None:
        shown = {"image": good.frame.to_model(origin.read(0))}
    else:
        shot, _ = read_shot(origin.samples[0], backgrounds_folder())
        shown = origin.sight.feed(good.frame, shot)
    graph = settle(join(backbone, head), {name: one.shape for name, one in shown.items()})
    check_join(graph, head, shown, feed(open_engine(head), good.features, 0))
    return graph


def writable(path: Path) -> None:
    """Raises DataError now rather than after minutes of fitting if a file cannot be written."""
    if path.is_dir():
        raise DataError(
            f"'{path}' must be a file name for the model, but is a folder."
            f" Name a file in it: {path / 'part.blemish'}"
        )
    probe = path.with_name(f".{path.name}.probe")
    write_whole(probe, b"")
    probe.unlink()


def choose(method: str, preset: str, settings: dict[str, Any]) -> tuple[type[Method], Config]:
    """Method and config by name. Raises ConfigError on an unknown one."""
    if method not in METHODS:
        raise ConfigError(f"method must be one of {sorted(METHODS)}, but is '{method}'.")
    presets = METHODS[method].presets
    if preset not in presets:
        raise ConfigError(f"preset of {method} must be one of {sorted(presets)}, got '{preset}'.")
    return METHODS[method], configure(presets[preset], settings)


def backbone_graph(config: Config, sight: Sight | None = None, pictures: int = 1) -> bytes:
    """The frozen backbone as ONNX, exported on first use and kept in the cache; none of no taps.

    sight: if it shows a scan in groups, Point-MAE is part of it. pictures: of three planes that an
    image has.
    """
    if not config.taps:
        weights_files(config)  # what is not there is said now, not after looking at the photographs
        return b""
    if config.backbone not in BACKBONES:
        raise ConfigError(
            f"backbone must be one of {sorted(BACKBONES)}, but is '{config.backbone}'."
            " Choose one of them."
        )
    weights = find_weights(config.backbone, config.weights)
    side = config.size if config.backbone.startswith("vit_") else "any"
    key = f"{_GRAPHS} {file_hash(weights)} {config.backbone} {config.taps} {side}"
    points = None
    if sight is not None and sight.points == "groups":
        points = find_weights("point_mae", config.pretrained()["point_mae"], "point_mae")
        key += f" {file_hash(points)} {sight.grid} {GROUPS} {SIZE}"
    key += f" {pictures} pictures" * (pictures > 1)
    kept = cache_folder() / "graphs" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.onnx"
    if kept.is_file():
        kept.touch()
        return kept.read_bytes()
    from blemish.nets.frozen import frozen_graph  # timm takes seconds to import

    shapes = Shapes(read_point_mae(points), sight.grid) if sight and points else None
    size = (config.size, config.size)
    graph = frozen_graph(config.backbone, config.taps, size, weights, shapes, pictures)
    keep(kept, graph)
    return graph


def learn(
    kind: type[Method],
    config: Config,
    good: GoodParts,
    parts: Split,
    *,
    false_alarms: float,
    seed: int,
    track: Track,
    hear: Callable[[bytes, GoodParts], None],
) -> tuple[bytes, dict[Choice, Calibration], GoodParts]:
    """Head graph, its calibration for each choice of modalities, all of them first, and the parts
    the head was fitted on: all, or all but those held out.

    hear: is given the head of each fold's model, and the parts which that model has not seen.
    """
    sight = good.features.origin.sight
    score, seen = good.frame.score, good.frame.seen
    kept = {
        choice: Calibrator(score, false_alarms=false_alarms, how=parts.how, seen=seen)
        for choice in (sight.choices() if sight else (ALL,))
    }

    def rest(fold: list[int]) -> GoodParts:
        return good.part(sorted(set(range(len(good.paths))) - set(fold)))

    def fit(parts: GoodParts) -> bytes:
        return head_graph(kind, config, parts.features, seed=seed, track=track)

    def listen(head: bytes, fold: list[int]) -> None:
        spared = good.part(fold)
        hear(head, spared)
        for choice, calibrator in kept.items():
            for map in native_maps(head, spared, choice):
                calibrator.add(map)

    if parts.how == "held out":
        (fold,) = parts.folds
        fitted = rest(fold)
        head = fit(fitted)
        listen(head, fold)
    else:
        fitted, head = good, fit(good)
        # one fold at a time, so that there are never more than two heads in memory
        for fold in parts.folds:
            listen(fit(rest(fold)), fold)
    return head, {choice: one.result() for choice, one in kept.items()}, fitted


def head_graph(
    kind: type[Method], config: Config, features: Features, *, seed: int, track: Track
) -> bytes:
    """Fits the method and exports its head. Raises ExportError unless the runtime agrees."""
    method = kind(config).fit(features, seed=seed, track=track)
    head = method.head().eval()
    first = {
        name: torch.from_numpy(grid) for name, grid in inputs(method.takes, features, 0).items()
    }
    graph = to_onnx(head, tuple(first.values()), method.takes, ["map"], {})
    check_parity(head, graph, first)
    return graph
