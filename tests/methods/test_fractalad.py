"""FractalAD: what trains what, what it is trained on, and a training that survives being killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import timm
import torch

import blemish
import blemish.methods.fractalad as room
from blemish import parts
from blemish.data import open_data
from blemish.errors import ConfigError, WeightsError
from blemish.fitting import backbone_graph, fit_folder, head_graph
from blemish.images import read_image
from blemish.methods.base import checkpoint
from blemish.methods.fractalad import IDLE, Fractalad, FractaladConfig, streams
from blemish.nets.features import Features, extract
from blemish.nets.losses import dice_loss, focal_loss
from blemish.nets.sfnet import SFNet, enlarge
from blemish.nets.student import Distilled, StudentNetwork, apart, attend, distance
from blemish.settings import configure
from blemish.synth.stream import Picture, Stream
from blemish.track import silent
from blemish.train import Plan

T = TypeVar("T")
QUICK = {"size": 64, "steps": 2, "batch": 2, "patience": 0}
LITE0, TAPS, WIDTHS = "tf_efficientnet_lite0", (4, 8, 16, 32), (24, 40, 112, 320)


class KilledError(Exception):
    """What a test throws into a fit."""


def small(**changed: Any) -> FractaladConfig:
    return FractaladConfig(**{**QUICK, **changed})


@pytest.fixture(scope="module")
def features(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    config, folder = small(), tmp_path_factory.mktemp("features")
    paths = [sample.image for sample in open_data(demo).train]
    return extract(backbone_graph(config), config.frame(), paths, folder, silent)[0]


# settings


def test_the_paper_preset_is_the_released_code_to_the_letter() -> None:
    paper = Fractalad.presets["paper"]
    assert isinstance(paper, FractaladConfig)
    assert (paper.backbone, paper.taps, paper.size) == ("resnet18", (4, 8, 16, 32), 256)
    assert (paper.student, paper.kinds, paper.clean) == ("network", ("fractal",), 0)
    assert (paper.steps, paper.batch, paper.rate, paper.decay) == (1200, 32, 1e-3, 1e-3)
    assert (paper.cosine, paper.focus, paper.patience, paper.detail) == (False, 0, 0, 0)
    assert paper.frame().top == 1  # the mean of the whole map
    assert FractaladConfig().frame().top == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("taps", (4, 8, 16)),
        ("taps", (8, 16)),
        ("taps", (2, 4, 8, 32)),
        ("taps", (4, 8, 16, 32, 64)),
        ("kinds", ()),
        ("clean", 1.0),
        ("clean", -0.1),
        ("steps", 0),
        ("batch", 0),
        ("width", 0),
        ("directions", 0),
        ("rate", 0.0),
        ("ridge", 0.0),
        ("decay", -1.0),
        ("focus", -1.0),
        ("detail", -1.0),
        ("patience", -1),
        ("noise", -0.1),
        ("weight", -0.1),
        ("size", 48),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .* but is .*--set {setting}="):
        FractaladConfig(**{setting: value})  # type: ignore[arg-type]


def test_an_unknown_kind_of_defect_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"is 'fractale'. Did you mean fractal\?"):
        FractaladConfig(kinds=("scratch", "fractale"))


def test_an_unknown_student_is_refused() -> None:
    with pytest.raises(ConfigError, match="student must be"):
        configure(FractaladConfig(), {"student": "netwrok"})


@pytest.mark.parametrize(("student", "names"), IDLE.items())
def test_settings_without_an_effect_are_refused(student: str, names: tuple[str, ...]) -> None:
    assert bool(names) == (student != "places")
    for name in names:
        twice = 2 * getattr(FractaladConfig(), name)
        with pytest.raises(ConfigError, match=f"{name} must be .*nothing to {student}, but is"):
            configure(FractaladConfig(), {"student": student, name: twice})


# attention, and who learns from what


def random_taps(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    grids = zip(WIDTHS, (16, 8, 4, 2), strict=True)
    return tuple(torch.randn(2, c, side, side, generator=generator) for c, side in grids)


def test_attention_is_a_share_of_the_students_features_and_detached() -> None:
    teacher = random_taps(0)
    student = tuple(tap.requires_grad_() for tap in random_taps(1))
    for t, s, seen in zip(teacher, student, attend(teacher, student), strict=True):
        assert not seen.requires_grad
        a, b = t.double().numpy(), s.detach().double().numpy()
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        share = (1 - cosine[:, None]) / 2
        assert share.min() >= 0
        assert share.max() <= 1
        assert np.allclose(seen, share * b, atol=1e-5)


def test_attention_is_nothing_where_both_agree_and_all_where_they_oppose() -> None:
    taps = random_taps(0)
    for seen in attend(taps, tuple(3 * tap for tap in taps)):
        assert seen.abs().max() < 1e-5
    for tap, seen in zip(taps, attend(taps, tuple(-tap for tap in taps)), strict=True):
        assert torch.allclose(seen, -tap, atol=1e-5)


def test_the_distance_is_the_sum_of_mean_cosine_distances() -> None:
    first, second = random_taps(0), random_taps(1)
    parts = [
        1 - (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)
        for a, b in zip(first, second, strict=True)
    ]
    assert distance(first, second).item() == pytest.approx(sum(p.mean().item() for p in parts))
    assert apart(first[0], second[0]).shape == (2, 1, 16, 16)


@pytest.fixture(scope="module")
def distilled() -> Distilled:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Distilled(StudentNetwork(LITE0, TAPS), SFNet(WIDTHS))


def gradients(net: torch.nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def test_segmentation_never_trains_the_student(distilled: Distilled) -> None:
    distilled.train().zero_grad()
    image, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[:, :, :20] = 1
    full = enlarge(distilled.logits(image, *random_taps(0)), (64, 64))
    (focal_loss(full, mask, 0.0) + dice_loss(full, mask)).backward()
    assert all(gradient is None for gradient in gradients(distilled.student))
    assert sum(float(g.abs().sum()) for g in gradients(distilled.head) if g is not None) > 0


def test_distillation_never_trains_the_head(distilled: Distilled) -> None:
    distilled.train().zero_grad()
    distance(random_taps(0), distilled.student(torch.rand(2, 3, 64, 64))).backward()
    assert all(gradient is None for gradient in gradients(distilled.head))
    assert sum(float(g.abs().sum()) for g in gradients(distilled.student) if g is not None) > 0


def test_the_loss_of_a_fit_is_two_problems(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's gradients are those of the distillation on good pictures, alone."""
    caught: list[Any] = []
    monkeypatch.setattr(room, "train", lambda *given, **_: caught.extend(given))
    Fractalad(small(student="network", clean=0.0)).fit(features)
    net, loss_of, batch_of = caught[:3]
    batch = batch_of(0)
    assert [part.shape[0] for part in batch] == [2] * 11
    mask, good, altered, *taps = batch
    assert mask.any()
    assert not torch.equal(good, altered)
    net.train().zero_grad()
    loss_of(batch).backward()
    both = gradients(net.student)
    net.zero_grad()
    distance(taps[:4], net.student(good)).backward()
    for found, wanted in zip(both, gradients(net.student), strict=True):
        assert found is not None
        assert wanted is not None
        assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-7)


