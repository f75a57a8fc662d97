"""The cellar: part.blemish, the only place where a fitted model is kept.

A zip of two stored members, graph.onnx and manifest.json. The manifest carries everything but
the numbers of the graph, and the graph's size and sha256. Nothing in it is executable, and
nothing is used before names, sizes and hashes are checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blemish.area import area_from_json
from blemish.bands import bands_from_json
from blemish.calibrate import Calibration
from blemish.data.partners import others_from_json, sample_of
from blemish.errors import ArtifactError, ConfigError, ImageError
from blemish.frame import Frame
from blemish.images import write_whole
from blemish.records import Sample
from blemish.sensors import Sensor
from blemish.shots import MOST, PHOTOGRAPH, Shot, Sight, read_shot
from blemish.tiles import LARGEST, SMALLEST, Tiles

FORMAT = 1
GRAPH, MANIFEST = "graph.onnx", "manifest.json"
LIMITS = {GRAPH: 2 * 2**30, MANIFEST: 16 * 2**20}  # bytes; ONNX itself ends at 2 GiB
LARGEST_GRID = 512  # cells along a side, of a scan's description
LARGEST_SIDE = 2**13  # pixels of a model's input
EPOCH = (1980, 1, 1, 0, 0, 0)  # equal models give equal files


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A fitted model: a graph, how to feed it, how to read its scores, where it came from.

    graph: bytes of the ONNX model: (1, 3, h, w) float32 in [0, 1] → (h', w') float32; of several
        modalities, what Sight.feed gives.
    sight: what it is shown of several modalities; None takes a photograph. parted: the calibration
        of each choice of them but all, by their names with + between. sensor, others: where what
        belongs to a photograph lies, if a person told; see data/partners.py.
    mm_per_pixel: side of a pixel of the photographs, above 0; None if nobody told.
    about: plain JSON on method, preset, config, seed, backbone and all pretrained weights (with
        licences), whether commercial use was asked for, data and versions; on the rehearsal if
        there was one.
    """

    graph: bytes
    frame: Frame
    calibration: Calibration
    about: dict[str, Any]
    sight: Sight | None = None
    parted: dict[str, Calibration] = field(default_factory=dict)
    sensor: Sensor | None = None
    others: dict[str, str] = field(default_factory=dict)
    mm_per_pixel: float | None = None

    def calibration_of(self, shot: Shot) -> tuple[Calibration, tuple[str, ...]]:
        """The calibration of good parts that came with what this shot has, and what is missing."""
        if self.sight is None:
            return self.calibration, ()
        there = self.sight.there(shot)
        missing = tuple(name for name in self.sight.modalities if name not in there)
        return self.calibration_without(missing), missing

    def calibration_without(self, missing: Sequence[str]) -> Calibration:
        """The calibration of good parts that came without some modalities. Raises ConfigError on
        names that the model does not know, or if none is left."""
        if not missing:
            return self.calibration
        if self.sight is None:
            raise ConfigError(
                "--without must be given for a model of several modalities, but this one learnt"
                " from photographs alone. Leave it out."
            )
        return self.parted["+".join(self.sight.less(missing))]

    def sample_of(self, image: Path) -> Sample:
        """A photograph with what belongs to it and the model can use. Raises ImageError."""
        if self.sight is None:
            return Sample(image=image, split="test", defect_type="good")
        return self.sight.needed(sample_of(image, self.sensor, self.others))

    def shot_of(self, image: Path) -> Shot:
        """What sample_of finds, read. Raises ImageError."""
        return self.read(image)[0]

    def read(self, image: Path) -> tuple[Shot, tuple[bytes, ...]]:
        """shot_of, and the bytes of the files, the photograph's first. Raises ImageError."""
        try:
            return read_shot(self.sample_of(image))
        except ConfigError as error:  # depth beside it, of a camera that nobody told
            raise ImageError(str(error)) from error

    def save(self, path: str | Path) -> Path:
        """Writes the file whole or not at all; an older file stays until the new one is there.

        Raises DataError if it cannot be written.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in ((MANIFEST, self._manifest()), (GRAPH, self.graph)):
                archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
        write_whole(Path(path), buffer.getvalue(), durable=True)
        return Path(path)

    def _manifest(self) -> bytes:
        member = {"bytes": len(self.graph), "sha256": hashlib.sha256(self.graph).hexdigest()}
        manifest = {
            "format": FORMAT,
            **self.about,
            "frame": {name: one for name, one in asdict(self.frame).items() if one is not None},
            "calibration": asdict(self.calibration),
            **self.several(),
            **({} if self.mm_per_pixel is None else {"mm_per_pixel": self.mm_per_pixel}),
            "members": {GRAPH: member},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
        return text.encode(errors="surrogatepass")  # a folder's name may hold bytes of no text

    def several(self) -> dict[str, Any]:
        """What the manifest of a model of several modalities says besides: sight, parted, sensor,
        others; of one modality nothing."""
        if self.sight is None:
            return {}
        return {
            "sight": asdict(self.sight),
            "parted": {choice: asdict(one) for choice, one in self.parted.items()},
            "sensor": None if self.sensor is None else self.sensor.as_json(),
            "others": self.others,
        }


def open_artifact(path: str | Path) -> Artifact:
    """Reads and checks a part.blemish file.

    Raises ArtifactError if it is missing, damaged, of another format version, or holds anything
    but the two members at their declared sizes and hashes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive, path)
            graph = _read_graph(archive, manifest, path)
    except ArtifactError:
        raise
    except Exception as error:  # zipfile raises whatever it stumbles over in a damaged file
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ArtifactError(
            f"'{path}' must be a file written by blemish fit, but it cannot be opened: {reason}."
            " Check the name, or fit again."
        ) from error
    try:
        return Artifact(
            graph=graph,
            frame=_frame(manifest.pop("frame")),
            calibration=_calibration(manifest.pop("calibration")),
            **_several(manifest),
            mm_per_pixel=_scale(manifest.pop("mm_per_pixel", None)),
            about=_about(manifest),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(path, f"its manifest lacks or misstates {error}") from error
    except ArtifactError as error:  # of a sensor or of patterns, which do not know the file
        raise ArtifactError(f"'{path}': {error}") from error


def _read_manifest(archive: zipfile.ZipFile, path: str | Path) -> dict[str, Any]:
    names = sorted(archive.namelist())
    if names != sorted(LIMITS):
        raise _damaged(path, f"it must hold {sorted(LIMITS)} and nothing else, but holds {names}")
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > LIMITS[member.filename]:
            raise _damaged(
                path,
                f"'{member.filename}' must be stored as it is in at most"
                f" {LIMITS[member.filename]:,} bytes, but declares {member.file_size:,}",
            )
    try:
        manifest = json.loads(archive.read(MANIFEST), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise _damaged(path, f"its {MANIFEST} must be a JSON object")
    if manifest.get("format") != FORMAT:
        raise ArtifactError(
            f"'{path}' must have format {FORMAT}, the one this blemish reads, but has"
            f" {manifest.get('format')!r}. Install the blemish that wrote it, or fit again."
        )
    return manifest


def _read_graph(archive: zipfile.ZipFile, manifest: dict[str, Any], path: str | Path) -> bytes:
    graph = archive.read(GRAPH)
    declared = manifest.get("members")
    actual = {GRAPH: {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}}
    if declared != actual:
        raise _damaged(path, f"{GRAPH} must be {declared}, but is {actual}")
    return graph


def _damaged(path: str | Path, why: str) -> ArtifactError:
    return ArtifactError(f"'{path}' is damaged or not from blemish: {why}. Copy it or fit again.")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _frame(stored: dict[str, Any]) -> Frame:
    boxes = tuple((int(width), int(passes)) for width, passes in stored.pop("boxes"))
    height, width = (int(side) for side in stored.pop("size"))
    area = area_from_json(stored.pop("area", None))
    bands = bands_from_json(stored.pop("bands", None))
    tiles = _tiles(stored.pop("tiles", None))
    frame = Frame(size=(height, width), boxes=boxes, area=area, bands=bands, tiles=tiles, **stored)
    _require(0 < min(frame.size) <= max(frame.size) <= LARGEST_SIDE, "the frame's size")
    _require(frame.fit in ("stretch", "pad"), "the frame's fit")
    ways = ("area", "bicubic", "bilinear")
    _require(frame.interpolation in ways, "the frame's interpolation")
    odd = all(0 < width < 1000 and width % 2 and 0 <= passes < 100 for width, passes in boxes)
    _require(odd and len(boxes) < 100, "the frame's boxes")
    _require(0 <= frame.top <= 1, "the frame's top")
    _require(frame.white > 0, "the frame's white")
    return frame


def _tiles(stored: dict[str, Any] | None) -> Tiles | None:
    if stored is None:
        return None
    tiles = Tiles(**stored)
    whole = type(tiles.side) is int and type(tiles.overlap) is int
    _require(whole and SMALLEST <= tiles.side <= LARGEST, "the side of its tiles")
    _require(0 <= tiles.overlap <= tiles.side // 2, "the overlap of its tiles")
    return tiles


def _calibration(stored: dict[str, Any]) -> Calibration:
    scores = tuple(float(score) for score in stored.pop("scores"))
    peaks = tuple(float(peak) for peak in stored.pop("peaks"))
    calibration = Calibration(scores=scores, peaks=peaks, **stored)
    _require(len(scores) == len(peaks) > 0, "the calibration's scores")
    _require(all(map(math.isfinite, (*scores, *peaks, calibration.extent))), "finite scores")
    _require([*scores] == sorted(scores) and [*peaks] == sorted(peaks), "ascending scores")
    _require(0 < calibration.false_alarms < 1, "the calibration's false_alarms")
    _require(calibration.how in ("held out", "cross-fitted"), "how it was calibrated")
    return calibration


def _scale(stored: Any) -> float | None:
    if stored is None:
        return None
    _require(type(stored) in (int, float) and 0 < stored < math.inf, "the millimetres per pixel")
    return float(stored)


def _several(manifest: dict[str, Any]) -> dict[str, Any]:
    """What belongs to several modalities, taken out of the manifest; nothing of one."""
    stored = {name: manifest.pop(name, None) for name in ("sight", "parted", "sensor", "others")}
    if stored["sight"] is None:
        return {}
    sight = _sight(stored["sight"])
    parted = {choice: _calibration(one) for choice, one in dict(stored["parted"]).items()}
    _require(set(parted) == {"+".join(one) for one in sight.choices()[1:]}, "its calibrations")
    others = others_from_json(stored["others"])
    _require(set(sight.pictures) <= {PHOTOGRAPH, *others}, "where its pictures lie")
    return {
        "sight": sight,
        "parted": parted,
        "sensor": None if stored["sensor"] is None else Sensor.from_json(stored["sensor"]),
        "others": others,
    }


def _sight(stored: dict[str, Any]) -> Sight:
    pictures = tuple(str(name) for name in stored.pop("pictures"))
    sight = Sight(pictures=pictures, **stored)
    _require(pictures[:1] == (PHOTOGRAPH,) and len(set(pictures)) == len(pictures), "the pictures")
    _require(sight.points in ("none", "fpfh", "groups"), "the points")
    _require(1 < len(sight.modalities) <= MOST, "the modalities")
    _require(type(sight.grid) is int and 0 < sight.grid <= LARGEST_GRID, "the grid")
    _require(type(sight.stretch) is float and 0 < sight.stretch < math.inf, "the stretch")
    return sight


def _about(manifest: dict[str, Any]) -> dict[str, Any]:
    about = {key: value for key, value in manifest.items() if key not in ("format", "members")}
    for key in ("config", "backbone", "data", "versions", "rehearsal", "int8"):
        _require(isinstance(about.get(key, {}), dict), key)
    weights = about.get("weights", [])
    _require(isinstance(weights, list) and all(isinstance(one, dict) for one in weights), "weights")
    for key in ("sha256", "spared"):
        seen = about.get("data", {}).get(key, [])
        _require(
            isinstance(seen, list) and all(isinstance(one, str) for one in seen), f"data's {key}"
        )
    return about
