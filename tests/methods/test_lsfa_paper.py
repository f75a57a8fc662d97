"""LSFA's preset "paper": its numbers, and the whole way on made-up weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

import blemish
from blemish import fitting, groups, parts
from blemish.data import open_data
from blemish.data.demo3d import make_demo3d
from blemish.engines import entries, open_engine
from blemish.errors import ConfigError, WeightsError
from blemish.fitting import backbone_graph, choose, fit_folder
from blemish.frame import Frame
from blemish.images import read_image
from blemish.methods.lsfa import Lsfa, LsfaConfig
from blemish.methods.lsfa_head import Cells
from blemish.nets import points
from blemish.nets.adaptor import Adaptor
from blemish.nets.features import shown
from blemish.nets.frozen import Frozen
from blemish.nets.points import PointMae, Shapes, read_point_mae
from blemish.nets.pretrained import BACKBONES, PRETRAINED
from blemish.provenance import require_cleared
from blemish.runtime import Inspector
from blemish.shots import POINTS, read_shot

VIT, TINY = "vit_base_patch8_224.dino", "vit_tiny_patch16_224"
QUICK: dict[str, Any] = {"size": 64, "grid": 8, "steps": 3, "batch": 2, "compared": 64, "joint": 8}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight good parts, photographed and scanned, and one of each defect."""
    folder = tmp_path_factory.mktemp("pairs") / "set"
    return make_demo3d(folder, train_good=8, test_good=1, per_defect=1) / "loaf"


@pytest.fixture(scope="module")
def point_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point-MAE with made-up weights, as its release has them."""
    return saved(tmp_path_factory, "point_mae", PointMae)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """12 blocks of 192 features in ViT-B/8's place, and 32 groups of 16 points."""
    with pytest.MonkeyPatch.context() as patch:
        for table in (BACKBONES, PRETRAINED):
            patch.setitem(table, TINY, replace(BACKBONES[VIT], name=TINY))
        sized(patch, 32, 16)
        yield saved(tmp_path_factory, TINY, lambda: vit(TINY, 64))


@pytest.fixture(scope="module")
def model(pairs: Path, tiny: Path, point_mae: Path) -> Inspector:
    return paper(pairs, tiny, point_mae, backbone=TINY)


def sized(patch: pytest.MonkeyPatch, count: int, size: int) -> None:
    """So many groups of so many points."""
    for room in (groups, points, fitting):
        patch.setattr(room, "GROUPS", count)
        patch.setattr(room, "SIZE", size)


def vit(name: str, size: int) -> nn.Module:
    net: nn.Module = timm.create_model(name, img_size=size, num_classes=0)
    return net


def saved(factory: pytest.TempPathFactory, name: str, build: Any) -> Path:
    file = factory.mktemp("weights") / f"{name}.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(build().state_dict(), file)
    return file


