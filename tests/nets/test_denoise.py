"""The denoising stream: what the two streams differ by, and on which scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.export import check_parity, to_onnx
from blemish.frame import Frame
from blemish.nets.denoise import Denoiser, Difference, White, differences
from blemish.nets.features import Features, Origin
from blemish.nets.gaussian import LEAST
from blemish.nets.places import Attention, crossed, strongest

SHAPES, COUNT, RIDGE = ((4, 16, 16), (4, 8, 8), (6, 4, 4), (7, 2, 2)), 24, 0.2
WIDTH = 4 + 4 + 6 + 5  # features after whitening: all of three taps, 5 directions of the last


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = tmp_path_factory.mktemp("features")
    files = tuple(folder / f"{number}.f32" for number in range(COUNT))
    for number, file in enumerate(files):
        rng = np.random.default_rng(number)
        parts = [rng.normal(size=shape).ravel() for shape in SHAPES]
        np.concatenate(parts).astype(np.float32).tofile(file)
    origin = Origin(paths=files, graph=b"", frame=Frame(size=(64, 64)))
    return Features(files=files, shapes=SHAPES, origin=origin)


@pytest.fixture(scope="module")
def attentions(features: Features) -> tuple[Attention, list[Attention]]:
    return crossed(features, strongest(features, 5), RIDGE)


class Blank(Denoiser):
    """Expects of every part what is usual at each place."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(seen)


class Same(Denoiser):
    """Takes nothing away."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return seen


def taps_of(features: Features, index: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(tap) for tap in features.batch([index]))


def test_the_plain_stream_has_unit_variance_at_each_place(features: Features) -> None:
    """Of the parts a Gaussian was fitted on, less what the ridge takes."""
    whole = crossed(features, strongest(features, 5), 1e-6)[0]
    with torch.no_grad():
        white = torch.cat([White(whole)(*taps_of(features, i)) for i in range(COUNT)])
    assert white.shape == (COUNT, WIDTH, 8, 8)
    assert white.mean(0).abs().max() < 1e-3
    # positions share a covariance in squares of 2 x 2
    shared = white.var(0).reshape(WIDTH, 4, 2, 4, 2).mean((2, 4))
    assert torch.allclose(shared, torch.ones(()), atol=0.01)


def test_without_a_denoising_stream_the_difference_is_plain_attention(
    features: Features, attentions: tuple[Attention, list[Attention]]
) -> None:
    whole, pair = attentions
    blank, halves = differences(features, whole, pair, Blank(WIDTH, 4))
    for index in range(3):
        taps = taps_of(features, index)
        for mine, plain in zip((blank, *halves), (whole, *pair), strict=True):
            assert torch.allclose(mine(*taps), plain(*taps), atol=1e-4)


def test_where_streams_agree_there_is_nothing(
    features: Features, attentions: tuple[Attention, list[Attention]]
) -> None:
    nothing = Difference(attentions[0], Same(WIDTH, 4))  # on no scale yet
    found = nothing(*taps_of(features, 0))
    assert torch.allclose(found, torch.full_like(found, float(np.log(LEAST))))


def test_differences_are_on_the_scale_of_parts_that_were_not_seen(
    features: Features, attentions: tuple[Attention, list[Attention]]
) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(WIDTH, 4).eval()
    with torch.no_grad():
        _, halves = differences(features, *attentions, denoiser)
        seen = torch.cat([halves[i % 2](*taps_of(features, i)) for i in range(COUNT)])
    assert seen.shape == (COUNT, 7, 8, 8)
    assert torch.allclose(seen.mean((0, 2, 3)), torch.zeros(7), atol=1e-3)
    assert torch.allclose(seen.std((0, 2, 3), correction=0), torch.ones(7), atol=1e-3)


def test_the_runtime_agrees(
    features: Features, attentions: tuple[Attention, list[Attention]]
) -> None:
    torch.manual_seed(0)
    net = Difference(attentions[0], Denoiser(WIDTH, 4).eval()).eval()
    names = ["one", "two", "three", "four"]
    taps = taps_of(features, 0)
    graph = to_onnx(net, taps, names, ["map"], {})
    check_parity(net, graph, dict(zip(names, taps, strict=True)))


@pytest.mark.parametrize("side", [8, 9, 31])
def test_a_denoiser_keeps_any_size(side: int, tmp_path: Path) -> None:
    seen = torch.rand(2, 5, side, side + 1)
    assert Denoiser(5, 4).eval()(seen).shape == seen.shape
