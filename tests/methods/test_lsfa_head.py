"""What LSFA's head makes of features before they are adapted, and the units of its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blemish.data import open_data
from blemish.descriptors import AROUND
from blemish.fitting import backbone_graph, choose, look, sight_of
from blemish.fpfh import WIDTH
from blemish.methods.lsfa import LsfaConfig
from blemish.methods.lsfa_head import LsfaHead, Parts, patches_of, weigh
from blemish.nets.features import Features
from blemish.track import silent

SETTINGS: dict[str, Any] = {"size": 96, "grid": 12}


@pytest.fixture(scope="module")
def config() -> LsfaConfig:
    config = choose("lsfa", "embedded", SETTINGS)[1]
    assert isinstance(config, LsfaConfig)
    return config


@pytest.fixture(scope="module")
def features(demo3d: Path, config: LsfaConfig) -> Features:
    train = open_data(demo3d).train
    sight = sight_of(config, train, False)
    graph = backbone_graph(config, sight)
    return look(train, graph, config.frame(), sight, track=silent, warn=lambda _: None).features


def weighed(config: LsfaConfig, features: Features, even: bool) -> tuple[Parts, Tensor, Tensor]:
    """Parts, and the variances of a photograph's and of a scan's features."""
    parts = Parts(config, features.origin.sight)
    every = [*range(len(features))]
    weigh(parts, features, every, even)
    photographs, scans = (rows[seen].var(0) for rows, seen in patches_of(features, parts, every))
    return parts, photographs, scans


def test_taps_count_alike(config: LsfaConfig, features: Features) -> None:
    _, before, _ = weighed(config, features, even=False)
    _, after, _ = weighed(config, features, even=True)
    counts = [shape[-3] for shape in features.shapes[: len(config.taps)]]
    shares = torch.stack([one.sum() for one in torch.split(after, counts)])
    torch.testing.assert_close(shares, shares.mean().expand(len(counts)), rtol=1e-3, atol=0)
    torch.testing.assert_close(after.sum(), before.sum(), rtol=1e-3, atol=0)
    uneven = torch.stack([one.sum() for one in torch.split(before, counts)])
    assert uneven.max() > 3 * uneven.min()  # else there was nothing to do


def test_features_may_be_left_as_they_are(config: LsfaConfig, features: Features) -> None:
    parts, _, _ = weighed(config, features, even=False)
    assert (parts.balance == 1).all()


def test_the_ways_to_tell_a_shape_count_alike(config: LsfaConfig, features: Features) -> None:
    _, _, variances = weighed(config, features, even=True)
    count = len(AROUND)
    bends, means, ends = torch.split(variances, [WIDTH, count, 2 * count])
    for kind in (bends, means, ends):
        torch.testing.assert_close(kind.sum(), torch.tensor(1.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(means, torch.full_like(means, 1 / count), rtol=1e-3, atol=0)


def head_of(config: LsfaConfig, square: bool) -> LsfaHead:
    return LsfaHead(Parts(config, None), nn.ModuleList([nn.Identity()]), square)


@pytest.mark.parametrize("odd", [3.0, 1e6])
def test_one_odd_part_does_not_set_the_unit(config: LsfaConfig, odd: float) -> None:
    head = head_of(config, square=True)
    parts = [torch.tensor([0.5, top]) for top in (1.0, 2.0, odd)]
    head.measure(0, parts)
    assert float(head.unit[0]) == 2.0
    assert float(head.level[0]) == 0.0


def test_averaged_scores_are_in_units_of_their_spread(config: LsfaConfig) -> None:
    head = head_of(config, square=False)
    far = [torch.rand(50, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    head.measure(0, far)
    standard = (torch.cat(far) - head.level[0]) / head.unit[0]
    torch.testing.assert_close(standard.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(), torch.tensor(1.0))


def test_nothing_seen_leaves_the_unit_at_one(config: LsfaConfig) -> None:
    head = head_of(config, square=True)
    head.measure(0, [])
    assert float(head.unit[0]) == 1.0