# made-up defects


def test_validation_is_on_parts_that_are_not_trained_on(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[int, ...], set[int]] = {}
    original = Stream.picture

    def picture(stream: Stream, index: int) -> Picture:
        made = original(stream, index)
        seen.setdefault(stream.seed, set()).add(made.source)
        return made

    monkeypatch.setattr(Stream, "picture", picture)
    monkeypatch.setattr(room, "UNSEEN_PICTURES", 12)
    Fractalad(small(steps=8, patience=1)).fit(features, seed=7)
    assert seen[7, 1] == {0, 11}
    assert len(seen[7, 0]) > 3
    assert not seen[7, 0] & seen[7, 1]


@pytest.mark.parametrize("patience", [0, 3])
def test_streams_share_the_images_out(features: Features, patience: int) -> None:
    shown, unseen = streams(features, small(patience=patience), 5)
    assert sorted(shown.chosen + unseen.chosen) == list(range(12))
    assert bool(unseen.chosen) == (patience > 0)
    assert shown.seed != unseen.seed
    for one in (shown, unseen):
        assert np.array_equal(one.read(1), read_image(features.origin.paths[1]))


# every student, from photographs to maps


@pytest.mark.parametrize("student", ["places", "network", "none"])
def test_every_student_fits_and_scores(
    demo: Path, tmp_path: Path, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "FEW", 5)  # one training, of the parts that are not spared
    settings = {**QUICK, "student": student}
    model = fit_folder(demo, method="fractalad", settings=settings, false_alarms=0.5, seed=1)
    loaded = blemish.load(model.save(tmp_path / "part.blemish"))
    image = demo / "test" / "speck" / "000.jpg"
    found, back = model.inspect(image), loaded.inspect(image)
    assert found.map.shape == (300, 360)
    assert found.map.dtype == np.float32
    assert np.isfinite(found.map).all()
    assert found.map.std() > 0
    assert np.array_equal(found.map, back.map)
    assert found.score == found.map.max()
    if student != "places":  # a probability
        assert found.map.min() >= 0
        assert found.map.max() <= 1


