"""Scenes: the surface as it was measured, holes as holes, one script, and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from blemish.report.scene import FLAT, HOLE, MESH, scene, scene_script
from blemish.scans import Scan, scan_of
from scenes import STEP, ball, tilted

Array = npt.NDArray[Any]


def told(scan: Scan) -> dict[str, Any]:
    pixels = np.full((*scan.seen.shape, 3), 90, np.uint8)
    found = json.loads(scene(scan, pixels, pixels + 100))
    assert isinstance(found, dict)
    return found


def mesh(part: dict[str, Any]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Points, x and y in widths of the part, and where there are any."""
    numbers = np.frombuffer(base64.b64decode(part["points"]), "<u2").reshape(*part["size"], 3)
    there = (numbers != HOLE).all(axis=2)
    assert (there | (numbers == HOLE).all(axis=2)).all()
    points = numbers.astype(float)
    wide = np.ptp(points[there], axis=0)[:2].max()
    return points / wide, there


def picture(link: str) -> Array:
    data = base64.b64decode(link.partition("base64,")[2])
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def test_a_tilted_plane_lies_level_before_the_viewer() -> None:
    points, there = mesh(told(tilted((60, 80), (0.7, -0.4))))
    assert there.all()
    assert np.ptp(points[..., 2]) < 1e-3
    assert (np.diff(points[..., 0], axis=1) > 0).all()
    assert (np.diff(points[..., 1], axis=0) < 0).all()


def test_a_ball_is_as_high_as_it_is() -> None:
    points, there = mesh(told(ball(101, 0.06)))
    across = np.ptp(points[there], axis=0)
    height = 0.06 - np.sqrt(0.06**2 - (50 * STEP) ** 2 * 1)  # a cap as wide as the picture
    assert across[2] == pytest.approx(height / (100 * STEP), rel=0.35)
    assert np.isclose(across[0], across[1], rtol=0.02)
    assert points[50, 50, 2] == points[there][:, 2].max()


def test_large_scans_are_thinned_and_stay_where_they_are() -> None:
    part = told(tilted((500, 1000), (0.0, 0.0)))
    points, _ = mesh(part)
    assert part["size"] == [MESH // 2, MESH]
    assert np.ptp(points[..., 1]) == pytest.approx(0.5, abs=0.01)
    assert picture(part["photograph"]).shape == (256, 512, 3)
    assert picture(part["map"]).shape == (256, 512, 3)


def test_holes_are_cut_out() -> None:
    rows, columns = np.indices((90, 120))
    hole = np.hypot(rows - 40, columns - 60) < 15
    hole[70, 100] = True  # narrower than three pixels: not worth it
    part = told(scan_of(tilted((90, 120), (0.1, 0.0)).points, ~hole))
    _, there = mesh(part)
    assert not there[40, 60]
    assert there[10, 10]
    cut = picture(part["seen"])
    hole[70, 100] = False
    np.testing.assert_array_equal(cut == 0, hole)


def test_whole_scans_have_no_mask() -> None:
    assert told(tilted((20, 30), (0.0, 0.0)))["seen"] is None


def test_disparity_gets_a_height_that_can_be_seen() -> None:
    rows, columns = np.indices((100, 120))
    pit = np.rint(50000 - 9000 * (np.hypot(rows - 50, columns - 60) < 20))
    points, there = mesh(told(scan_of(np.stack([columns, rows, pit], axis=2), rows >= 0)))
    assert points[50, 60, 2] == points[there][:, 2].min()
    assert np.ptp(points[there][:, 2]) == pytest.approx(FLAT, rel=0.05)


def test_a_stray_point_does_not_make_the_rest_small() -> None:
    scan = ball(101, 0.06)
    points = scan.points.copy()
    points[50, 52] = (-30, 20, 40)
    before, _ = mesh(told(scan))
    strayed, there = mesh(told(scan_of(points, scan.seen)))
    assert np.ptp(strayed[there], axis=0).max() < 3 * np.ptp(before[there], axis=0).max()
    assert np.ptp(strayed[20, 20:80, 0]) > 0.3 * np.ptp(before[20, 20:80, 0])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2)])
@pytest.mark.parametrize("seen", [True, False])
def test_scans_of_next_to_nothing(size: tuple[int, int], seen: bool) -> None:
    part = told(scan_of(np.ones((*size, 3)), np.full(size, seen)))
    assert part["size"] == list(size)
    assert (part["seen"] is None) == seen


def test_the_data_cannot_leave_its_place_in_the_page() -> None:
    scan = ball(40, 0.05)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert "<" not in scene(scan, pixels, pixels)


def test_a_page_of_twelve_stays_below_ten_megabytes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    photograph = cv2.GaussianBlur(pixels, (0, 0), 1.5)  # about as rich as a photograph is
    part = scene(tilted((700, 700), (0.1, 0.0)), np.asarray(photograph), np.asarray(photograph))
    assert 12 * len(part) + len(scene_script().text) < 6e6


def test_the_script_is_whole_and_named_by_its_hash() -> None:
    script = scene_script()
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert script.source == f"'sha256-{digest}'"
    assert "</script" not in script.text
    assert "<!--" not in script.text
    assert "The MIT License" in script.text  # three.js goes with its licence
    assert "Copyright (c) 2010-" in script.text


def test_the_viewer_finds_in_three_js_what_it_uses() -> None:
    viewer = script_file("scene.js")
    library = script_file("three.min.js")
    used = set(re.findall(r"THREE\.(\w+)", viewer))
    assert len(used) > 10
    assert all(re.search(rf"[{{,]{name}:\(\)=>", library) for name in used), used


def test_nothing_in_the_script_asks_the_network() -> None:
    assert not re.search(
        r"\bfetch\(|XMLHttpRequest|WebSocket|importScripts|sendBeacon|\bimport\(",
        script_file("scene.js"),
    )
    urls = set(re.findall(r"(?:https?:)?//[a-z][\w./-]+", scene_script().text)) - {
        "http://www.w3.org/1999/xhtml"  # a name, not a link
    }
    assert urls == set()


def script_file(name: str) -> str:
    import blemish.report

    return (Path(blemish.report.__file__).parent / name).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="NODE ABSENT: the viewer is not parsed")
def test_the_script_is_javascript(tmp_path: Path) -> None:
    (tmp_path / "all.js").write_text(scene_script().text, encoding="utf-8")
    done = subprocess.run(
        ["node", "--check", "all.js"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
