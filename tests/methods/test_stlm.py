"""STLM: the released settings, what teaches what, and fits from photographs to maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import blemish
import blemish.methods.stlm as room
from blemish.data import open_data
from blemish.engines import open_engine
from blemish.errors import ConfigError, WeightsError
from blemish.export import to_onnx
from blemish.fitting import backbone_graph, fit_folder
from blemish.images import read_image
from blemish.methods.stlm import Stlm, StlmConfig, Streams, build, pictures
from blemish.nets import teachers
from blemish.nets.features import Features, extract
from blemish.nets.tinyvit import TinyViT
from blemish.settings import configure
from blemish.track import silent
from blemish.train import Plan
from sams import TinySam, mobilesam, saved, tiny_sam

T = TypeVar("T")
SAM = "sam_vit_h"
QUICK: dict[str, Any] = {"size": 64, "steps": 2, "batch": 2, "settled": 1}
PAPER = cast(StlmConfig, Stlm.presets["paper"])


class KilledError(Exception):
    """What a test throws into a fit."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    return {
        "weights": saved(tiny_sam(), folder / "tiny.pth"),
        "mobilesam": saved(mobilesam(), folder / "mobile.pt"),
    }


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "SamEncoder", TinySam)


def paper(files: dict[str, str], **changed: Any) -> StlmConfig:
    given = {"size": 64, "steps": 2, "epochs": 0, "width": 8, **files, **changed}
    config = configure(Stlm.presets["paper"], given)
    assert isinstance(config, StlmConfig)
    return config


def features_of(config: StlmConfig, demo: Path, folder: Path) -> Features:
    paths = [sample.image for sample in open_data(demo).train]
    return extract(backbone_graph(config), config.frame(), paths, folder, silent)[0]


