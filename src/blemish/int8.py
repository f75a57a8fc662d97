"""A fitted model → the same model with its backbone in eight bits, or a refusal.

Ranges and corrections come from good parts that the model was fitted on; what is kept in floats is
chosen by made-up defects on some more of them. Then both models inspect made-up defects on parts
that neither has seen, if there are such, and the new one is calibrated on those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from blemish.artifact import Artifact
from blemish.calibrate import EXTENT_RATE, Calibration, Calibrator
from blemish.data import open_data
from blemish.description import require_describable
from blemish.engines import open_engine
from blemish.errors import ConfigError, DataError, ExportError, ImageError
from blemish.frame import Frame
from blemish.images import decode_image, read_bytes, read_image
from blemish.metrics.ranking import auroc
from blemish.quantise import Quantiser, searched, whole_graph
from blemish.records import Map, Mask, Pixels
from blemish.rehearse import Rehearsal, pictures, prepare
from blemish.runtime import Inspector
from blemish.surgery import cut, fixed, pieces
from blemish.track import Track, silent

# Good parts that ranges and corrections come from; that the search looks at.
RANGES, TRIALS = 48, 16
FEWEST = 4  # good parts at all
WINDOWS = 2  # of a photograph in tiles
RANK, DROP = 0.99, 0.005  # least agreement of maps; most image AUROC that may be lost
KEPT = 4096  # pixels of a map that are ranked, about
EXACT = "onnxruntime"  # both models run there
_SECTION = "int8"  # of the manifest

Shown = tuple[npt.NDArray[np.float32], Mask | None]  # an image as a graph takes it; (h, w) of it


@dataclass(frozen=True)
class Agreement:
    """What two models say of the same pictures. rank: Spearman's correlation over pixels of all
    maps. exact, quick: image AUROC of made-up defects among the same parts untouched."""

    pictures: int
    rank: float
    exact: float
    quick: float

    def __str__(self) -> str:
        return (
            f"maps' rank correlation {self.rank:.4f}, image AUROC {self.quick:.4f} for"
            f" {self.exact:.4f}, on {self.pictures} pictures of good parts and made-up defects"
        )


def in_eight_bits(
    artifact: Artifact,
    data: Path,
    *,
    layout: str = "auto",
    symmetric: bool = False,
    seed: int = 0,
    track: Track = silent,
    warn: Callable[[str], None] = lambda message: None,
) -> tuple[Artifact, Agreement]:
    """The model with its backbone in eight bits, calibrated anew, and how well it agrees.

    data: its good parts. symmetric: see quantise.Quantiser.

    Raises ExportError if maps agree by less than RANK, or more than DROP of image AUROC is lost;
    ConfigError on a model that cannot be exported, or is in eight bits; DataError on too few
    images.
    """
    require_describable(artifact)
    if _SECTION in artifact.about:
        raise ConfigError(
            "a model must be in floats for --int8, but this one is in eight bits already. Export it"
            " without --int8, or the one that blemish fit wrote."
        )
    seen, unseen = good_parts(artifact, data, layout, warn)
    order = np.random.default_rng(seed).permutation(len(seen)).tolist()
    mixed = [seen[place] for place in order]
    judged = rehearsed(artifact.frame, unseen or seen, seed + 1, track)
    for quick in _quantised(artifact, mixed, symmetric, seed, track):
        agreement = compare(
            _inspector(artifact), _inspector(quick), judged, moved=not unseen, track=track
        )
        if _enough(agreement):
            break
    _require_agreement(agreement)
    told = quick.about[_SECTION] | {
        "agreement": asdict(agreement),
        "calibrated": "anew" if unseen else "carried",
    }
    calibration = _calibrated(artifact, quick, unseen, judged, track)
    return (
        replace(quick, calibration=calibration, about={**quick.about, _SECTION: told}),
        agreement,
    )


def good_parts(
    artifact: Artifact, data: Path, layout: str, warn: Callable[[str], None]
) -> tuple[list[Path], list[Path]]:
    """Readable good parts in the folder, each content once: those that the model was fitted on, and
    others. Raises DataError if there are fewer than FEWEST of the former."""
    known = artifact.about.get("data", {})
    fitted = set(known.get("sha256", ())) - set(known.get("spared", ()))
    found: dict[str, Path] = {}
    for sample in open_data(data, layout).train:
        try:
            content = read_bytes(sample.image)
            decode_image(content, str(sample.image))
        except ImageError as error:
            warn(f"left out: {error}")
            continue
        found.setdefault(hashlib.sha256(content).hexdigest(), sample.image)
    seen = [path for mark, path in found.items() if mark in fitted]
    if len(seen) < FEWEST:
        raise DataError(
            f"'{data}' must hold at least {FEWEST} of the {len(fitted)} good parts that the model"
            f" was fitted on, but holds {len(seen)}. Give --data the folder that blemish fit had."
        )
    return seen, [path for mark, path in found.items() if mark not in fitted]


def _quantised(
    artifact: Artifact, seen: Sequence[Path], symmetric: bool, seed: int, track: Track
) -> Iterator[Artifact]:
    """At least one, fewest convolutions in floats first."""
    rng = np.random.default_rng(seed)
    backbone, head = backbone_and_head(artifact)
    frame = artifact.frame
    images = [one for path in seen[:RANGES] for one, _ in shown(frame, read_image(path), rng)]
    quantiser = Quantiser(backbone, images, symmetric=symmetric)
    rest = seen[RANGES:] if len(seen) >= RANGES + FEWEST else seen
    rehearsal = rehearsed(frame, rest[:TRIALS], seed, track)
    trials = [
        one
        for picture, _ in pictures(rehearsal, 1, moved=True)
        for one in shown(frame, picture, rng)
    ]
    exact = _grids(artifact.graph, trials)

    def agree(form: ModelProto) -> float:
        return spearman(exact, _grids(whole_graph(form, head), trials))

    for found in searched(quantiser, agree, track):
        about = {
            "floats": [name.rpartition("//")[2] for name in found.floats],
            "convolutions": found.of,
            "symmetric": symmetric,
        }
        graph = whole_graph(found.model, head)
        yield replace(artifact, graph=graph, about={**artifact.about, _SECTION: about})


def rehearsed(frame: Frame, paths: Sequence[Path], seed: int, track: Track) -> Rehearsal:
    """Made-up defects on photographs such as the frame takes."""
    return prepare(paths, seed=seed, seen=frame.seen, bands=frame.bands, track=track)


def shown(frame: Frame, pixels: Pixels, rng: np.random.Generator) -> list[Shown]:
    """What the graph is given of a photograph, and which of it is inspected; of one in windows,
    WINDOWS of them at most."""
    seen, tiles = frame.seen(pixels.shape), frame.tiles
    if tiles is None:
        return [(frame.to_model(pixels), None if seen is None else frame.mask_to_model(seen))]
    pixels = frame.blanked(pixels)
    corners = tiles.corners((pixels.shape[0], pixels.shape[1]), seen)
    chosen = [corners[place] for place in rng.permutation(len(corners))[:WINDOWS].tolist()]
    images = [frame.to_model(tiles.cut(pixels, corner)) for corner in chosen]
    if seen is None:
        return [(image, None) for image in images]
    masks = [tiles.cut(seen[..., None], corner)[..., 0] for corner in chosen]
    return list(zip(images, map(frame.mask_to_model, masks), strict=True))


def backbone_and_head(artifact: Artifact) -> tuple[ModelProto, ModelProto]:
    """The two pieces of a model's graph, sizes fixed. Raises ExportError without a backbone."""
    shape = (1, artifact.frame.planes, *artifact.frame.size)
    whole, image, taps, outputs = pieces(artifact.graph)
    if not taps:
        raise ExportError(
            "a graph must have a frozen backbone to be put into eight bits, but this one has none."
            " Export it without --int8."
        )
    backbone = fixed(cut(whole, [image], taps).SerializeToString(), {image: shape})
    entries = {
        entry.name: [side.dim_value for side in entry.type.tensor_type.shape.dim]
        for entry in backbone.graph.output
    }
    both = cut(whole, [image, *taps], outputs)
    given = {entry.name for entry in both.graph.input}
    head = fixed(
        both.SerializeToString(), {n: s for n, s in {image: shape, **entries}.items() if n in given}
    )
    return backbone, head


