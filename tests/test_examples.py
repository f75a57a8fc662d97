"""The examples for programs without blemish give blemish's own score; the C one is built here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest

import graphs
from banded import part
from blemish.agreement import made_up
from blemish.area import Area, Outline, read_area
from blemish.artifact import Artifact
from blemish.bands import learn
from blemish.export_files import GRAPH, write_folder
from blemish.frame import Frame
from blemish.images import read_image
from blemish.records import Pixels
from blemish.runtime import Inspector
from blemish.tiles import Tiles

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPT = EXAMPLES / "python" / "inspect_part.py"
NEAR = 2e-3  # of a score: a pixel in the middle between two values may be rounded either way


def library() -> Path:
    """ONNX Runtime's library as its Python package carries it, or a loud skip."""
    found = sorted((Path(ort.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not found:
        pytest.skip("NO LIBRARY: this onnxruntime package carries no libonnxruntime.so")
    return found[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C example, built."""
    if not shutil.which("cc") or not shutil.which("make"):
        pytest.skip("NO C COMPILER: cc or make is missing, so the C example is not built")
    folder = tmp_path_factory.mktemp("c")
    words = ["make", "-C", str(EXAMPLES / "c"), f"OUT={folder}", f"ORT_LIB={library()}"]
    done = subprocess.run(
        [*words, "CFLAGS=-O2 -Wall -Wextra -Werror"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "inspect_part"


@pytest.fixture(scope="module")
def pictures(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PNM files of every kind: large and small, grey and colour, 8 and 16 bits, long and low."""
    folder = tmp_path_factory.mktemp("pictures")
    good, bad = (read_image(demo / "test" / kind / "000.jpg") for kind in ("good", "crack"))
    kinds: dict[str, Pixels] = {
        "good": good,
        "bad": bad,
        "small": made_up((41, 33), 1),
        "long": made_up((37, 210), 2),
        "grey": bad.mean(2).astype(np.uint8)[..., None],
        "deep": bad.astype(np.uint16) * 257,
    }
    for name, pixels in kinds.items():
        file = folder / f"{name}.{'pgm' if pixels.shape[2] == 1 else 'ppm'}"
        cv2.imwrite(str(file), pixels[..., ::-1])
    return {file.stem: file for file in folder.iterdir()}


@pytest.fixture(scope="module")
def models(model: Inspector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """The demo's model, the same one with blur and a mean instead of a maximum, and besides with a
    region, padding and windows."""
    plain = model.artifact
    frame = replace(plain.frame, boxes=((5, 2), (9, 1)), top=0.01)
    hole = np.zeros((300, 360), np.uint8)
    hole[100:140, 200:260] = 255
    file = tmp_path_factory.mktemp("mask") / "ignore.png"
    cv2.imwrite(str(file), hole)
    ignored = read_area(None, file)
    assert ignored is not None
    polygon = ((30.5, 20.0), (340.0, 41.5), (300.0, 280.0), (60.0, 260.0))
    area = Area(roi=Outline(polygons=(polygon,)), ignore=ignored.ignore)
    return {
        "plain": plain,
        "blurred": replace(plain, frame=frame),
        "region": replace(plain, frame=replace(frame, area=area)),
        "padded": replace(plain, frame=replace(frame, fit="pad")),
        "windows": replace(plain, frame=replace(frame, tiles=Tiles(side=64, overlap=20))),
        "windows of a region": replace(
            plain, frame=replace(frame, tiles=Tiles(side=90, overlap=16), area=area)
        ),
    }


@pytest.fixture(scope="module")
def folders(
    models: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    for name, artifact in models.items():
        write_folder(artifact, "onnx", root / name)
    return {name: root / name for name in models}


def fitting(name: str, pictures: dict[str, Path]) -> dict[str, Path]:
    """Of the photographs those that the model takes: a region asks for a size."""
    whole = ("good", "bad", "grey", "deep")
    return {kind: pictures[kind] for kind in (whole if "region" in name else pictures)}


def told(*words: object) -> tuple[int, str, list[str]]:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stderr, done.stdout.split()


def as_blemish_says(artifact: Artifact, picture: Path, said: list[str]) -> None:
    pixels = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    rgb = pixels[..., ::-1] if pixels.ndim == 3 else pixels[..., None]
    expected = Inspector(artifact, runtime="onnxruntime").inspect(np.ascontiguousarray(rgb))
    assert float(said[1]) == pytest.approx(expected.score, rel=NEAR)
    assert float(said[2]) == pytest.approx(expected.p_value, abs=0.1)
    if abs(expected.score - expected.threshold) > NEAR * expected.score:
        assert said[0] == expected.verdict


@pytest.mark.parametrize(
    "name", ["plain", "blurred", "region", "padded", "windows", "windows of a region"]
)
def test_the_c_example_gives_blemishs_score(
    name: str, program: Path, pictures: dict[str, Path],
    models: dict[str, Artifact], folders: dict[str, Path],
) -> None:  # fmt: skip
    for picture in fitting(name, pictures).values():
        code, error, said = told(program, folders[name] / GRAPH, picture)
        assert error == ""
        assert code == (said[0] == "defect")
        as_blemish_says(models[name], picture, said)


@pytest.mark.parametrize("name", ["plain", "blurred", "region"])
def test_the_python_example_gives_blemishs_score(
    name: str, pictures: dict[str, Path], models: dict[str, Artifact], folders: dict[str, Path]
) -> None:
    for picture in list(fitting(name, pictures).values())[1:]:
        code, error, said = told(sys.executable, SCRIPT, folders[name], picture)
        assert (code, error) == (0, "")
        as_blemish_says(models[name], picture, said)


def test_what_is_clear_is_left_out(
    pictures: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    bad = cv2.imread(str(pictures["bad"]))
    cv2.imwrite(str(tmp_path / "clear.png"), np.dstack([bad, bad[..., 0]]))
    said = [
        told(sys.executable, SCRIPT, folders["plain"], picture)
        for picture in (pictures["bad"], tmp_path / "clear.png")
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("whole", [True, False], ids=["all", "region"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_channels_that_are_no_colours(
    kind: Any, whole: bool, program: Path, tmp_path: Path
) -> None:
    pixels = part(3, 5, kind)
    bands = learn([pixels.reshape(-1, 5)], np.dtype(kind).name)
    outline = Outline(polygons=(((20.0, 10.0), (100.0, 10.0), (60.0, 90.0)),))
    frame = Frame(size=(8, 8), bands=bands, area=None if whole else Area(roi=outline))
    made = graphs.artifact(graphs.brightness((1, 6, 8, 8)))
    data = {"smallest": [96, 112], "largest": [96, 112]}
    artifact = replace(made, frame=frame, about={**made.about, "data": data})
    write_folder(artifact, "onnx", tmp_path / "out")
    expected = Inspector(artifact, runtime="onnxruntime").inspect(pixels)

    np.save(tmp_path / "part.npy", pixels)
    code, error, said = told(sys.executable, SCRIPT, tmp_path / "out", tmp_path / "part.npy")
    assert (code, error) == (0, "")
    assert float(said[1]) == pytest.approx(expected.score, rel=NEAR)

    file = tmp_path / "part.pam"
    most = 255 if kind is np.uint8 else 65535
    head = f"P7\nWIDTH 112\nHEIGHT 96\nDEPTH 5\nMAXVAL {most}\nENDHDR\n".encode()
    stored = pixels.astype(">u2") if kind is not np.uint8 else pixels
    file.write_bytes(head + stored.tobytes())
    code, error, said = told(program, tmp_path / "out" / GRAPH, file)
    if kind is np.float32:  # PAM has none
        assert (code, said) == (2, [])
        assert "other numbers" in error
    else:
        assert float(said[1]) == pytest.approx(expected.score, rel=NEAR)


def test_the_python_example_is_short_and_without_blemish() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "import blemish" not in text
    assert "from blemish" not in text


def test_what_the_examples_do_not_know_they_refuse(
    program: Path, pictures: dict[str, Path], model: Inspector, tmp_path: Path
) -> None:
    frames = {
        "pads": replace(model.artifact.frame, fit="pad"),
        "tiles": replace(model.artifact.frame, tiles=Tiles(side=64, overlap=16)),
        "pillow": replace(model.artifact.frame, interpolation="bicubic"),
    }
    for name, frame in frames.items():
        write_folder(replace(model.artifact, frame=frame), "onnx", tmp_path / name)
        code, error, said = told(sys.executable, SCRIPT, tmp_path / name, pictures["bad"])
        assert (code, said) == (1, [])
        assert "neither padding nor tiles" in error
    code, error, said = told(program, tmp_path / "pillow" / GRAPH, pictures["bad"])
    assert (code, said) == (2, [])
    assert "asks for another resize" in error


@pytest.mark.parametrize("channels", [1, 3])
def test_floats(channels: int, program: Path, tmp_path: Path) -> None:
    pixels = part(3, channels, np.float32)
    bands = learn([pixels.reshape(-1, channels)], "float32")
    outline = Outline(polygons=(((0.0, 10.0), (112.0, 10.0), (112.0, 96.0), (0.0, 96.0)),))
    frame = Frame(size=(8, 8), bands=bands, area=Area(roi=outline))
    made = graphs.artifact()
    data = {"smallest": [96, 112], "largest": [96, 112]}
    artifact = replace(made, frame=frame, about={**made.about, "data": data})
    write_folder(artifact, "onnx", tmp_path / "out")
    pixels[:10] = np.nan  # not inspected
    expected = Inspector(artifact, runtime="onnxruntime").inspect(pixels)

    def both() -> list[tuple[int, str, list[str]]]:
        head = f"P{'fF'[channels // 3]}\n112 96\n-1.0\n".encode()
        (tmp_path / "part.pfm").write_bytes(head + pixels[::-1].astype("<f4").tobytes())
        np.save(tmp_path / "part.npy", pixels)
        return [
            told(program, tmp_path / "out" / GRAPH, tmp_path / "part.pfm"),
            told(sys.executable, SCRIPT, tmp_path / "out", tmp_path / "part.npy"),
        ]

    for _, error, said in both():
        assert error == ""
        assert float(said[1]) == pytest.approx(expected.score, rel=NEAR)
    pixels[50, 50] = np.nan
    for code, error, said in both():
        assert code != 0
        assert said == []
        assert "measured numbers where it is inspected" in error


def test_images_that_do_not_fit_the_region_are_no_verdicts(
    program: Path, pictures: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    for run in ((program, folders["region"] / GRAPH), (sys.executable, SCRIPT, folders["region"])):
        code, error, said = told(*run, pictures["small"])
        assert code not in (0, program == run[0])
        assert said == []
        assert error
    np.save(tmp_path / "two.npy", np.zeros((300, 360, 2), np.uint8))
    code, error, _ = told(sys.executable, SCRIPT, folders["plain"], tmp_path / "two.npy")
    assert code == 1
    assert "of [1, 3] channels" in error
    (tmp_path / "two.pam").write_bytes(b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nENDHDR\nabcd")
    code, error, _ = told(program, folders["plain"] / GRAPH, tmp_path / "two.pam")
    assert code == 2
    assert "as many as: 1 3" in error


def test_errors_are_no_verdicts(
    program: Path, pictures: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    graph = folders["plain"] / GRAPH
    whole = pictures["bad"].read_bytes()
    (tmp_path / "cut.ppm").write_bytes(whole[:-100])
    (tmp_path / "cut.pfm").write_bytes(b"Pf\n2 2\n-1.0\nabcd")
    (tmp_path / "big.pfm").write_bytes(b"Pf\n1 1\n1.0\nabcd")
    (tmp_path / "odd.ppm").write_bytes(b"P7 what")
    for words, why in (
        ((graph, tmp_path / "cut.ppm"), "is cut off"),
        ((graph, tmp_path / "cut.pfm"), "is cut off"),
        ((graph, tmp_path / "big.pfm"), "least byte first"),
        ((graph, tmp_path / "odd.ppm"), "must be a PGM, PPM or PAM"),
        ((graph, tmp_path / "none.ppm"), "cannot be opened"),
        ((tmp_path / "none.onnx", pictures["bad"]), "ONNX Runtime"),
        ((graph,), "usage"),
    ):
        code, error, said = told(program, *words)
        assert (code, said) == (2, [])
        assert why in error