def paper(data: Path, weights: Path, point_mae: Path | None, **settings: Any) -> Inspector:
    files = {"weights": str(weights)} | ({"point_mae": str(point_mae)} if point_mae else {})
    chosen = {**QUICK, **files, **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FEW", 5)  # one fit instead of four
        return fit_folder(data, method="lsfa", preset="paper", settings=chosen, false_alarms=0.5)


# the numbers


def test_the_preset_is_the_paper() -> None:
    config = Lsfa.presets["paper"]
    assert isinstance(config, LsfaConfig)
    assert (config.backbone, config.taps, config.size) == (VIT, (11,), 224)
    assert (config.points, config.grid, groups.GROUPS, groups.SIZE) == ("groups", 56, 1024, 128)
    assert (groups.SIDE, points.TAPS) == (224, (3, 7, 11))
    assert (config.rate, config.batch, config.steps) == (2e-3, 8, 2 * -(-2656 // 8))
    assert (config.queue, config.images, config.joint) == (60_000, 100, 512)
    assert (config.agree, config.alike, config.compact, config.whole) == (1, 1, 1, 1)
    assert (config.compared, config.cap, config.prototype) == (0, 0, "kmeans")
    assert (config.share, config.rows, config.neighbours) == (0.1, 0, 3)
    assert (config.ridge, config.shape_ridge, config.still, config.patience) == (0, 0, False, 0)
    assert (config.fusion, config.temperature) == ("average", 1)
    assert config.frame().interpolation == "bicubic"


@pytest.mark.parametrize(("width", "millions"), [(768, 7.1), (1152, 15.9)])
def test_adaptors_have_the_papers_parameters(width: int, millions: float) -> None:
    net = Adaptor(width, 12, still=False)
    assert sum(one.numel() for one in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert net.qkv.bias is None
    assert net.fc1.out_features == 4 * width


def test_the_maps_blur_is_a_gaussian_of_four_pixels() -> None:
    frame = Frame(size=(224, 224), boxes=Lsfa.presets["paper"].frame().boxes)
    spot = np.zeros((101, 101), np.float32)
    spot[50, 50] = 1
    blurred = frame.to_native(spot, (101, 101)).astype(np.float64)
    away = np.arange(101) - 50.0
    assert blurred.sum() == pytest.approx(1, rel=1e-5)
    assert (blurred.sum(0) * away**2).sum() == pytest.approx(16, rel=1e-4)
    gaussian = np.exp(-(away**2) / 32) / np.sqrt(32 * np.pi)
    assert np.abs(blurred.sum(0) - gaussian).max() < 0.04 * gaussian.max()


def test_a_transformers_tokens_are_repeated_as_they_are() -> None:
    tap = torch.arange(8.0).reshape(1, 2, 2, 2)
    grid = Cells(4, smooth=False)(tap)
    assert torch.equal(grid, tap.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_boxes_of_even_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"boxes must be pairs .* but is \(\(4, 1\),\)"):
        LsfaConfig(boxes=((4, 1),))


# the whole way


def test_photographs_and_scans_enter_one_graph(pairs: Path, tiny: Path, point_mae: Path) -> None:
    files = {"weights": str(tiny), "point_mae": str(point_mae), "backbone": TINY}
    _, config = choose("lsfa", "paper", {**QUICK, **files})
    samples = open_data(pairs).train
    sight = config.sight(samples)
    assert sight is not None
    assert (sight.points, sight.modalities) == ("groups", ("photograph", POINTS))
    fed = sight.feed(config.frame(), read_shot(samples[0])[0])
    engine = open_engine(backbone_graph(config, sight))
    assert list(entries(engine)) == ["image", "centres", "groups", "mix"]
    tap, shape, seen = shown(engine, fed)
    assert (tap.shape, shape.shape, seen.shape) == ((1, 192, 4, 4), (1152, 8, 8), (1, 8, 8))
    with torch.no_grad():
        given = {name: torch.from_numpy(one) for name, one in fed.items()}
        (image,) = Frozen(TINY, (11,), (64, 64), tiny)(given["image"])
        scan = Shapes(read_point_mae(point_mae), 8)(*(given[n] for n in list(entries(engine))[1:]))
    assert np.allclose(tap, image.numpy(), atol=1e-3 * float(image.abs().max()))
    assert np.allclose(shape, scan[0].numpy(), atol=1e-3 * float(scan.abs().max()))


def test_it_inspects_with_either_or_both(model: Inspector, pairs: Path, tmp_path: Path) -> None:
    assert_inspects(model, pairs, tmp_path)
    assert set(entries(open_engine(model.artifact.graph))) == {
        "image", "centres", "groups", "mix", "seen", "present"
    }  # fmt: skip
    weights = {one["name"]: one["commercial"] for one in model.artifact.about["weights"]}
    assert weights == {TINY: False, "point_mae": False}  # no published files


def assert_inspects(model: Inspector, pairs: Path, folder: Path) -> None:
    """Scores of parts with and without each modality, and to the bit the same once loaded."""
    again = blemish.load(model.save(folder / "part.blemish"))
    photograph = pairs / "test" / "hole" / "rgb" / "000.png"
    scan = pairs / "test" / "hole" / "xyz" / "000.tiff"
    pixels = read_image(photograph)
    both, light, depth = (
        model.inspect(photograph),
        model.inspect(pixels),
        model.inspect(None, points=scan),
    )
    missing = [found.missing for found in (both, light, depth)]
    assert missing == [(), (POINTS,), ("photograph",)]
    assert len({found.score for found in (both, light, depth)}) == 3
    for found in (both, light, depth):
        assert found.map.shape == (224, 224)
        assert np.isfinite(found.map).all()
        assert found.score == pytest.approx(found.map.max())
    assert np.array_equal(again.inspect(photograph).map, both.map)
    assert np.array_equal(again.inspect(pixels).map, light.map)
    assert np.array_equal(again.inspect(None, points=scan).map, depth.map)


def test_photographs_alone_need_no_point_mae(demo: Path, tiny: Path) -> None:
    model = paper(demo, tiny, None, backbone=TINY)
    assert [one["name"] for one in model.artifact.about["weights"]] == [TINY]
    assert model.artifact.sight is None
    assert model.inspect(demo / "test" / "speck" / "000.jpg").map.shape == (300, 360)


def test_scans_need_point_mae_and_say_so(pairs: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--set point_mae=path/to/pretrain\.pth"):
        paper(pairs, tiny, None, backbone=TINY)
    with pytest.raises(WeightsError, match="point_mae must be a file"):
        paper(pairs, tiny, tmp_path / "none.pth", backbone=TINY)


def test_commercial_use_is_refused_for_point_maes_sake() -> None:
    with pytest.raises(WeightsError, match="those of 'point_mae' are not"):
        require_cleared(choose("lsfa", "paper", {})[1])


@pytest.mark.slow
def test_the_paper_preset_runs_end_to_end(
    pairs: Path,
    point_mae: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ViT-B/8, and 1,024 groups of 128 points."""
    sized(monkeypatch, 1024, 128)
    weights = saved(tmp_path_factory, VIT, lambda: vit(VIT, 64))
    model = paper(pairs, weights, point_mae, grid=16, fusion="svm", prototype="mean", cap=50.0)
    assert_inspects(model, pairs, tmp_path)
    config = model.artifact.about["config"]
    assert (config["backbone"], config["points"], config["heads"]) == (VIT, "groups", 12)