@pytest.fixture(scope="module")
def looked(demo: Path, tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> Features:
    """Photographs that no backbone has seen."""
    return features_of(paper(files), demo, tmp_path_factory.mktemp("none"))


# settings


def test_the_paper_preset_is_the_released_code_to_the_letter() -> None:
    c = Stlm.presets["paper"]
    assert isinstance(c, StlmConfig)
    assert (c.backbone, c.taps, c.size, c.start) == (SAM, (), 1024, "decoder")
    assert (c.rate, c.body_rate, c.head_rate, c.focus, c.width) == (5e-4, 0.1, 0.01, 4, 128)
    assert (c.epochs, c.steps, c.batch, c.parts, c.cosine) == (200, 0, 2, 1, False)
    assert (c.kinds, c.own_texture, c.clean, c.rotation) == (("perlin",), 0, 0.5, "none")
    assert (c.precision, c.settled) == ("float32", 0)
    frame = c.frame()
    assert (frame.size, frame.fit, frame.interpolation) == ((1024, 1024), "stretch", "bilinear")
    assert round(frame.top * 1024**2) == 100
    assert frame.score(np.arange(1024**2, dtype=np.float32).reshape(1024, 1024)) == pytest.approx(
        np.arange(1024**2 - 100, 1024**2).mean()
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("taps", ()),
        ("kinds", ()),
        ("start", "decoder"),
        ("mobilesam", "mobile_sam.pt"),
        ("own_texture", 1.1),
        ("clean", 1.0),
        ("clean", -0.1),
        ("top", 1.5),
        ("batch", 0),
        ("parts", 0),
        ("parts", 3),
        ("width", 0),
        ("rate", 0.0),
        ("body_rate", 0.0),
        ("head_rate", -1.0),
        ("detail", -1.0),
        ("focus", -1.0),
        ("settled", -1),
        ("steps", -1),
        ("steps", 0),
        ("epochs", -1),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .* but is .*--set {setting}="):
        StlmConfig(**{setting: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"taps": (16,)}, "taps"),
        ({"size": 72}, "size"),
        ({"start": "nothing"}, "mobilesam"),
        ({"backbone": "mobile_sam"}, "mobilesam"),
        ({"epochs": 3}, "steps"),
    ],
)
def test_settings_that_do_not_go_with_sam_are_refused(
    changed: dict[str, Any], setting: str, files: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .*--set {setting}="):
        paper(files, **changed)


def test_the_paper_preset_says_how_to_get_its_weights(demo: Path, files: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match=r"--set weights=path/to/sam_vit_h_4b8939\.pth"):
        fit_folder(demo, method="stlm", preset="paper")
    config = paper({"weights": files["weights"]})
    with pytest.raises(
        WeightsError, match=r"'mobile_sam' needs its weights .*--set mobilesam=path"
    ):
        build(config, None)  # type: ignore[arg-type]
    assert list(config.pretrained()) == ["sam_vit_h", "mobile_sam"]
    assert list(paper({"weights": "x"}, start="nothing").pretrained()) == ["sam_vit_h"]


# the network


@pytest.fixture(scope="module")
def deployed() -> Streams:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        students = room.TinyViT(), room.TinyViT()
        return Streams(*students, room.SamDecoder(), room.Aggregation(512))


def test_the_deployed_network_has_the_papers_parameters(deployed: Streams) -> None:
    """The 16,518,569 of the facts leave out the 256 of "no mask given", which are learnt, too; the
    16,650,793 have an attention more, which nothing reads."""
    count = sum(weight.numel() for weight in deployed.parameters())
    assert count == 16_518_569 + 256
    assert count - 256 + 132_224 == 16_650_793


def reached(net: Streams, only: str) -> set[str]:
    """The parts of the network that one part of the loss teaches, on a made-up batch."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 64, generator=generator)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, :32] = 1
    shown, good = ([torch.randn(2, 256, 4, 4, generator=generator)] * 2 for _ in range(2))
    net.train().zero_grad()
    if only == "segmentation":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "distance", lambda *_: torch.zeros(()))
            room.loss(PAPER, net, (shown, good), image, mask).backward()
    else:
        plain, denoised = net.taps(image)
        pair = (shown, plain) if only == "plain" else (good, denoised)
        room.distance(*pair).backward()
    sums = {
        name: sum(float(w.grad.abs().sum()) for w in part.parameters() if w.grad is not None)
        for name, part in net.named_children()
    }
    net.zero_grad()
    return {name for name, total in sums.items() if total > 0}


@pytest.mark.parametrize(
    ("only", "parts"),
    [
        ("plain", {"plain", "decoder"}),
        ("denoising", {"denoising", "decoder"}),
        ("segmentation", {"plain", "denoising", "decoder", "aggregate"}),
    ],
)
def test_who_learns_from_what(deployed: Streams, only: str, parts: set[str]) -> None:
    assert reached(deployed, only) == parts


def test_the_segmentation_is_the_focal_loss_and_the_mean_error(deployed: Streams) -> None:
    """FL = mean((1 - p_t)^4 CE), L1 = mean|S - M|, on the grid of the map, in double precision."""
    net = deployed.eval()
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, :23] = 1  # of the second row of cells less than half, of the first all
    taps = [torch.ones(2, 256, 4, 4)]
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(net, "logits", lambda *_: logits)
        patch.setattr(net, "taps", lambda _: (taps, taps))
        found = room.loss(PAPER, net, (taps, taps), mask, mask)
    p = torch.sigmoid(logits.double())
    target = F.interpolate(mask, size=(4, 4), mode="bilinear") >= 0.5
    truth = torch.where(target, p, 1 - p)
    focal = ((1 - truth) ** 4 * -truth.log()).mean()
    l1 = (p - target.double()).abs().mean()
    assert float(found) == pytest.approx(float(focal + l1), rel=1e-5)
    assert target.sum() == 2 * 4


def test_two_optimisers_share_all_parameters(deployed: Streams) -> None:
    config = Stlm.presets["paper"]
    assert isinstance(config, StlmConfig)
    adam, sgd = room.optimisers(deployed, config)
    assert (adam.defaults["lr"], adam.defaults["betas"]) == (5e-4, (0.5, 0.999))
    assert adam.defaults["weight_decay"] == 0
    found = [(g["lr"], g["momentum"], g["weight_decay"]) for g in sgd.param_groups]
    assert found == [(0.1, 0.9, 1e-4), (0.01, 0.9, 1e-4)]
    groups = [g["params"] for one in (adam, sgd) for g in one.param_groups]
    sizes = [sum(w.numel() for w in group) for group in groups]
    assert sizes[1:] == [1_099_008, 771_457]
    given = [id(w) for group in groups for w in group]
    assert sorted(given) == sorted(id(w) for w in deployed.parameters())


# what students begin with


def starts(config: StlmConfig, features: Features) -> tuple[bool, bool]:
    """Whether decoder and both encoders are MobileSAM's."""
    net, _ = room.seeded(0, lambda: build(config, features))
    state, expected = mobilesam(), TinyViT()
    expected.load_state_dict(room.from_mobilesam(state))

    def same(part: torch.nn.Module, wanted: dict[str, torch.Tensor]) -> bool:
        own = part.state_dict()
        return all(torch.equal(own[name], value) for name, value in wanted.items())

    encoders = [same(one, expected.state_dict()) for one in (net.plain, net.denoising)]
    assert encoders[0] == encoders[1]
    return same(net.decoder, room.from_sam(state)), encoders[0]


@pytest.mark.parametrize(
    ("start", "found"),
    [("nothing", (False, False)), ("decoder", (True, False)), ("all", (True, True))],
)
def test_what_students_begin_with(
    start: str, found: tuple[bool, bool], files: dict[str, str], looked: Features
) -> None:
    given = {"weights": files["weights"]} if start == "nothing" else files
    assert starts(paper(given, start=start), looked) == found


def test_a_mobilesam_teacher_needs_no_second_file(files: dict[str, str], looked: Features) -> None:
    config = paper({"weights": files["mobilesam"]}, backbone="mobile_sam", start="all")
    assert starts(config, looked) == (True, True)


def test_streams_begin_apart(files: dict[str, str], looked: Features) -> None:
    net, _ = room.seeded(0, lambda: build(paper(files), looked))
    first, second = (one.patch_embed.conv1.conv.weight for one in (net.plain, net.denoising))
    assert not torch.equal(first, second)


# pictures


def test_half_of_the_pictures_are_clean_and_defects_are_drawn_textures(
    files: dict[str, str], looked: Features
) -> None:
    stream = pictures(paper(files), looked, 0)
    shown = [stream.picture(number) for number in range(60)]
    spoilt = [one for one in shown if one.mask.any()]
    assert 18 <= len(spoilt) <= 42
    assert all(np.array_equal(one.good, one.altered) for one in shown if not one.mask.any())
    made = stream.made_by("perlin")
    assert isinstance(made, partial)
    assert made.keywords["config"].own_texture == 0


# fits


def grids(head: torch.nn.Module, features: Features) -> np.ndarray[Any, Any]:
    image = features.origin.frame.to_model(read_image(features.origin.paths[0]))
    with torch.no_grad():
        return np.asarray(head(torch.from_numpy(image)).numpy())


@pytest.mark.slow
def test_the_paper_preset_runs_end_to_end(
    demo: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    """Random weights: what is promised is a fit, one graph of the image alone, and native maps."""
    settings = {"size": 64, "steps": 1, "epochs": 0, "width": 8, **files}
    model = fit_folder(demo, method="stlm", preset="paper", settings=settings, false_alarms=0.5)
    loaded = blemish.load(model.save(tmp_path / "part.blemish"))
    (entry,) = open_engine(loaded.artifact.graph).inputs
    assert (entry.name, entry.shape) == ("image", (1, 3, 64, 64))
    image = demo / "test" / "speck" / "000.jpg"
    found = loaded.inspect(image)
    assert np.array_equal(found.map, model.inspect(image).map)
    assert found.map.shape == (300, 360)
    assert 0 <= found.map.min() < found.map.max() <= 1
    ten = np.sort(found.map, axis=None)[-10:]  # of 300 x 360 pixels, as 100 are of 1024 x 1024
    assert found.score == pytest.approx(ten.mean(), rel=1e-6)


@pytest.mark.parametrize("size", [48, pytest.param(112, marks=pytest.mark.slow)])
def test_torch_and_runtime_agree_at_other_sizes(
    size: int, files: dict[str, str], looked: Features
) -> None:
    config = paper(files, size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(config, looked)[0].eval()
    for norm in net.modules():  # as after a training, so that maps are not of one value
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    image = torch.rand(1, 3, size, size)
    graph = graph_of(net, image)
    found = open_engine(graph).run({"image": image.numpy()})[0]
    with torch.no_grad():
        expected = net(image).numpy()
    assert found.shape == (size // 16, size // 16)
    assert expected.std() > 1e-6
    assert np.abs(found - expected).max() <= 1e-4 * expected.max()


def graph_of(net: torch.nn.Module, image: torch.Tensor) -> bytes:
    return to_onnx(net, (image,), ["image"], ["map"], {})


def test_what_a_teacher_keeps_changes_nothing(
    files: dict[str, str], looked: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, kept = paper(files, steps=4), []

    def fit(bytes_kept: int) -> np.ndarray[Any, Any]:
        with monkeypatch.context() as patch:
            original = room.SamTeacher

            def made(*given: Any, **named: Any) -> Any:
                kept.append(original(*given, **named, room=bytes_kept))
                return kept[-1]

            patch.setattr(room, "SamTeacher", made)
            return grids(Stlm(config).fit(looked).head(), looked)

    assert np.array_equal(fit(2**30), fit(0))
    assert [bool(one.good.kept) for one in kept] == [True, False]


@pytest.mark.parametrize("rotation", ["none", "quarters"])
def test_what_a_cnn_teacher_keeps_is_what_it_sees(
    rotation: str, demo: Path, tmp_path: Path
) -> None:
    config = configure(StlmConfig(**QUICK), {"rotation": rotation})
    features = features_of(config, demo, tmp_path)
    _, teacher = room.seeded(0, lambda: build(config, features))
    stream = pictures(config, features, 0)
    shown = [stream.picture(number) for number in range(24)]  # of 12 parts
    after, before = teacher.taps(teacher.prepare(shown))
    assert bool(teacher.good.kept) == (rotation == "none")
    engine = open_engine(features.origin.graph)
    for number, one in enumerate(shown):
        for found, image in ((after, one.altered), (before, one.good)):
            for tap, wanted in zip(found, engine.run({"image": image}), strict=True):
                assert np.allclose(tap[number].numpy(), wanted[0], atol=1e-4)


@pytest.mark.parametrize("start", ["nothing", "all"])
def test_students_of_a_cnn(start: str, demo: Path, tmp_path: Path) -> None:
    config = configure(StlmConfig(**QUICK), {"start": start})
    features = features_of(config, demo, tmp_path)
    net, teacher = room.seeded(0, lambda: build(config, features))
    assert sum(weight.numel() for weight in net.parameters()) < 16_000_000
    good = [pictures(config, features, 0).picture(0)]
    with torch.no_grad():
        plain, denoised = net.eval().taps(torch.from_numpy(good[0].good))
    seen = teacher.taps(teacher.prepare(good))[1]
    same = [torch.allclose(a, b, atol=1e-3) for a, b in zip(plain, seen, strict=True)]
    assert same == [start == "all"] * 3
    equal = [torch.equal(a, b) for a, b in zip(plain, denoised, strict=True)]
    assert equal == [start == "all"] * 3


# a fit that is killed


def killed_before(step: int) -> Any:
    def track(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        for number, item in enumerate(items):
            if doing == "Training" and number == step:
                raise KilledError
            yield item

    return track


def test_a_killed_fit_goes_on_to_the_same_weights(
    looked: Features, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "Plan", partial(Plan, check=2))
    config = paper(files, steps=4, parts=2, settled=1)
    file = room.checkpoint(config, looked, 3)

    def fit(
        track: Any,
    ) -> dict[str, torch.Tensor]:  # exporting them takes longer than learning them
        return Stlm(config).fit(looked, seed=3, track=track).head().state_dict()

    expected = fit(silent)
    with pytest.raises(KilledError):
        fit(killed_before(3))
    assert file.is_file()
    found = fit(silent)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not file.exists()


@pytest.mark.slow
def test_higher_is_worse_after_some_training(demo: Path) -> None:
    settings = {"size": 64, "steps": 150, "batch": 4}
    model = fit_folder(demo, method="stlm", settings=settings, false_alarms=0.5)
    good = read_image(demo / "test" / "good" / "000.jpg")
    spoilt = good.copy()
    spoilt[130:190, 150:210] = (255, 0, 255)
    clean, bad = model.inspect(good), model.inspect(spoilt)
    assert bad.score > clean.score
    y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 100 <= y < 220
    assert 105 <= x < 255
