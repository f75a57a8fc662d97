"""Distances to a memory against SciPy's, and PatchCore's weight against its formula."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.distance import cdist

from blemish.export import check_parity, to_onnx
from blemish.nets import nearest as room
from blemish.nets.nearest import Nearest, nearest_square

Array = npt.NDArray[np.float32]


def drawn(count: int, width: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.normal(5, 1, (count, width)) * np.geomspace(3, 0.1, width)).astype(np.float32)


def weight(points: Array, rows: Array, neighbours: int) -> float:
    """Equation 7 of the paper, word by word, in float64."""
    apart = cdist(points, rows)
    peak = apart.min(1).argmax()
    nearest = apart[peak].argmin()
    crowd = cdist(rows[[nearest]], rows)[0].argsort()[:neighbours]
    near = np.exp(apart[peak, crowd] - apart[peak, nearest])
    return float(1 - 1 / near.sum())


@pytest.mark.parametrize("chunk", [1, 5, 1024])
def test_distances_are_scipys(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(room, "CHUNK", chunk)
    points, rows = drawn(40, 7, 0), drawn(13, 7, 1)
    expected = cdist(points, rows).min(1)
    found = nearest_square(torch.from_numpy(points), torch.from_numpy(rows))
    assert np.allclose(found.sqrt(), expected, atol=1e-2)


def test_without_rows_everything_is_far() -> None:
    assert nearest_square(torch.zeros(3, 2), torch.zeros(0, 2)).tolist() == [torch.inf] * 3


@pytest.mark.parametrize("piece", [3, 10, 4096])
@pytest.mark.parametrize("neighbours", [0, 2, 4, 99])
def test_module_is_distance_times_weight(
    monkeypatch: pytest.MonkeyPatch, piece: int, neighbours: int
) -> None:
    monkeypatch.setattr(room, "CHUNK", piece)
    points, rows = drawn(25, 6, 2), drawn(10, 6, 3)
    found = Nearest(rows, neighbours)(torch.from_numpy(points)).numpy()
    expected = cdist(points, rows).min(1) * (weight(points, rows, neighbours) if neighbours else 1)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-2)


def test_a_row_in_a_crowd_counts_for_less() -> None:
    """The same distance to a row weighs less where that row has close neighbours."""
    crowd = np.array([[0, 0], [0.1, 0], [0, 0.1], [50, 50], [99, 99]], np.float32)
    loose = np.array([[0, 0], [30, 0], [0, 30], [50, 50], [99, 99]], np.float32)
    point = torch.tensor([[-3.0, -4.0]])
    in_crowd, alone = (float(Nearest(rows, 3)(point)) for rows in (crowd, loose))
    assert in_crowd < 0.72 * 5
    assert alone == pytest.approx(5, rel=1e-3)


def test_one_row_is_a_memory_too() -> None:
    assert float(Nearest(np.ones((1, 2), np.float32), 9)(torch.tensor([[1.0, 3.0]]))) == 2


@pytest.mark.parametrize("neighbours", [0, 3])
def test_the_graph_gives_what_torch_gives(monkeypatch: pytest.MonkeyPatch, neighbours: int) -> None:
    monkeypatch.setattr(room, "CHUNK", 80)
    rows = drawn(300, 50, 4)
    net = Nearest(rows, neighbours)
    points = torch.from_numpy(np.concatenate([drawn(20, 50, 5), rows[:3]]))
    graph = to_onnx(net, (points,), ["points"], ["far"], {})
    check_parity(net, graph, {"points": points})
    assert len(graph) < 1.3 * rows.nbytes  # each row lies in it once


def test_the_crowd_can_be_judged_in_another_unit() -> None:
    """LSFA's released code divides distances in the weight, and there alone, by the root of D."""
    points, rows = drawn(25, 6, 2), drawn(10, 6, 3)
    unit = 6**0.5
    found = Nearest(rows, 3, unit)(torch.from_numpy(points)).numpy()
    share = weight(points / np.float32(unit), rows / np.float32(unit), 3)
    assert found == pytest.approx(cdist(points, rows).min(1) * share, rel=1e-3)


def test_what_is_not_counted_is_not_the_farthest() -> None:
    points, rows = drawn(25, 6, 2), drawn(10, 6, 3)
    counted = np.ones(25, np.bool_)
    counted[cdist(points, rows).min(1).argsort()[-5:]] = False
    found = Nearest(rows, 3)(torch.from_numpy(points), torch.from_numpy(counted)).numpy()
    share = weight(points[counted], rows, 3)
    assert share != pytest.approx(weight(points, rows, 3), rel=1e-3)
    assert found == pytest.approx(cdist(points, rows).min(1) * share, rel=1e-3, abs=1e-2)
