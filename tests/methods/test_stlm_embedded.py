"""STLM's preset for two cores: what its streams learn, and that a killed fit goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

import blemish.methods.fractalad as head_room
import blemish.methods.stlm_embedded as room
from blemish.data import open_data
from blemish.errors import ConfigError
from blemish.fitting import backbone_graph, head_graph
from blemish.methods.stlm import Stlm
from blemish.methods.stlm_embedded import StlmEmbedded, StlmEmbeddedConfig
from blemish.nets.denoise import Difference
from blemish.nets.features import Features, extract
from blemish.nets.frozen import Frozen
from blemish.nets.places import SHARE
from blemish.nets.weights import find_weights
from blemish.settings import configure
from blemish.track import Track, silent
from blemish.train import Plan

T = TypeVar("T")


class KilledError(Exception):
    """What a test throws into a fit."""


def small(**changed: Any) -> StlmEmbeddedConfig:
    quick = {"size": 64, "steps": 2, "batch": 2, "patience": 0, "denoising": 2, "channels": 4}
    config = configure(Stlm.presets["embedded"], {**quick, **changed})
    assert isinstance(config, StlmEmbeddedConfig)
    return config


@pytest.fixture(scope="module")
def features(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    config, folder = small(), tmp_path_factory.mktemp("features")
    paths = [sample.image for sample in open_data(demo).train]
    return extract(backbone_graph(config), config.frame(), paths, folder, silent)[0]


@pytest.mark.parametrize(
    ("setting", "value"), [("student", "none"), ("denoising", 0), ("channels", 0)]
)
def test_settings_out_of_range_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        small(**{setting: value})


def far(config: StlmEmbeddedConfig, features: Features) -> float:
    """How far the denoising stream's picture of spoilt parts is from the parts before that."""
    whole, pair = StlmEmbedded(config)._attention(features, 0, silent)
    assert isinstance(whole, Difference)
    see = [head_room.attending(features, room.White(one)) for one in pair]
    shown, total = head_room.streams(features, config, 5)[0], 0.0
    for number in range(8):
        one = shown.picture(number)
        altered, good = (see[one.source % 2](image)[0] for image in (one.altered, one.good))
        with torch.no_grad():
            total += float((whole.denoiser(altered) - good).square().mean())
    return total


def test_the_denoising_stream_learns_to_take_defects_away(features: Features) -> None:
    learnt = far(small(denoising=40, batch=4, channels=16), features)
    assert learnt < 0.97 * far(small(), features)  # with 12 parts most of it cannot be foretold


def test_deployed_it_has_fewer_than_16_million_parameters() -> None:
    """At 256 pixels: Lite0 to stride 32, and what each place is whitened with."""
    config = StlmEmbeddedConfig()
    weights = find_weights(config.backbone, None)
    lite0 = Frozen(config.backbone, config.taps, (256, 256), weights)
    kept = 24 + 40 + 112 + config.directions
    places = (32 // SHARE) ** 2 * (kept**2 + SHARE**2 * kept)  # a map a square, a mean a place
    denoiser = room.Denoiser(kept, config.channels)
    counted = sum(w.numel() for net in (lite0, denoiser) for w in net.parameters())
    assert 10_000_000 < counted + places < 16_000_000


def killed_before(step: int, training: int) -> Track:
    """Throws before a step of the first or second training."""
    begun: list[int] = []

    def track(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        if doing == "Training":
            begun.append(total)
        mine = len(begun)
        for number, item in enumerate(items):
            if doing == "Training" and mine == training and number == step:
                raise KilledError
            yield item

    return track


@pytest.mark.parametrize("training", [1, 2])
def test_a_killed_fit_goes_on_to_the_same_graph(
    training: int, features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    for module in (room, head_room):
        monkeypatch.setattr(module, "Plan", partial(Plan, check=2))
    config = small(steps=4, denoising=4)

    def fit(track: Track) -> bytes:
        return head_graph(Stlm, config, features, seed=3, track=track)

    expected = fit(silent)
    with pytest.raises(KilledError):
        fit(killed_before(3, training))
    assert len(list(tmp_path.glob("training/*.pt"))) == 1
    assert fit(silent) == expected
    assert not list(tmp_path.glob("training/*.pt"))
