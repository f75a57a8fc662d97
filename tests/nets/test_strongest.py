"""Strongest directions against NumPy's and SciPy's own arithmetic in float64, place by place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.linalg import eigh, hadamard
from scipy.spatial.distance import mahalanobis

from blemish.nets.gaussian import Places, Whitened, fit_places, whitening
from blemish.nets.strongest import LIMIT, Strongest, directions_of

Array = npt.NDArray[np.float64]
RIDGE = 0.02
GRID = (4, 6)
SIDES = 8  # of a Hadamard matrix


def features(n: int, d: int, *, scale: Array | float = 1.0) -> torch.Tensor:
    """(N, D, h, w), correlated; mean and covariance differ from place to place."""
    rng = np.random.default_rng(n + 10 * d)
    mix = rng.normal(size=(*GRID, d, d))
    raw = np.einsum("nhwd,hwde->nhwe", rng.normal(size=(n, *GRID, d)), mix)
    raw = (raw + 3 * rng.normal(size=(*GRID, d))) * scale
    return torch.from_numpy(np.moveaxis(raw, 3, 1)).float()


def net(places: Places, count: int, ridge: float = RIDGE) -> Strongest:
    return Strongest(places, directions_of(places.covariance, ridge, count))


def distances(places: Places, count: int, image: torch.Tensor) -> Array:
    """(h, w) of (1, D, h, w) by SciPy's Mahalanobis distance, from each place's covariance made
    of its `count` strongest directions and one variance for the rest, written out."""
    covariances, (h, w), side = places.covariance.double().numpy(), places.grid, places.side
    floor = RIDGE * np.diagonal(covariances, axis1=1, axis2=2).mean(0)
    units, found = np.sqrt(floor), np.empty((h, w))
    for y in range(h):
        for x in range(w):
            place = y // side * (w // side) + x // side
            position = y % side * side + x % side
            even = (covariances[place] + np.diag(floor)) / np.outer(units, units)
            values, vectors = eigh(even)
            values[:-count] = 1 / np.mean(1 / values[:-count])
            inverse = np.linalg.inv((vectors * values) @ vectors.T * np.outer(units, units))
            mean = places.mean[place, position].double().numpy()
            found[y, x] = mahalanobis(image[0, :, y, x].double().numpy(), mean, inverse)
    return found


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("side", [1, 2])
def test_distances_are_scipys_mahalanobis(side: int, count: int) -> None:
    scale = np.array([0.1, 0.2, 1, 1, 5, 10])
    places = fit_places([features(60, 6, scale=scale)], side)
    image = features(1, 6, scale=scale)
    found = net(places, count)(image.permute(0, 2, 3, 1))
    assert found.shape == GRID
    assert found.numpy() == pytest.approx(distances(places, count, image), rel=1e-3)


def test_with_one_direction_for_the_rest_nothing_is_left_out() -> None:
    places, image = fit_places([features(60, 6)], 2), features(1, 6)
    whole = Whitened(places, whitening(places.covariance, RIDGE))(image).sqrt()
    assert torch.allclose(net(places, 5)(image.permute(0, 2, 3, 1)), whole, rtol=1e-3)


@given(
    scale=st.lists(st.floats(0.1, 50), min_size=SIDES, max_size=SIDES),
    variances=st.lists(st.floats(1, 1e3), min_size=6, max_size=6),
    seed=st.integers(0, 1000),
)
def test_a_covariance_of_that_form_is_kept_exactly(
    scale: list[float], variances: list[float], seed: int
) -> None:
    """Two places of three strong directions each, and another level of the rest. All entries of a
    Hadamard matrix are of one size, so a ridge can be chosen that adds 1 to each variance."""
    strong, level = 10 + np.reshape(variances, (2, 3)), 2.0
    vectors, even = hadamard(SIDES) / SIDES**0.5, []
    for place in strong:
        values = np.array([*place, *[level] * (SIDES - 3)])
        even.append((vectors * values) @ vectors.T - np.eye(SIDES))
    ridge = 1 / float(np.mean([np.trace(one) / SIDES for one in even]))
    rng = np.random.default_rng(seed)
    given = Places(
        mean=torch.from_numpy(rng.normal(size=(2, 1, SIDES)) * scale).float(),
        covariance=torch.from_numpy(np.stack(even) * np.outer(scale, scale)).float(),
        rows=1,
        grid=(1, 2),
        side=1,
    )
    image = torch.from_numpy(rng.normal(size=(1, 1, 2, SIDES)) * scale * 10).float()
    exact = Whitened(given, whitening(given.covariance, ridge))(image.permute(0, 3, 1, 2)).sqrt()
    assert torch.allclose(net(given, 3, ridge)(image), exact, rtol=1e-3)


@given(
    images=st.integers(2, 12),
    count=st.integers(1, 5),
    size=st.floats(1e-6, 1e4),
    ridge=st.floats(1e-6, 1),
    far=st.floats(-1e3, 1e3),
)
@example(images=2, count=1, size=1.0, ridge=1e-6, far=1e3)  # along the only direction there is
def test_distances_are_never_below_nothing_nor_undefined(
    images: int, count: int, size: float, ridge: float, far: float
) -> None:
    good = features(images, 6, scale=size)
    made = net(fit_places([good], 1), count, ridge)
    beyond = good[:1] + far * (good[1:2] - good[:1])
    for shown in (good[:1], beyond):
        found = made(shown.permute(0, 2, 3, 1))
        assert torch.isfinite(found).all()
        assert (found >= 0).all()


@pytest.mark.parametrize("far", [1.0, 1e3, 1e6])
@pytest.mark.parametrize(("variance", "counted"), [(900, 900), (1e6, LIMIT)])
def test_along_the_strongest_direction_rounding_leaves_the_distance(
    far: float, variance: float, counted: float
) -> None:
    """Nearly all of |x|² is taken away again there. Units: the rest varies by 2, the ridge's 1 is
    half of it."""
    direction = torch.ones(6) / 6**0.5
    covariance = 2 * (variance - 1) * torch.outer(direction, direction) + torch.eye(6)
    given = Places(
        mean=torch.zeros(1, 1, 6), covariance=covariance[None], rows=1, grid=(1, 1), side=1
    )
    made = net(given, 2, 1 / float(covariance.diagonal().mean()))
    found = made((far * direction).reshape(1, 1, 1, 6)).item()
    assert found == pytest.approx(far / (2 * counted) ** 0.5, rel=1e-3)


def test_a_dead_feature_does_no_harm() -> None:
    good = features(20, 6)
    good[:, 1] = 7.0
    found = net(fit_places([good], 2), 3)(good[:1].permute(0, 2, 3, 1))
    assert torch.isfinite(found).all()


def test_maps_have_as_many_columns_as_are_kept() -> None:
    places = fit_places([features(20, 6)], 2)
    assert net(places, 2).maps.shape == (6, 1, 6, 2)
    assert directions_of(places.covariance, RIDGE, 2).rest.shape == (6,)
