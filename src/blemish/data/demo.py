"""A data set made on the spot: no download, same pictures for the same seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.data.demo_defects import DEFECTS, draw_defect
from blemish.data.demo_part import draw_scene, expose, shade
from blemish.data.made import make_set
from blemish.track import Track, silent

_VERSION = 1  # raise it whenever a picture changes
_JPEG = (
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    # Colour at full resolution, or a speck of two pixels would lose its own.
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)
_README = """\
A made-up part, an aluminium cover, photographed by nobody: every picture was computed by blemish.
Layout of MVTec AD. Masks mark every pixel that the defect visibly changed. Use it as you like.
"""


def make_demo(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    train_good: int = 150,
    test_good: int = 40,
    per_defect: int = 8,
    track: Track = silent,
) -> Path:
    """Write the demo data set in MVTec layout and return its folder.

    Photographs are 300 × 360 px (H, W) JPEG in RGB, masks PNG of 0 and 255 in the same size. The
    seven kinds of defect are the sub-folders of test; a speck is 2 to 4 px across, and a mask is
    never empty. One seed gives the same bytes with the same NumPy and OpenCV; the first pictures of
    a smaller set are those of a larger one. The folder appears at once when it is complete.
    If the very same demo is there already, it is left as it is.

    track: shows progress.

    Raises:
        ConfigError: a count below 1, or a negative seed.
        DataError: the folder holds something else, or could not be written.
    """
    made = {"version": _VERSION, "seed": seed, "train_good": train_good, "test_good": test_good}
    made["per_defect"] = per_defect
    return make_set(folder, made, list(_names(made)), lambda fresh: _write(fresh, made, track))


def _plan(made: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    """Every picture: part of the set, kind, number."""
    for part, kind, count in (
        ("train", "good", made["train_good"]),
        ("test", "good", made["test_good"]),
        *(("test", kind, made["per_defect"]) for kind in DEFECTS),
    ):
        for number in range(count):
            yield part, kind, number


def _names(made: dict[str, int]) -> Iterator[str]:
    """Every image and mask, relative to the demo's folder."""
    for part, kind, number in _plan(made):
        yield f"{part}/{kind}/{number:03}.jpg"
        if kind != "good":
            yield f"ground_truth/{kind}/{number:03}_mask.png"


def _write(folder: Path, made: dict[str, int], track: Track) -> None:
    plan = list(_plan(made))
    for part, kind, number in track(plan, "Making the demo", len(plan)):
        rng = np.random.default_rng(_stream(made["seed"], part, kind, number))
        _write_picture(folder, part, kind, f"{number:03}", rng)
    (folder / "readme.txt").write_text(_README, encoding="utf-8")


def _stream(seed: int, part: str, kind: str, number: int) -> list[int]:
    """Entropy of one picture's own generator, so that no picture depends on another."""
    return [seed, ("train", "test").index(part), *f"{kind}/{number}".encode()]


def _write_picture(folder: Path, part: str, kind: str, stem: str, rng: np.random.Generator) -> None:
    scene = draw_scene(rng)
    if kind == "good":
        picture = shade(scene, scene.part)
    else:
        picture, mask = draw_defect(kind, scene, rng)
        png = _encoded(".png", mask.astype(np.uint8) * 255)
        (folder / "ground_truth" / kind / f"{stem}_mask.png").write_bytes(png)
    jpeg = _encoded(".jpg", expose(picture, rng)[..., ::-1], _JPEG)
    (folder / part / kind / f"{stem}.jpg").write_bytes(jpeg)


def _encoded(suffix: str, pixels: npt.NDArray[np.uint8], options: tuple[int, ...] = ()) -> bytes:
    # cv2.imwrite would fail, silently, on names that the system's code page does not have.
    _, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    return encoded.tobytes()
