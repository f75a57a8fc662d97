"""PatchCore against SciPy's distances, from features at hand."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from scipy.spatial.distance import cdist

import blemish
from blemish.cache import cache_folder
from blemish.errors import ConfigError, DataError, WeightsError
from blemish.fitting import fit_folder
from blemish.methods.padim import Stack
from blemish.methods.patchcore import Patchcore, PatchcoreConfig
from blemish.nets import spool
from blemish.nets.features import Features
from graphs import no_origin

SHAPES = ((3, 8, 8), (4, 4, 4))


@pytest.fixture
def features(tmp_path: Path) -> Features:
    """Five images of two taps, the first twice as fine as the second."""
    rng = np.random.default_rng(0)
    for number in range(5):
        values = [rng.normal(size=shape).astype(np.float32).ravel() for shape in SHAPES]
        np.concatenate(values).tofile(tmp_path / f"{number}.f32")
    return Features(
        files=tuple(tmp_path / f"{n}.f32" for n in range(5)), shapes=SHAPES, origin=no_origin(5)
    )


def seen(features: Features) -> np.ndarray:  # (N, D), image by image
    grids = Stack(None)(*(torch.from_numpy(tap) for tap in features.batch(range(len(features)))))
    return np.asarray(grids.flatten(2).transpose(1, 2).flatten(0, 1))


def test_the_paper_preset_is_the_papers() -> None:
    paper = Patchcore.presets["paper"]
    assert isinstance(paper, PatchcoreConfig)
    assert (paper.backbone, paper.taps, paper.size) == ("wide_resnet50_2", (8, 16), 224)
    assert (paper.share, paper.rows) == (0.1, 0)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_the_map_is_the_distance_to_the_nearest_row(features: Features, share: float) -> None:
    config = PatchcoreConfig(size=64, share=share, rows=0, neighbours=0)
    head = Patchcore(config).fit(features).head()
    rows = (head.nearest.columns.T + head.nearest.origin).numpy()
    good = seen(features)
    assert len(rows) == int(share * len(good))
    assert cdist(rows, good).min(1).max() < 1e-3  # every row is one of the features, unaltered
    new = tuple(torch.randn(1, *s, generator=torch.Generator().manual_seed(1)) for s in SHAPES)
    expected = cdist(head.stack(*new)[0].flatten(1).T, rows).min(1).reshape(8, 8)
    assert head(*new).numpy() == pytest.approx(expected, rel=1e-3)


def test_what_is_remembered_scores_nothing(features: Features) -> None:
    head = Patchcore(PatchcoreConfig(size=64, share=1.0, rows=0, neighbours=0)).fit(features).head()
    far = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    known = [torch.from_numpy(tap) for tap in features.batch([3])]
    assert head(*known).max() < 0.02 * head(far, known[1]).max()


@pytest.mark.parametrize(
    ("share", "rows", "expected"), [(0.1, 0, 32), (0.1, 7, 7), (0.5, 400, 160)]
)
def test_share_and_limit_make_the_memory(
    features: Features, share: float, rows: int, expected: int
) -> None:
    config = PatchcoreConfig(size=64, share=share, rows=rows)
    assert len(Patchcore(config).fit(features).head().nearest.lengths) == expected


def test_neighbours_weigh_the_whole_map(features: Features) -> None:
    taps = tuple(torch.randn(1, *s, generator=torch.Generator().manual_seed(1)) for s in SHAPES)
    with_weight, without = (
        Patchcore(PatchcoreConfig(size=64, neighbours=n)).fit(features).head()(*taps)
        for n in (4, 0)
    )
    share = with_weight / without
    assert share.max() - share.min() < 1e-4
    assert 0.1 < share.mean() < 0.99


def test_nothing_is_left_beside_the_cache(features: Features) -> None:
    Patchcore(PatchcoreConfig(size=64)).fit(features)
    assert list(cache_folder().glob(".points-*")) == []


def test_a_full_disk_is_said(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool.tempfile, "TemporaryDirectory", full)
    with pytest.raises(DataError, match=r"No space left on device\. Free some space"):
        Patchcore(PatchcoreConfig(size=64)).fit(features)


@pytest.mark.parametrize(
    ("setting", "value"), [("share", 0.0), ("share", 1.5), ("rows", -1), ("neighbours", -1)]
)
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .* but is {value}.*--set {setting}="):
        PatchcoreConfig(**{setting: value})


@pytest.mark.slow
def test_the_paper_preset_runs_end_to_end(demo: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("wide_resnet50_2").state_dict(), tmp_path / "random.pth")
    settings = {"size": 64, "weights": str(tmp_path / "random.pth")}
    model = fit_folder(demo, method="patchcore", preset="paper", settings=settings)
    found = blemish.load(model.save(tmp_path / "part.blemish")).inspect(
        demo / "test" / "speck" / "000.jpg"
    )
    assert found.map.shape == (300, 360)
    assert model.artifact.about["backbone"]["name"] == "wide_resnet50_2"


def test_the_paper_preset_says_how_to_get_its_weights(demo: Path) -> None:
    with pytest.raises(WeightsError, match=r"--set weights=path/to/wide_resnet50_2-95faca4d.pth"):
        fit_folder(demo, method="patchcore", preset="paper")
