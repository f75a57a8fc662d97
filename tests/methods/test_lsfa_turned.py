"""Photographs with turned blocks: LSFA's released code compares photographs with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blemish.data import open_data
from blemish.errors import ConfigError
from blemish.fitting import backbone_graph, choose, look, sight_of
from blemish.methods.lsfa import Lsfa, LsfaConfig
from blemish.methods.lsfa_learn import Learner
from blemish.methods.lsfa_turned import BLOCK, turned, turned_features
from blemish.nets.features import Array, Features
from blemish.track import silent

SETTINGS = {"size": 96, "grid": 12, "joint": 8, "heads": 2, "patience": 0, "batch": 2}
TAPS = 4  # of the preset


def looked(folder: Path, alone: bool) -> Features:
    config = choose("lsfa", "embedded", SETTINGS)[1]
    train = open_data(folder).train[:6]
    sight = None if alone else sight_of(config, train, False)
    graph = backbone_graph(config, sight)
    return look(train, graph, config.frame(), sight, track=silent, warn=lambda _: None).features


@pytest.fixture(scope="module")
def features(demo3d: Path) -> Features:
    return looked(demo3d, alone=False)


@given(
    images=arrays.arrays(
        np.float32, (2, 3, 2 * BLOCK, 3 * BLOCK), elements=st.floats(0, 1, width=16)
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_block_is_turned_by_quarters(images: Array, seed: int) -> None:
    made = turned(images, np.random.default_rng(seed))
    assert made.shape == images.shape
    for picture, before in zip(made, images, strict=True):
        for row in range(0, 2 * BLOCK, BLOCK):
            for column in range(0, 3 * BLOCK, BLOCK):
                block = np.s_[:, row : row + BLOCK, column : column + BLOCK]
                turns = [np.rot90(before[block], count, axes=(1, 2)) for count in range(4)]
                assert any(np.array_equal(picture[block], one) for one in turns)


def test_all_quarters_come_up_and_pictures_differ() -> None:
    image = np.arange(BLOCK * BLOCK, dtype=np.float32).reshape(1, 1, BLOCK, BLOCK)
    wide = np.tile(image, (2, 1, 16, 16))
    one, other = turned(wide, np.random.default_rng(0))
    found = {one[0, row, column] for row in range(0, 64, BLOCK) for column in range(0, 64, BLOCK)}
    assert found == {0.0, 3.0, 12.0, 15.0}  # the corner that lies first
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("alone", [False, True])
def test_features_are_of_the_same_part_but_of_its_grain(demo3d: Path, alone: bool) -> None:
    features = looked(demo3d, alone)
    engine, rng = features.origin.engine(), np.random.default_rng(0)
    made = turned_features(engine, features.origin, 0, TAPS, rng)
    same, other = (features.batch([index])[:TAPS] for index in (0, 1))
    assert [one.shape for one in made] == [one.shape[1:] for one in same]
    assert not any(np.array_equal(new, mine[0]) for new, mine in zip(made, same, strict=True))
    deep = [np.corrcoef(made[-1].ravel(), one[-1].ravel())[0, 1] for one in (same, other)]
    assert deep[0] > deep[1]


def test_the_contrast_counts_by_its_weight() -> None:
    rng = torch.Generator().manual_seed(0)
    patches, other = (torch.randn(2, 12, 6, generator=rng) for _ in range(2))
    seen = torch.ones(2, 12, dtype=torch.bool)

    def loss(weight: float, given: torch.Tensor) -> float:
        config = choose("lsfa", "embedded", {**SETTINGS, "turned": weight})[1]
        assert isinstance(config, LsfaConfig)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return float(Learner(config, [6], 2)(patches, seen, given).detach())

    assert loss(0.0, other) == 0  # the queues are empty, and nothing else is compared
    assert loss(0.1, other) == pytest.approx(2 * loss(0.05, other))
    assert loss(0.1, patches) < loss(0.1, other)


def test_learning_with_it_changes_the_photographs_adaptor(features: Features) -> None:
    def fitted(weight: float) -> list[torch.Tensor]:
        settings = {**SETTINGS, "steps": 2, "turned": weight}
        method = Lsfa(choose("lsfa", "embedded", settings)[1]).fit(features)
        return [value.clone() for value in method.head_.adaptors[0].state_dict().values()]

    plain, once, again = fitted(0.0), fitted(0.5), fitted(0.5)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, plain, strict=True))


def test_sizes_must_be_of_whole_blocks() -> None:
    vit = {"backbone": "vit_base_patch14_reg4_dinov2", "taps": (11,), "size": 518}
    with pytest.raises(ConfigError, match="size must be a multiple of 4 where turned is above 0"):
        choose("lsfa", "embedded", {**vit, "turned": 0.05})
    assert choose("lsfa", "embedded", vit)[1].size == 518
    with pytest.raises(ConfigError, match="turned must be 0 or more"):
        LsfaConfig(turned=-1.0)
