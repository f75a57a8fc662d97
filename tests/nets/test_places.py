"""The closed-form student against numpy's and SciPy's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.linalg import solve_triangular
from scipy.ndimage import map_coordinates

from blemish.errors import DataError
from blemish.frame import Frame
from blemish.nets.features import Features, Origin
from blemish.nets.gaussian import LEAST
from blemish.nets.places import Attention, Judge, PlacesHead, crossed, fit_attention, strongest

Array = npt.NDArray[np.float64]
COUNT, WIDTH, RIDGE = 21, 5, 0.05
SHAPES = ((4, 16, 16), (4, 8, 8), (6, 4, 4), (10, 2, 2))
GROUPS = (4, 2, 2, 3, 3, 2, 3)  # of 4, 4, 6 channels and 5 directions
SIDE = 2  # of the squares of positions that share a covariance


def write(path: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    parts = [rng.normal(size=s) * np.linspace(0.5, 3, s[0])[:, None, None] for s in SHAPES]
    np.concatenate([part.ravel() for part in parts]).astype(np.float32).tofile(path)


@pytest.fixture
def features(tmp_path: Path) -> Features:
    files = tuple(tmp_path / f"{number}.f32" for number in range(COUNT))
    for number, file in enumerate(files):
        write(file, number)
    origin = Origin(paths=files, graph=b"", frame=Frame(size=(64, 64)))
    return Features(files=files, shapes=SHAPES, origin=origin)


def taps_of(features: Features, index: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(tap) for tap in features.batch([index]))


def enlarged(grid: Array, size: int) -> Array:
    """(h, w) → (size, size), bilinear from edge to edge."""
    places = [(np.arange(size) + 0.5) * side / size - 0.5 for side in grid.shape]
    at = np.stack(np.meshgrid(*places, indexing="ij"))
    large: Array = map_coordinates(grid, at, order=1, mode="nearest")
    return large


def seen(features: Features, basis: torch.Tensor) -> Array:
    """What attention looks at: (N, 19, 8, 8)."""
    one, two, three, four = (tap.astype(np.float64) for tap in features.batch(range(len(features))))
    halved = one.reshape(len(one), 4, 8, 2, 8, 2).mean((3, 5))
    kept = np.einsum("ck,nchw->nkhw", basis.double().numpy(), four)
    third, fourth = (
        np.stack([[enlarged(plane, 8) for plane in image] for image in tap])
        for tap in (three, kept)
    )
    return np.concatenate([halved, two, third, fourth], axis=1)


def surprise(good: Array, image: Array) -> Array:
    """(G, h, w): log mean square of each group's whitened residual, one place at a time."""
    _, d, h, w = good.shape
    own = np.stack(
        [[np.cov(good[:, :, y, x].T) for x in range(w)] for y in range(h)]
    )  # (h, w, d, d)
    shared = own.reshape(h // SIDE, SIDE, w // SIDE, SIDE, d, d).mean((1, 3))
    floor = RIDGE * np.diag(np.diagonal(shared, axis1=2, axis2=3).mean((0, 1)))
    out = np.empty((len(GROUPS), h, w))
    for y in range(h):
        for x in range(w):
            root = np.linalg.cholesky(shared[y // SIDE, x // SIDE] + floor)
            off = image[:, y, x] - good[:, :, y, x].mean(0)
            white = solve_triangular(root, off, lower=True)
            parts = np.split(white, np.cumsum(GROUPS)[:-1])
            out[:, y, x] = [np.log((part**2).mean() + LEAST) for part in parts]
    return out


def test_attention_is_a_whitened_residual_of_each_group_at_each_place(features: Features) -> None:
    basis = strongest(features, WIDTH)
    good = features.part(range(20))
    attention = fit_attention(good, basis, RIDGE)
    assert attention.groups == len(GROUPS)
    found = attention(*taps_of(features, 20))
    assert found.shape == (1, len(GROUPS), 8, 8)
    whole = seen(features, basis)
    assert np.allclose(found[0], surprise(whole[:20], whole[20]), rtol=1e-2, atol=1e-2)


def test_attention_is_higher_where_a_part_is_odd(features: Features) -> None:
    attention = fit_attention(features, strongest(features, WIDTH), RIDGE)
    taps = taps_of(features, 0)
    before = attention(*taps)
    taps[1][0, :, 2, 5] += 30
    after = attention(*taps)
    changed = (after - before).abs().amax(1)[0] > 1e-4
    assert changed.nonzero().tolist() == [[2, 5]]
    assert (after[0, 1:3, 2, 5] > before[0, 1:3, 2, 5]).all()  # the groups of that tap


def buffers(attention: Attention) -> list[torch.Tensor]:
    return [attention.surprise.shift, attention.surprise.get_buffer("maps_0")]


def test_an_image_is_attended_by_gaussians_that_have_not_seen_it(features: Features) -> None:
    basis = strongest(features, WIDTH)
    whole, pair = crossed(features, basis, RIDGE)
    for index in (0, 7):
        write(features.files[index], 1000 + index)
        again = crossed(features, basis, RIDGE)[1]
        own, other = index % 2, 1 - index % 2
        for a, b in zip(buffers(again[own]), buffers(pair[own]), strict=True):
            assert torch.equal(a, b)  # nothing of the image is in the one that looks at it
        assert not torch.equal(buffers(again[other])[0], buffers(pair[other])[0])
        pair = again
    assert not torch.equal(buffers(whole)[0], buffers(crossed(features, basis, RIDGE)[0])[0])


def test_both_halves_and_the_whole_are_on_one_scale(features: Features) -> None:
    whole, pair = crossed(features, strongest(features, WIDTH), RIDGE)
    values = torch.cat([pair[i % 2](*taps_of(features, i)) for i in range(COUNT)]).double()
    assert torch.allclose(values.mean((0, 2, 3)), torch.zeros(1).double(), atol=1e-4)
    assert torch.allclose(values.std((0, 2, 3), correction=0), torch.ones(1).double(), 1e-4)
    for attention in pair:
        assert torch.equal(attention.level, whole.level)
        assert torch.equal(attention.spread, whole.spread)
    own = torch.cat([whole(*taps_of(features, i)) for i in range(COUNT)])
    assert own.mean() < 0  # what it was fitted on looks too usual to it


@pytest.mark.parametrize("width", [1, 4, 10, 64])
def test_the_strongest_directions_are_the_principal_ones(features: Features, width: int) -> None:
    basis = strongest(features, width).double().numpy()
    kept = min(width, 10)
    assert basis.shape == (10, kept)
    assert np.allclose(basis.T @ basis, np.eye(kept), atol=1e-5)
    rows = features.batch(range(COUNT))[3].transpose(1, 0, 2, 3).reshape(10, -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    left, strengths, _ = np.linalg.svd(rows, full_matrices=False)
    explained = ((basis.T @ rows) ** 2).sum(1)
    assert np.allclose(explained, strengths[:kept] ** 2, rtol=1e-4)  # the most, in order
    assert np.allclose(np.abs((left[:, :kept] * basis).sum(0)), 1, atol=1e-3)
    largest = basis[np.abs(basis).argmax(0), np.arange(kept)]
    assert (largest > 0).all()


def test_too_few_images_to_cross_are_refused(features: Features) -> None:
    with pytest.raises(DataError, match="at least 4 good images to learn from, but got 3"):
        crossed(features.part(range(3)), strongest(features, WIDTH), RIDGE)


def judge_of(groups: int) -> Judge:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Judge(groups, 4).eval()


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_head_is_the_judge_and_a_share_of_the_mean_attention(
    features: Features, weight: float
) -> None:
    whole, _ = crossed(features, strongest(features, WIDTH), RIDGE)
    judge, taps = judge_of(whole.groups), taps_of(features, 3)
    with torch.no_grad():
        grid = whole(*taps)
        logits = judge(grid)[0, 0].numpy()
        found = PlacesHead(whole, judge, weight)(*taps)
    far = grid[0].double().numpy().mean(0)
    assert found.shape == (8, 8)
    assert np.allclose(found, logits + weight * far, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (1, 3), (64, 64)])
def test_the_judge_takes_grids_of_any_size(size: tuple[int, int]) -> None:
    grid = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = judge_of(6)(grid)
    assert found.shape == (2, 1, *size)
    assert torch.isfinite(found).all()
