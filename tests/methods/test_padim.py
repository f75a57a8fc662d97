"""PaDiM against the paper's equations, in numpy, from features at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

import blemish
from blemish.errors import ConfigError, WeightsError
from blemish.fitting import fit_folder
from blemish.methods.padim import Padim, PadimConfig
from blemish.nets.features import Features
from graphs import no_origin

SHAPES = ((3, 8, 8), (4, 4, 4))


@pytest.fixture
def features(tmp_path: Path) -> Features:
    """Twenty images of two taps, the second half as fine as the first."""
    rng = np.random.default_rng(0)
    for number in range(20):
        values = [rng.normal(size=shape).astype(np.float32).ravel() for shape in SHAPES]
        np.concatenate(values).tofile(tmp_path / f"{number}.f32")
    return Features(
        files=tuple(tmp_path / f"{n}.f32" for n in range(20)), shapes=SHAPES, origin=no_origin(20)
    )


def test_the_paper_preset_is_the_papers() -> None:
    paper = Padim.presets["paper"]
    assert isinstance(paper, PadimConfig)
    assert (paper.backbone, paper.taps, paper.width) == ("resnet18", (4, 8, 16), 100)
    assert (paper.size, paper.share, paper.ridge) == (224, 1, 0.01)
    assert paper.directions == 0


@pytest.mark.parametrize("width", [0, 4])
def test_the_map_is_a_mahalanobis_distance_for_each_place(features: Features, width: int) -> None:
    head = Padim(PadimConfig(size=64, share=1, ridge=0.05, width=width)).fit(features).head()
    taps = tuple(torch.from_numpy(tap) for tap in features.batch(range(20)))
    # (20, D, 8, 8): stacked and pooled as the head itself sees them, channels chosen included
    seen = head.stack(*taps).double().numpy()
    assert seen.shape[1] == (width or 7)
    new = tuple(torch.randn(1, *s, generator=torch.Generator().manual_seed(1)) for s in SHAPES)
    image = head.stack(*new)[0].double().numpy()
    spread = np.stack([np.cov(seen[:, :, y, x].T) for y in range(8) for x in range(8)])
    ridge = 0.05 * np.diag(np.diagonal(spread, axis1=1, axis2=2).mean(0))
    found = head(*new)
    assert found.shape == (8, 8)
    for y in range(8):
        for x in range(8):
            off = image[:, y, x] - seen[:, :, y, x].mean(0)
            squared = off @ np.linalg.inv(spread[8 * y + x] + ridge) @ off
            assert found[y, x].item() == pytest.approx(squared**0.5, rel=1e-3)


def test_taps_are_stacked_on_the_finest_grid(features: Features) -> None:
    head = Padim(PadimConfig(size=64, share=1)).fit(features).head()
    first, second = (torch.from_numpy(tap) for tap in features.batch([0]))
    stacked = head.stack(first, second)
    assert stacked.shape == (1, 7, 8, 8)
    inside = slice(2, 6)  # away from borders, whose treatment is a choice
    pooled = F.avg_pool2d(first, 3, 1, 1)
    assert torch.allclose(stacked[:, :3, inside, inside], pooled[:, :, inside, inside], atol=1e-6)


@pytest.mark.parametrize("width", [0, 4])
def test_rows_are_the_stack_with_features_last(features: Features, width: int) -> None:
    stack = Padim(PadimConfig(size=64, share=1, width=width)).fit(features).head().stack
    taps = tuple(torch.from_numpy(tap) for tap in features.batch(range(2)))
    assert torch.equal(stack.rows(*taps), stack(*taps).permute(0, 2, 3, 1))


@pytest.mark.parametrize("directions", [7, 48])
def test_as_many_directions_as_features_are_all(features: Features, directions: int) -> None:
    taps = tuple(torch.from_numpy(tap) for tap in features.batch([0]))
    kept, whole = (
        Padim(PadimConfig(size=64, share=2, directions=count)).fit(features).head()(*taps)
        for count in (directions, 0)
    )
    assert torch.equal(kept, whole)


def test_fewer_directions_are_near_to_all_and_cost_less(features: Features) -> None:
    taps = tuple(torch.from_numpy(tap) for tap in features.batch([0]))
    heads = [
        Padim(PadimConfig(size=64, share=1, directions=count)).fit(features).head()
        for count in (6, 4, 0)
    ]
    (most, fewer, whole), sizes = zip(
        *((head(*taps), sum(one.numel() for one in head.buffers())) for head in heads), strict=True
    )
    assert torch.allclose(most, whole, rtol=1e-3)  # of seven one is left, a level of its own
    assert not torch.allclose(fewer, whole, rtol=1e-3)
    assert torch.allclose(fewer, whole, rtol=0.5)
    assert sizes[1] < sizes[0]


def test_the_seed_chooses_the_features_kept(features: Features) -> None:
    def kept(seed: int, width: int = 3) -> list[int] | None:
        config = PadimConfig(size=64, share=1, width=width)
        keep = Padim(config).fit(features, seed=seed).head().stack.keep
        return None if keep is None else keep.tolist()

    assert kept(0) == kept(0)
    assert len({tuple(kept(seed) or ()) for seed in range(6)}) > 1
    for seed in range(6):
        chosen = kept(seed)
        assert chosen is not None
        assert chosen == sorted(set(chosen))
        assert set(chosen) <= set(range(7))
    assert kept(0, width=0) is kept(0, width=7) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [("share", 0), ("share", 9), ("ridge", 0.0), ("ridge", -1.0), ("width", -1), ("size", 60),
     ("directions", -1)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .* but is {value}.*--set {setting}="):
        PadimConfig(**{setting: value})


@pytest.mark.parametrize("taps", [(), (16, 8), (8, 8), (0, 8), (-8, 8)])
def test_taps_must_be_ascending_strides(taps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="taps must be"):
        PadimConfig(taps=taps)


@pytest.mark.parametrize("setting", ["ridge", "share", "width", "directions"])
def test_every_setting_has_an_effect(features: Features, setting: str) -> None:
    base = PadimConfig(size=64, share=1)
    changed = PadimConfig(**{"size": 64, "share": 1, setting: {"ridge": 0.5}.get(setting, 2)})
    taps = tuple(torch.from_numpy(tap) for tap in features.batch([0]))
    first, second = (Padim(config).fit(features).head()(*taps) for config in (base, changed))
    assert not torch.allclose(first, second, rtol=1e-3)


def test_the_paper_preset_runs_end_to_end(demo: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "random.pth")
    settings = {"size": 64, "weights": str(tmp_path / "random.pth")}
    good = tmp_path / "good"
    good.mkdir()
    for path in sorted((demo / "train" / "good").iterdir())[:4]:
        shutil.copy(path, good)
    model = fit_folder(good, method="padim", preset="paper", settings=settings)
    loaded = blemish.load(model.save(tmp_path / "part.blemish"))
    image = demo / "test" / "speck" / "000.jpg"
    found = loaded.inspect(image)
    assert np.array_equal(found.map, model.inspect(image).map)
    assert found.map.shape == (300, 360)
    assert loaded.artifact.about["backbone"]["name"] == "resnet18"
    assert loaded.artifact.about["preset"] == "paper"
    again = fit_folder(good, method="padim", preset="paper", settings=settings, seed=1)
    assert again.artifact.graph != model.artifact.graph  # other features are kept


def test_the_paper_preset_says_how_to_get_its_weights(demo: Path) -> None:
    with pytest.raises(WeightsError, match=r"'resnet18' .* --set weights=path/to/resnet18"):
        fit_folder(demo, method="padim", preset="paper")
