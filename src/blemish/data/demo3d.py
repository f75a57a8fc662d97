"""A data set of photographs and points made on the spot, in MVTec 3D-AD's layout.

Three categories with five kinds of defect each. Some show in one modality alone: "swelling" is too
soft for its light to change under a tent of diffusers, so only the points have it; "stain" lies in
the colour and not in the shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from blemish.data.demo3d_part import (
    GRAIN,
    NOISE,
    PARTS,
    PIXEL,
    SIZE,
    Field,
    Part,
    View,
    draw_part,
    draw_view,
    expose,
    noise,
    photograph,
    sense,
)
from blemish.data.made import make_set
from blemish.records import Mask
from blemish.track import Track, silent

_VERSION = 2  # raise it whenever a picture changes
_FELT = 0.0003  # metres that count as another shape: six times the sensor's noise
_SEEN = 8.0  # of 255: what counts as another colour, five times the camera's noise
_SMALLEST = 25  # px that a defect must change
_ROSE = 5.0  # what an eye tells from noise: contrast over noise, of all that a defect covers
_STRONGER = 1.1  # each draw than the last, if that did not stand out
_README = """\
Made-up parts, seen by nobody: every photograph and every point was computed by blemish. Layout of
MVTec 3D-AD; points in metres, (0, 0, 0) where nothing was measured. Masks mark every pixel that a
defect changed in colour or in height. Use it as you like.
"""

Modality = Literal["both", "points", "photograph"]
Changed = tuple[Field, Field, Field]  # height of the part, height that light sees, colour


def make_demo3d(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    train_good: int = 40,
    test_good: int = 10,
    per_defect: int = 5,
    categories: Sequence[str] = tuple(PARTS),
    track: Track = silent,
) -> Path:
    """Writes categories of PARTS, one folder each in MVTec 3D-AD's layout; returns `folder`.

    Photographs are 224 x 224 PNG in RGB, points TIFF of three 32-bit floats. One seed gives the
    same pictures with the same NumPy and OpenCV. See make_set for the rest, and for what it raises.
    """
    made = {"points": 1, "version": _VERSION, "seed": seed, "train_good": train_good}
    made |= {"test_good": test_good, "per_defect": per_defect}
    made |= {f"without {name}": 1 for name in PARTS if name not in categories}
    names = [
        f"{place}/{kind}/{number:03}.{'tiff' if kind == 'xyz' else 'png'}"
        for *_, number, place in _plan(made)
        for kind in (("rgb", "xyz") if place.endswith("train/good") else ("rgb", "xyz", "gt"))
    ]

    def write(fresh: Path) -> None:
        plan = list(_plan(made))
        for category, kind, number, place in track(plan, "Making the demo", len(plan)):
            rng = np.random.default_rng([seed, *f"{place}/{number}".encode()])
            _write_sample(fresh / place, category, kind, f"{number:03}", rng)
        (fresh / "readme.txt").write_text(_README, encoding="utf-8")

    return make_set(folder, made, names, write)


def _plan(made: dict[str, int]) -> Iterator[tuple[str, str, int, str]]:
    """Category, kind, number and folder of every sample."""
    for category in (name for name in PARTS if f"without {name}" not in made):
        for split, kind, count in (
            ("train", "good", made["train_good"]),
            ("test", "good", made["test_good"]),
            *(("test", kind, made["per_defect"]) for kind in DEFECTS),
        ):
            for number in range(max(0, count)):
                yield category, kind, number, f"{category}/{split}/{kind}"


def _write_sample(
    folder: Path, category: str, kind: str, stem: str, rng: np.random.Generator
) -> None:
    part, view = draw_part(category, rng), draw_view(rng)
    (height, lit, colour), mask = (
        ((part.height, part.height, part.colour), np.zeros(SIZE, np.bool_))
        if kind == "good"
        else draw_defect(kind, part, view, rng)
    )
    pixels = expose(photograph(lit, colour, view), rng)
    points = sense(height, view, rng).points
    (folder / "rgb" / f"{stem}.png").write_bytes(_encoded(".png", pixels[..., ::-1]))
    # OpenCV stores x, y, z in this order when it takes them for blue, green, red backwards.
    (folder / "xyz" / f"{stem}.tiff").write_bytes(_encoded(".tiff", points[..., ::-1]))
    if (folder / "gt").is_dir():
        truth = mask.astype(np.uint8) * 255
        (folder / "gt" / f"{stem}.png").write_bytes(_encoded(".png", truth))


def _encoded(suffix: str, pixels: npt.NDArray[np.generic]) -> bytes:
    # cv2.imwrite would fail, silently, on names that the system's code page does not have.
    _, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels))
    return encoded.tobytes()


def draw_defect(
    kind: str, part: Part, view: View, rng: np.random.Generator
) -> tuple[Changed, Mask]:
    """The part with one defect, and (H, W) where it changed height or photograph.

    kind: a key of DEFECTS. Draws again, and stronger, until enough of the defect can be measured
    and it stands out from the part's own texture (outstanding) in height or in the photograph.
    """
    modality, draw = DEFECTS[kind]
    clean = photograph(part.height, part.colour, view)
    texture = part.height - part.even[0], clean - photograph(*part.even, view)
    strength = 1.0
    while True:
        height, colour = draw(part, rng)
        height = part.height + strength * (height - part.height)
        colour = np.clip(part.colour + strength * (colour - part.colour), 0, 1)
        lit = part.height if modality == "points" else height
        shape = np.abs(height - part.height) > _FELT
        changes = height - part.height, photograph(lit, colour, view) - clean
        look = np.abs(changes[1]).max(axis=2) > _SEEN
        contrast = max(
            outstanding(change, other, part.inside, noise)
            for change, other, noise in zip(changes, texture, (NOISE, GRAIN), strict=True)
        )
        if (shape | look).sum() >= _SMALLEST and contrast >= _ROSE:
            return (height, lit, colour), np.asarray(shape | look)
        strength *= _STRONGER


def outstanding(change: Field, texture: Field, inside: Mask, noise: float) -> float:
    """Contrast over noise of a change, by what is most sensitive to its shape: a matched filter.

    Rose 1948, "The sensitivity performance of the human eye on an absolute scale": what is 5 or
    more is told from noise with certainty. change, texture: (H, W) or (H, W, C), of one unit.
    inside: where the texture's answers to the filter tell its noise. noise: besides, of a pixel.
    """
    rows, columns = np.nonzero(change if change.ndim == 2 else change.any(axis=2))
    if len(rows) == 0:
        return 0.0
    window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    size = float(np.linalg.norm(change))
    layers = zip(np.atleast_3d(change)[window].T, np.atleast_3d(texture).T, strict=True)
    answers = sum(cv2.filter2D(one.T.copy(), cv2.CV_64F, shape.T / size) for shape, one in layers)
    return size / float(np.hypot(np.asarray(answers)[inside].std(), noise))


def _spot(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    """Metres to the right of and below a place inside the part."""
    places = np.argwhere(part.inside)
    row, column = places[rng.integers(len(places))]
    rows, columns = np.indices(SIZE, dtype=np.float32)
    return (columns - column) * np.float32(PIXEL), (rows - row) * np.float32(PIXEL)


def _blob(part: Part, radius: tuple[float, float], rng: np.random.Generator) -> Field:
    """1 in the middle of an uneven ellipse somewhere on the part, 0 from its edge on."""
    x, y = _spot(part, rng)
    turn, long = rng.uniform(0, np.pi), np.exp(rng.uniform(-0.3, 0.3))
    along = (np.cos(turn) * x + np.sin(turn) * y) * long
    across = (np.cos(turn) * y - np.sin(turn) * x) / long
    r = np.hypot(along, across) / rng.uniform(*radius) * (1 + 0.08 * noise(6, rng))
    return np.asarray(np.clip(1 - r * r, 0, 1), np.float32)


def _bump(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    hill = _blob(part, (0.003, 0.007), rng)
    sign = rng.choice([-1, 1])  # or a dent
    return part.height + sign * rng.uniform(0.0012, 0.0025) * hill**2, part.colour


def _swelling(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    hill = _blob(part, (0.005, 0.010), rng)
    sign = rng.choice([-1, 1])  # or a sunken place
    return part.height + sign * rng.uniform(0.0010, 0.0020) * hill**2, part.colour


def _hole(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    cut = np.minimum(4 * _blob(part, (0.0025, 0.005), rng), 1)
    deep = part.height * (1 - cut * rng.uniform(0.5, 0.9))
    return deep, part.colour * (1 - 0.7 * cut)[..., None]


def _scratch(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    x, y = _spot(part, rng)
    turn, bend = rng.uniform(0, np.pi), rng.normal(0, 8)
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    aside = np.abs(across - bend * along**2) / rng.uniform(0.0007, 0.0012)
    groove = np.clip(1 - aside, 0, 1) * (np.abs(along) < rng.uniform(0.006, 0.015))
    groove *= part.inside
    height = part.height - rng.uniform(0.0008, 0.0015) * groove
    return height, part.colour * (1 + 0.25 * groove[..., None])


def _stain(part: Part, rng: np.random.Generator) -> tuple[Field, Field]:
    cover = np.minimum(3 * _blob(part, (0.002, 0.006), rng), 1)[..., None]
    tint = rng.uniform(0.05, 0.8, 3) * rng.uniform(0.3, 1)
    return part.height, part.colour + 0.6 * cover * (tint - part.colour)


DEFECTS: dict[str, tuple[Modality, Callable[[Part, np.random.Generator], tuple[Field, Field]]]] = {
    "bump": ("both", _bump),
    "swelling": ("points", _swelling),
    "hole": ("both", _hole),
    "scratch": ("both", _scratch),
    "stain": ("photograph", _stain),
}
