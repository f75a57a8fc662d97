"""FPFH against the formulas point by point, and against Open3D."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from blemish.errors import ConfigError
from blemish.fpfh import fpfh
from blemish.geometry import surface_of
from blemish.scans import Scan, scan_of
from scenes import ball, on_a_table, tilted

RADIUS = 3


def bumpy(seed: int = 0, size: tuple[int, int] = (17, 15)) -> Scan:
    """A rough surface with holes, steps of a millimetre."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size) * 0.001
    height = 0.5 + 0.002 * np.sin(rows * 900) * np.cos(columns * 700)
    points = np.stack([columns, rows, height + rng.normal(0, 1e-4, size)], axis=2)
    return scan_of(points, rng.random(size) > 0.05)


def angles(p: Any, n: Any, q: Any, m: Any) -> tuple[float, float, float]:
    """The three angles of a pair, in the order of their histograms, as the paper draws them."""
    line = (q - p) / np.linalg.norm(q - p)
    if np.arccos(min(1, abs(n @ line))) > np.arccos(min(1, abs(m @ line))):
        p, n, q, m, line = q, m, p, n, -line
    v = np.cross(line, n)
    if np.linalg.norm(v) == 0:
        return 0, 0, 0
    v /= np.linalg.norm(v)
    return float(np.arctan2(np.cross(n, v) @ m, n @ m)), float(v @ m), float(n @ line)


def reference(scan: Scan, reach: float) -> npt.NDArray[np.float64]:
    surface = surface_of(scan)
    places = np.argwhere(surface.known)
    points = scan.points[surface.known].astype(float)
    normals = surface.normals[surface.known].astype(float)
    simple = np.zeros((len(points), 33))
    near = [
        [j for j in range(len(points))
         if j != i and np.linalg.norm(points[j] - points[i]) <= reach
         and np.abs(places[j] - places[i]).max() <= RADIUS]
        for i in range(len(points))
    ]  # fmt: skip
    for i, around in enumerate(near):
        for j in around:
            found = angles(points[i], normals[i], points[j], normals[j])
            for third, (value, half) in enumerate(zip(found, (np.pi, 1, 1), strict=True)):
                place = min(10, max(0, int(np.floor(11 * (value + half) / (2 * half)))))
                simple[i, 11 * third + place] += 100 / len(around)
    whole = np.zeros((*scan.seen.shape, 33))
    for i, around in enumerate(near):
        mixed = sum((simple[j] / ((points[j] - points[i]) ** 2).sum() for j in around),
                    np.zeros(33)).reshape(3, 11)  # fmt: skip
        mixed *= 100 / np.maximum(mixed.sum(1, keepdims=True), 1e-300)
        whole[tuple(places[i])] = mixed.ravel() + simple[i]
    return whole


def close(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    """But for an angle on the edge of two bins, here and there."""
    off = np.abs(found - expected).max(axis=-1)
    assert np.median(off) < 1e-2
    assert (off > 0.5).mean() < 0.02


@pytest.mark.parametrize("seed", [0, 1])
def test_features_are_those_of_the_formulas(seed: int) -> None:
    scan = bumpy(seed)
    close(fpfh(scan, surface_of(scan), RADIUS, 0.0042), reference(scan, 0.0042))


def test_histograms_sum_to_a_hundred_twice() -> None:
    scan = bumpy()
    surface = surface_of(scan)
    features = fpfh(scan, surface, RADIUS)
    assert features.shape == (*scan.seen.shape, 33)
    assert features.dtype == np.float32
    sums = features.reshape(-1, 3, 11).sum(2)[surface.known.ravel()]
    np.testing.assert_allclose(sums, 200, rtol=1e-4)
    assert not features[~surface.known].any()


def test_a_pose_changes_nothing() -> None:
    scan = bumpy()
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = scan_of(scan.points @ turn.T + [1, 2, 3], scan.seen)
    before, after = (fpfh(s, surface_of(s), RADIUS, 0.0042) for s in (scan, moved))
    close(after, before)


def test_planes_are_alike_and_balls_are_not_planes() -> None:
    plane, other = (tilted((15, 15), slope) for slope in ((0.0, 0.0), (0.5, -0.3)))
    flat, tilt = (fpfh(s, surface_of(s), RADIUS)[7, 7] for s in (plane, other))
    np.testing.assert_allclose(flat, tilt, atol=25)  # windows differ in 3D, normals do not
    round_ = ball(15, 0.02)
    assert np.abs(fpfh(round_, surface_of(round_), RADIUS)[7, 7] - flat).sum() > 50


def test_what_is_across_an_edge_does_not_count() -> None:
    points = tilted((20, 20), (0.1, 0.0)).points.copy()
    alone = scan_of(points, np.indices((20, 20))[1] < 10)
    points[:, 10:, 2] += 0.1
    beside = scan_of(points)
    one, other = (fpfh(s, surface_of(s), RADIUS, 0.005) for s in (alone, beside))
    np.testing.assert_allclose(one[:, :10], other[:, :10], atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_small_scans_are_no_error(size: tuple[int, int]) -> None:
    scan = tilted(size, (0.1, 0.1))
    assert fpfh(scan, surface_of(scan)).shape == (*size, 33)
    empty = scan_of(np.zeros((*size, 3)))
    assert not fpfh(empty, surface_of(empty)).any()


@pytest.mark.parametrize(("radius", "reach"), [(0, None), (2, -1.0)])
def test_settings_out_of_range(radius: int, reach: float | None) -> None:
    scan = tilted((4, 4), (0, 0))
    with pytest.raises(ConfigError, match="radius of FPFH must be 1 px or more"):
        fpfh(scan, surface_of(scan), radius, reach)


@pytest.mark.slow
@pytest.mark.parametrize("scan", [bumpy(2, (40, 50)), on_a_table(holes=0.0)[0]])
def test_features_are_open3ds(scan: Scan) -> None:
    o3d = pytest.importorskip("open3d", reason="OPEN3D ABSENT: pip install 'blemish[peers]'")
    surface = surface_of(scan)
    reach = 0.0032  # every neighbour so near lies within the window
    cloud = o3d.geometry.PointCloud(
        o3d.utility.Vector3dVector(scan.points[surface.known].astype(float))
    )
    cloud.normals = o3d.utility.Vector3dVector(surface.normals[surface.known].astype(float))
    search = o3d.geometry.KDTreeSearchParamHybrid(radius=reach, max_nn=1000)
    expected = o3d.pipelines.registration.compute_fpfh_feature(cloud, search).data.T
    close(fpfh(scan, surface, 6, reach)[surface.known], expected)