def compare(
    exact: Inspector, quick: Inspector, rehearsal: Rehearsal, *, moved: bool, track: Track
) -> Agreement:
    """What two models say of all pictures of a rehearsal; moved: see pictures."""
    maps: list[list[Map]] = [[], []]
    scores: list[list[float]] = [[], []]
    labels = []
    total = len(rehearsal.parts) + len(rehearsal.defects)
    for picture, defect in track(pictures(rehearsal, moved=moved), "Comparing", total):
        labels.append(defect)
        for side, model in enumerate((exact, quick)):
            map, score = model.score(picture)
            maps[side].append(thinned(map, model.artifact.frame.seen(map.shape)))
            scores[side].append(score)
    return Agreement(
        pictures=len(labels),
        rank=spearman(*maps),
        exact=auroc(np.array(scores[0]), np.array(labels)),
        quick=auroc(np.array(scores[1]), np.array(labels)),
    )


def thinned(map: Map, seen: Mask | None) -> Map:
    """Every so many of a map's inspected pixels, about KEPT in all."""
    step = max(1, int(((map.size if seen is None else np.count_nonzero(seen)) / KEPT) ** 0.5))
    return map[::step, ::step].ravel() if seen is None else map[seen][:: step**2]


def spearman(first: Sequence[Map], second: Sequence[Map]) -> float:
    """Spearman's rank correlation over all numbers of both; 0 if one side is all the same."""
    ranks = [_ranks(np.concatenate([one.ravel() for one in side])) for side in (first, second)]
    if min(float(side.std()) for side in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2  # of those that are equal
    return np.asarray(middle[place.ravel()], np.float64)


def _grids(graph: bytes, trials: Sequence[Shown]) -> list[Map]:
    """(N,) each: cells of the grid in which something is inspected."""
    engine = open_engine(graph, EXACT)
    grids = [(engine.run({engine.inputs[0].name: image})[0], seen) for image, seen in trials]
    return [
        grid.ravel() if seen is None else grid[_cells(seen, grid.shape)] for grid, seen in grids
    ]


def _cells(seen: Mask, shape: Sequence[int]) -> Mask:
    share = cv2.resize(seen.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0, np.bool_)


def _inspector(artifact: Artifact) -> Inspector:
    return Inspector(artifact, runtime=EXACT)


def _enough(agreement: Agreement) -> bool:
    lost = round(agreement.exact - agreement.quick, 9)
    return agreement.rank >= RANK and lost <= DROP


def _require_agreement(agreement: Agreement) -> None:
    if not _enough(agreement):
        raise ExportError(
            f"in eight bits a model must keep its maps' order (rank correlation of {RANK} at least)"
            f" and lose at most {100 * DROP:g} points of image AUROC, but: {agreement}. Nothing was"
            " written; leave out --int8, or fit with other settings."
        )


def _calibrated(
    artifact: Artifact, quick: Artifact, unseen: Sequence[Path], judged: Rehearsal, track: Track
) -> Calibration:
    """On parts that the model has not seen, if they are enough for the rate asked for; else what
    the exact model's calibration says, carried over by a straight line through scores."""
    old, model = artifact.calibration, _inspector(quick)
    if len(unseen) + 1 >= 1 / old.false_alarms:
        score, seen = quick.frame.score, quick.frame.seen
        new = Calibrator(score, false_alarms=old.false_alarms, how="held out", seen=seen)
        for path in track(unseen, "Calibrating", len(unseen)):
            new.add(model.score(read_image(path))[0])
        return new.result()
    return carried(old, _inspector(artifact), model, judged)


def carried(
    old: Calibration, exact: Inspector, quick: Inspector, rehearsal: Rehearsal
) -> Calibration:
    """A calibration on another model's scale: by the straight line that fits its scores of the
    same pictures best, and so for peaks and pixels."""
    shown = [picture for picture, _ in pictures(rehearsal, 1, moved=True)]
    said = [[_levels(model, picture) for model in (exact, quick)] for picture in shown]
    before, after = np.array(said, np.float64).swapaxes(0, 1)  # (pictures, 3) each
    return replace(
        old,
        scores=tuple(sorted(_on_line(before[:, 0], after[:, 0], old.scores))),
        peaks=tuple(sorted(_on_line(before[:, 1], after[:, 1], old.peaks))),
        extent=_on_line(before[:, 2], after[:, 2], [old.extent])[0],
    )


def _levels(model: Inspector, picture: Pixels) -> tuple[float, float, float]:
    map, score = model.score(picture)
    seen = model.artifact.frame.seen(map.shape)
    values = map if seen is None else map[seen]
    return score, float(values.max()), float(np.quantile(values, 1 - EXTENT_RATE))


def _on_line(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], values: Sequence[float]
) -> list[float]:
    line = np.polyfit(before, after, 1)
    return [float(value) for value in np.polyval(line, np.array(values))]
