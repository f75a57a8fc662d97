"""Proves that every installed runtime says the same of an image, as a whole and pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blemish.agreement import pictures
from blemish.artifact import Artifact
from blemish.engines import DEVICES, difference, tolerance
from blemish.errors import ConfigError
from blemish.records import Map
from blemish.runtime import Inspector
from blemish.shots import PHOTOGRAPH, Shot
from blemish.track import Track, silent

REFERENCE = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one runtime says, compared with ONNX Runtime on the CPU.

    images: how many. pixel: largest difference of a map's pixels, as a share of the map's largest
    value. score: largest difference of image scores, as a share of the score. verdicts: how many
    differ. allowed: what both shares must be at most.
    """

    runtime: str
    version: str
    images: int
    pixel: float
    score: float
    verdicts: int
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether it is within what is allowed. Verdicts are not asked: scores on both sides of a
        threshold can be as near as any."""
        return self.pixel <= self.allowed and self.score <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"agrees": self.agrees}


def verify(artifact: Artifact, images: Sequence[Path] = (), track: Track = silent) -> list[Row]:
    """A row for each runtime that is here, the reference first.

    images: what to inspect; without any, made-up ones such as the model takes. Raises ImageError if
    one cannot be read, ConfigError on a model of several modalities without images, ArtifactError
    if a runtime does not run the model.
    """
    shots = _shown(artifact, images)
    exact: list[tuple[Map, float]] = []
    rows = []
    for inspector in track(_here(artifact), "Comparing runtimes", len(DEVICES)):
        said = [inspector.score(shot) for shot in shots]
        exact = exact or said
        rows.append(_row(artifact, inspector, exact, said))
    return rows


def _shown(artifact: Artifact, images: Sequence[Path]) -> list[Shot]:
    if images:
        return [artifact.shot_of(path) for path in images]
    if artifact.sight is not None:
        raise ConfigError(
            "images must be given to verify a model of several modalities, for scans are not made"
            " up here. Name photographs that have what belongs to them beside them."
        )
    return [Shot(pictures={PHOTOGRAPH: picture}) for picture in pictures(artifact.frame)]


def _here(artifact: Artifact) -> Iterator[Inspector]:
    """One for each runtime that is here, the reference first."""
    for name in (REFERENCE, *(one for one in DEVICES if one != REFERENCE)):
        try:
            inspector = Inspector(artifact, runtime=name)
        except ConfigError:
            if name == REFERENCE:
                raise
            continue  # it is not installed, or has no such device here
        yield inspector


def _row(
    artifact: Artifact,
    inspector: Inspector,
    exact: Sequence[tuple[Map, float]],
    said: Sequence[tuple[Map, float]],
) -> Row:
    pairs, limit = list(zip(exact, said, strict=True)), artifact.calibration.threshold
    scores = [(np.array([a]), np.array([b])) for (_, a), (_, b) in pairs]
    return Row(
        runtime=inspector.runtime.name,
        version=inspector.runtime.version,
        images=len(pairs),
        pixel=max(difference(a, b) for (a, _), (b, _) in pairs),
        score=max(difference(a, b) for a, b in scores),
        verdicts=sum((a > limit) != (b > limit) for (_, a), (_, b) in pairs),
        allowed=tolerance(artifact.graph),
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as lines of fixed width, and a sentence on what was compared."""
    head = f"{'runtime':<24}{'version':<12}{'pixels':>9}{'scores':>9}{'verdicts':>10}"
    lines = [
        f"{row.runtime:<24}{row.version:<12}{row.pixel:>9.1e}{row.score:>9.1e}{row.verdicts:>10}"
        f"  {'agrees' if row.agrees else 'DIFFERS'}"
        for row in rows
    ]
    return "\n".join(
        [
            head,
            *lines,
            f"Largest differences from {rows[0].runtime} on {rows[0].images} images, as shares of"
            f" the largest value; {rows[0].allowed:g} is allowed. verdicts: how many differ.",
        ]
    )
