"""Gaussians against numpy's and SciPy's own arithmetic, place by place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from blemish.errors import ConfigError, DataError
from blemish.nets.gaussian import Places, Whitened, blocks, fit_places, whitening

Array = npt.NDArray[np.float64]
RIDGE = 0.02


def features(n: int, d: int, h: int, w: int, *, mean: float = 3.0) -> torch.Tensor:
    """Correlated features whose mean and covariance differ from place to place."""
    rng = np.random.default_rng(n + 10 * d)
    mix = rng.normal(size=(h, w, d, d))
    raw = np.einsum("nhwd,hwde->nehw", rng.normal(size=(n, h, w, d)), mix)
    return torch.from_numpy(raw + mean * rng.normal(size=(1, d, h, w))).float()


def batches(whole: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    yield from whole.split(size)


def block(whole: torch.Tensor, side: int, row: int, column: int) -> Array:
    """(N, side, side, D) of one block, in float64."""
    rows = slice(row * side, (row + 1) * side)
    columns = slice(column * side, (column + 1) * side)
    return whole[:, :, rows, columns].permute(0, 2, 3, 1).double().numpy()


def reference(whole: torch.Tensor, side: int) -> tuple[Array, Array]:
    """Means (P, S, D) and covariances (P, D, D) by numpy, one block at a time."""
    n, d, h, w = whole.shape
    means, covariances = [], []
    for row in range(h // side):
        for column in range(w // side):
            values = block(whole, side, row, column).reshape(n, side * side, d)
            means.append(values.mean(0))
            # Positions share a covariance, never a mean: the average of theirs.
            own = [np.cov(values[:, position].T).reshape(d, d) for position in range(side * side)]
            covariances.append(np.mean(own, axis=0))
    return np.stack(means), np.stack(covariances)


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_means_and_covariances_are_numpys(side: int, size: int) -> None:
    whole = features(40, 5, 6, 12)
    places = fit_places(batches(whole, size), side)
    means, covariances = reference(whole, side)
    assert (places.grid, places.rows) == ((6, 12), 40 * side * side)
    assert np.allclose(places.mean, means, rtol=1e-4, atol=1e-4)
    assert np.allclose(places.covariance, covariances, rtol=1e-3, atol=1e-3)


def test_a_large_mean_does_not_drown_the_covariance() -> None:
    whole = features(40, 3, 2, 2)
    far = fit_places(batches(whole + 1000, 8), 1)
    near = fit_places(batches(whole, 8), 1)
    assert torch.allclose(far.covariance, near.covariance, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("side", [1, 2])
def test_distances_are_scipys_mahalanobis(side: int) -> None:
    whole = features(60, 4, 4, 6)
    places = fit_places(batches(whole, 16), side)
    net = Whitened(places, whitening(places.covariance, RIDGE))
    means, covariances = reference(whole, side)
    level = np.diagonal(covariances, axis1=1, axis2=2).mean(0)
    image = features(1, 4, 4, 6, mean=5.0)
    found = net(image).sqrt()
    assert found.shape == (4, 6)
    for y in range(4):
        for x in range(6):
            place = (y // side) * (6 // side) + x // side
            position = (y % side) * side + x % side
            inverse = np.linalg.inv(covariances[place] + RIDGE * np.diag(level))
            vector = image[0, :, y, x].double().numpy()
            expected = mahalanobis(vector, means[place, position], inverse)
            assert found[y, x].item() == pytest.approx(expected, rel=1e-3)


def test_whitened_good_parts_have_unit_covariance() -> None:
    whole = features(500, 4, 2, 2)
    places = fit_places(batches(whole, 100), 1)
    white = (blocks(whole, 1) - places.mean) @ whitening(places.covariance, 1e-6)
    for place in white.double().numpy():
        assert np.allclose(np.cov(place.T), np.eye(4), atol=2e-3)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_blocks_keep_every_value_in_its_place(side: int) -> None:
    whole = torch.arange(2 * 3 * 6 * 6).reshape(2, 3, 6, 6).float()
    cut = blocks(whole, side)
    assert cut.shape == ((6 // side) ** 2, 2 * side * side, 3)
    first = cut[0].reshape(2, side, side, 3)
    assert torch.equal(first, whole[:, :, :side, :side].permute(0, 2, 3, 1))
    last = cut[-1].reshape(2, side, side, 3)
    assert torch.equal(last, whole[:, :, -side:, -side:].permute(0, 2, 3, 1))


@pytest.mark.parametrize("side", [1, 2])
def test_the_grid_comes_back_in_its_order(side: int) -> None:
    grid = torch.rand(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    places = Places(
        mean=torch.zeros(24 // side**2, side**2, 1),
        covariance=torch.ones(24 // side**2, 1, 1),
        rows=1,
        grid=(4, 6),
        side=side,
    )
    assert torch.allclose(
        Whitened(places, whitening(places.covariance, 1e-9))(grid), grid[0, 0] ** 2
    )


def test_a_dead_feature_does_no_harm() -> None:
    whole = features(20, 3, 2, 2)
    whole[:, 1] = 7.0
    places = fit_places(batches(whole, 5), 1)
    assert torch.isfinite(Whitened(places, whitening(places.covariance, RIDGE))(whole[:1])).all()


def test_no_features_are_refused() -> None:
    with pytest.raises(DataError, match="at least one good image"):
        fit_places(iter(()), 1)


def test_features_without_any_spread_are_refused() -> None:
    with pytest.raises(DataError, match="must differ from each other"):
        fit_places([torch.ones(4, 2, 2, 2)], 1)


def test_squares_beyond_the_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="share must be at most"):
        fit_places([torch.ones(4, 2, 0, 0)], 4)


def test_a_covariance_without_inverse_is_refused_and_threads_stay() -> None:
    singular = torch.ones(3, 2, 2)
    before = torch.get_num_threads()
    with pytest.raises(ConfigError, match=r"must have an inverse.*Raise ridge"):
        whitening(singular, 1e-12)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("source", [0, 50])
def test_what_is_zero_in_a_map_is_not_kept_and_not_missed(source: int) -> None:
    rng = torch.Generator().manual_seed(0)
    d, k, places = 100 + source, 100, 6
    below = torch.rand(places, k, k, generator=rng).triu()
    maps = torch.cat([torch.rand(places, source, k, generator=rng), below], dim=1)
    given = Places(
        mean=torch.rand(places, 4, d, generator=rng),
        covariance=torch.empty(0),
        rows=1,
        grid=(4, 6),
        side=2,
    )
    net = Whitened(given, maps)
    image = torch.rand(1, d, 4, 6, generator=rng)
    whole = blocks(image, 2) @ maps - given.mean @ maps
    assert torch.allclose(net.residuals(image), whole, rtol=1e-4, atol=1e-3)
    squares = whole.square().sum(2).reshape(2, 3, 2, 2).permute(0, 2, 1, 3).reshape(4, 6)
    assert torch.allclose(net(image), squares, rtol=1e-4)
    pieces = [net.get_buffer(f"maps_{n}") for n in range(3)]
    assert [piece.shape[1] for piece in pieces] == [source + 34, source + 67, source + 100]
    assert sum(piece.numel() for piece in pieces) < 0.8 * maps.numel()


def test_a_map_of_zeros_keeps_a_row() -> None:
    given = Places(mean=torch.ones(1, 1, 3), covariance=torch.empty(0), rows=1, grid=(1, 1), side=1)
    assert Whitened(given, torch.zeros(1, 3, 3))(torch.ones(1, 3, 1, 1)).item() == 0
