"""Region of interest, ignored areas and millimetres on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.images import read_image, read_map, write_png
from commands import run

ROI = [[[40, 30], [320, 30], [320, 270], [40, 270]]]


@pytest.fixture(scope="module")
def outlines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Polygons of what is inspected, and a mask of what is not."""
    folder = tmp_path_factory.mktemp("outlines")
    (folder / "roi.json").write_text(json.dumps(ROI))
    mask = np.zeros((300, 360), np.uint8)
    mask[100:120, 150:200] = 255
    Image.fromarray(mask).save(folder / "ignore.png")
    return folder / "roi.json", folder / "ignore.png"


def test_from_fit_to_report(
    demo: Path,
    outlines: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    part, (roi, ignore) = tmp_path / "part.blemish", outlines
    done = run(capfd, "fit", demo, "-o", part, "--size", 64, "--roi", roi, "--ignore", ignore,
               "--mm-per-pixel", 0.1)  # fmt: skip
    assert done.code == 0, done.err
    told = run(capfd, "info", part).out
    assert "inside 1 polygon, outside a mask of 300 x 360 px" in told
    assert "0.1 mm per pixel" in told
    stored = run(capfd, "info", part, "--json").lines()[0]
    assert stored["mm_per_pixel"] == 0.1
    assert stored["frame"]["area"] == "inside 1 polygon, outside a mask of 300 x 360 px"

    good = read_image(sorted((demo / "test" / "good").iterdir())[0]).copy()
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "clean.png", good)
    good[:20], good[280:], good[105:115, 160:190] = 255, 0, (255, 0, 255)
    write_png(tmp_path / "in" / "away.png", good)
    good[200:240, 100:140] = (255, 0, 255)
    write_png(tmp_path / "in" / "bad.png", good)
    done = run(capfd, "inspect", part, tmp_path / "in", "-o", tmp_path / "out", "--json")
    away, bad, clean = done.lines()
    assert away["score"] == clean["score"]
    assert bad["verdict"] == "defect"
    for region in bad["regions"]:
        assert region["area_mm2"] == pytest.approx(region["area_px"] / 100)
    map = read_map(tmp_path / "out" / "bad.map.tiff")
    assert map[0, 0] == map[110, 175] == map.min()
    text = run(capfd, "inspect", part, tmp_path / "in", "--mm-per-pixel", 1).out
    (line,) = [line for line in text.splitlines() if "bad.png" in line]
    largest = max(region["area_px"] for region in bad["regions"])
    assert f"largest {largest} px ({largest:.3g} mm2, " in line

    report = tmp_path / "report"
    done = run(capfd, "evaluate", part, demo, "-o", report, "--json")
    assert done.code == 0, done.err
    assert " mm2, " in (report / "report.html").read_text()


def test_what_cannot_be_is_told(
    demo: Path,
    outlines: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    part = tmp_path / "part.blemish"
    done = run(capfd, "fit", demo, "-o", part, "--size", 64, "--mm-per-pixel", 0)
    assert done.code == 3
    assert "--mm-per-pixel" in done.err
    done = run(capfd, "fit", demo, "-o", part, "--roi", tmp_path / "none.json")
    assert done.code == 3
    assert "none.json" in done.err
    small = tmp_path / "small.png"
    Image.fromarray(np.full((30, 36), 255, np.uint8)).save(small)
    done = run(capfd, "fit", demo, "-o", part, "--size", 64, "--roi", small)
    assert done.code == 3
    assert "mask of --roi, 30 x 36, but is 300 x 360" in done.err
    assert not part.exists()
