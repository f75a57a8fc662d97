"""A data set made on the spot: no download, same pictures for the same seed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from blemish.data.demo_defects import DEFECTS, draw_defect
from blemish.data.demo_part import draw_scene, expose, shade
from blemish.errors import ConfigError, DataError
from blemish.track import Track, silent

MARKER = "blemish-demo.json"
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
    _require_settings(made)
    target = Path(folder)
    if _is_made(target, made):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".blemish-demo-", dir=target.parent) as beside:
            fresh = Path(beside) / "demo"
            _write(fresh, made, track)
            if target.is_dir():
                target.rmdir()
            fresh.rename(target)
    except OSError as error:
        raise DataError(
            f"{target} must be a place to write the demo to, but writing failed: "
            f"{error.strerror or error}. Free some space there, or give another folder."
        ) from error
    return target


def _require_settings(made: dict[str, int]) -> None:
    for name, value in made.items():
        least = 0 if name == "seed" else 1
        if value < least:
            raise ConfigError(f"{name} of the demo must be {least} or more, but it is {value}.")


def _is_made(target: Path, made: dict[str, int]) -> bool:
    """Whether this very demo is there, whole.

    Raises:
        DataError: something else is.
    """
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return False
    there = _read_marker(target / MARKER)
    if there is None:
        raise DataError(
            f"{target} must be a new or empty folder for the demo, but it holds something else. "
            "Give another folder."
        )
    if there != made:
        raise DataError(
            f"{target} must be a new or empty folder for this demo ({_told(made)}), but it holds "
            f"another one ({_told(there)}). Delete it, or give another folder."
        )
    lost = [name for name in _names(made) if not (target / name).is_file()]
    if lost:
        raise DataError(
            f"{target} must hold the whole demo, but {lost[0]} is missing (files missing: "
            f"{len(lost)}). Delete the folder to make the demo again, or give another folder."
        )
    return True


def _read_marker(marker: Path) -> dict[str, object] | None:
    try:
        read = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def _told(made: dict[str, int] | dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made.items())


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
    for name in _names(made):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    plan = list(_plan(made))
    for part, kind, number in track(plan, "Making the demo", len(plan)):
        rng = np.random.default_rng(_stream(made["seed"], part, kind, number))
        _write_picture(folder, part, kind, f"{number:03}", rng)
    (folder / "readme.txt").write_text(_README, encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


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