def test_a_distilled_student_sees_the_image_through_one_entry(features: Features) -> None:
    config = small(student="network")
    graph = head_graph(Fractalad, config, features, seed=0, track=silent)
    names = [entry.name for entry in room.open_engine(graph).inputs]
    assert names == ["image", "tap_4", "tap_8", "tap_16", "tap_32"]
    whole = room.join(features.origin.graph, graph)
    assert len(room.open_engine(whole).inputs) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_training_is_repeatable_and_leaves_the_global_generator_alone(
    features: Features, seed: int
) -> None:
    def state(given: int) -> torch.Tensor:
        head = Fractalad(small()).fit(features, seed=given).head()
        return torch.cat([value.ravel().float() for value in head.state_dict().values()])

    before = torch.get_rng_state()
    first = state(seed)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(state(seed), first)
    assert not torch.equal(state(seed + 1), first)


# a fit that is killed


def killed_before(step: int) -> Any:
    def track(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        for number, item in enumerate(items):
            if doing == "Training" and number == step:
                raise KilledError
            yield item

    return track


def test_a_killed_fit_goes_on_to_the_same_graph(
    features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "Plan", partial(Plan, check=2))
    monkeypatch.setattr(room, "UNSEEN_PICTURES", 4)
    config = small(steps=6, patience=9)
    file = checkpoint(config, features, 3)

    def fit(track: Any) -> bytes:
        return head_graph(Fractalad, config, features, seed=3, track=track)

    expected = fit(silent)
    assert not file.exists()
    with pytest.raises(KilledError):
        fit(killed_before(5))
    assert file.parent.parent == tmp_path
    assert file.is_file()
    told: list[int] = []

    def track(items: Iterable[T], doing: str, total: int, /) -> Iterator[T]:
        told.append(total)
        yield from items

    assert fit(track) == expected
    assert told == [2]  # of 6 steps, 4 were kept
    assert not file.exists()


def test_a_checkpoint_belongs_to_settings_seed_and_images(features: Features) -> None:
    keys = {
        checkpoint(small(), features, 0),
        checkpoint(small(rate=0.1), features, 0),
        checkpoint(small(), features, 1),
        checkpoint(small(), features.part(range(11)), 0),
        checkpoint(small(), features.part(list(reversed(range(12)))), 0),
    }
    assert len(keys) == 5
    assert checkpoint(small(), features.part(range(12)), 0) in keys


# the paper's preset


def test_the_paper_preset_says_how_to_get_its_weights(demo: Path) -> None:
    with pytest.raises(WeightsError, match=r"'resnet18' .* --set weights=path/to/resnet18"):
        fit_folder(demo, method="fractalad", preset="paper")


@pytest.mark.slow
def test_the_paper_preset_runs_end_to_end(demo: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "random.pth")
    settings = {"size": 64, "steps": 2, "batch": 2, "weights": str(tmp_path / "random.pth")}
    model = fit_folder(
        demo, method="fractalad", preset="paper", settings=settings, false_alarms=0.5
    )
    loaded = blemish.load(model.save(tmp_path / "part.blemish"))
    image = demo / "test" / "speck" / "000.jpg"
    found = loaded.inspect(image)
    assert np.array_equal(found.map, model.inspect(image).map)
    assert found.map.shape == (300, 360)
    assert found.map.min() >= 0
    assert found.map.max() <= 1
    assert found.score == pytest.approx(found.map.mean(), rel=1e-5)
    config = loaded.artifact.about["config"]
    assert (config["student"], config["kinds"], config["steps"]) == ("network", ["fractal"], 2)
