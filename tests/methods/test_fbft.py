"""FBFT: the released configuration to the letter, and its formulas derived a second way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

import blemish
import blemish.runtime
from blemish.errors import ConfigError, WeightsError
from blemish.fitting import fit_folder
from blemish.methods.fbft import (
    IDLE,
    Fbft,
    FbftConfig,
    Student,
    Transfer,
    whitened_residual,
)
from blemish.nets.features import Features
from blemish.nets.gaussian import Places
from blemish.nets.pretrained import BACKBONES, PRETRAINED
from blemish.settings import configure
from graphs import no_origin

Array = npt.NDArray[np.float64]
VIT = "vit_base_patch14_reg4_dinov2"


def test_the_paper_preset_is_the_released_code_to_the_letter() -> None:
    paper = Fbft.presets["paper"]
    assert isinstance(paper, FbftConfig)
    assert (paper.backbone, paper.taps, paper.size) == (VIT, (7, 11), 1036)
    assert (paper.students, paper.epochs, paper.batch, paper.rate) == ("mlp", 50, 4, 1e-4)
    frame = paper.frame()
    assert (frame.size, frame.fit, frame.interpolation) == ((1036, 1036), "pad", "bicubic")
    assert frame.boxes == ((5, 5), (7, 3))  # five passes of 5 x 5, then three of 7 x 7
    assert frame.top == 0.001


def test_a_student_has_the_papers_parameters() -> None:
    student = Student(768, 768)
    assert sum(parameter.numel() for parameter in student.parameters()) == 1_771_776
    kinds = [type(module).__name__ for module in student]
    assert kinds == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    assert [module.approximate for module in student if isinstance(module, torch.nn.GELU)] == [
        "none",
        "none",
    ]
    widths = [(m.in_features, m.out_features) for m in Student(40, 20) if hasattr(m, "in_features")]
    assert widths == [(40, 30), (30, 30), (30, 20)]


def by_hand(student: Student, rows: Array) -> Array:
    """A student in numpy: three linear layers with the exact GELU between."""
    from scipy.special import erf

    first, _, second, _, third = student
    for number, layer in enumerate((first, second, third)):
        weight, bias = (p.detach().double().numpy() for p in layer.parameters())
        rows = rows @ weight.T + bias
        if number < 2:
            rows = rows * (1 + erf(rows / np.sqrt(2))) / 2
    return rows


def cosines(a: Array, b: Array) -> Array:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def both_cosines(net: Transfer, taps: tuple[torch.Tensor, ...]) -> tuple[Array, Array]:
    near, far = (tap.permute(0, 2, 3, 1).reshape(-1, tap.shape[1]).double().numpy() for tap in taps)
    return cosines(by_hand(net.ahead, near), far), cosines(by_hand(net.back, far), near)


def transfer(near: int, far: int) -> Transfer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Transfer(near, far)


def taps_of(batch: int, near: int, far: int, h: int, w: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(batch, c, h, w, generator=generator) for c in (near, far))


@pytest.mark.parametrize(("near", "far"), [(8, 8), (6, 10)])
def test_the_map_is_the_product_of_both_discrepancies(near: int, far: int) -> None:
    net, taps = transfer(near, far), taps_of(1, near, far, 3, 5)
    ahead, back = both_cosines(net, taps)
    # |n(a) - n(b)| = sqrt(2 - 2 cos)
    expected = np.sqrt(2 - 2 * ahead) * np.sqrt(2 - 2 * back)
    with torch.no_grad():
        found = net(*taps)
    assert found.shape == (3, 5)
    assert np.allclose(found.numpy().ravel(), expected, rtol=1e-4)


def test_the_loss_is_both_mean_cosine_distances() -> None:
    net, taps = transfer(8, 8), taps_of(4, 8, 8, 3, 5)
    ahead, back = both_cosines(net, taps)
    expected = (1 - ahead.mean()) + (1 - back.mean())
    assert net.loss(taps).item() == pytest.approx(expected, rel=1e-5)


def test_perfect_students_give_a_map_of_zeros() -> None:
    net = transfer(4, 4)
    for student in (net.ahead, net.back):
        for parameter in student.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.ones_(student[4].bias)  # says (1, 1, 1, 1), whatever it sees
    taps = (torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), 0.5))
    with torch.no_grad():
        assert net(*taps).abs().max() < 1e-6
        assert net.loss(taps).item() == pytest.approx(0, abs=1e-6)


def places_of(covariance: Array, rows: int) -> Places:
    return Places(
        mean=torch.zeros(1, 1, len(covariance)),
        covariance=torch.from_numpy(covariance)[None].float(),
        rows=rows,
        grid=(1, 1),
        side=1,
    )


def explicit(rows: Array, source: int, penalty: float, ridge: float) -> Array:
    """Squared whitened residual of an explicit ridge regression, by augmented least squares."""
    n = len(rows)
    x, y = rows[:, :source], rows[:, source:]
    level = np.cov(x.T).reshape(source, source).trace() / source
    calm = np.sqrt(penalty / n * level * (n - 1)) * np.eye(source)
    padded = np.concatenate([y, np.zeros((source, y.shape[1]))])
    weights, *_ = np.linalg.lstsq(np.concatenate([x, calm]), padded, rcond=None)
    left = y - x @ weights
    spread = left.T @ left / (n - 1)
    spread += ridge * np.diag(np.diag(spread))
    return np.einsum("ni,ij,nj->n", left, np.linalg.inv(spread), left) / y.shape[1]


@given(
    source=st.integers(1, 4),
    target=st.integers(1, 4),
    penalty=st.sampled_from([0.0, 1.0, 100.0]),
    ridge=st.sampled_from([1e-3, 0.1]),
    seed=st.integers(0, 2**16),
)
def test_linear_students_are_a_regression_and_its_whitened_residual(
    source: int, target: int, penalty: float, ridge: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, source + target)) @ rng.normal(size=2 * (source + target,))
    rows += 0.5 * rng.normal(size=rows.shape)
    rows -= rows.mean(0)
    places = places_of(np.cov(rows.T), len(rows))
    net = whitened_residual(places, source, penalty=penalty, ridge=ridge)
    seen = torch.from_numpy(rows).float()
    found = torch.stack([net(row.reshape(1, -1, 1, 1))[0, 0] for row in seen[:20]])
    assert np.allclose(found, explicit(rows, source, penalty, ridge)[:20], rtol=2e-2, atol=1e-3)


def test_a_discrepancy_of_good_parts_is_one_on_average() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    rows -= rows.mean(0)
    net = whitened_residual(places_of(np.cov(rows.T), 500), 4, penalty=0.0, ridge=1e-6)
    seen = torch.from_numpy(rows).float()
    found = [net(row.reshape(1, -1, 1, 1)).item() for row in seen]
    assert np.mean(found) == pytest.approx(1, rel=1e-2)


@pytest.fixture
def features(tmp_path: Path) -> Features:
    """Eight images of two taps of one grid, as a ViT gives them; the deep one follows the other."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6)).astype(np.float32)
    for number in range(8):
        near = rng.normal(size=(6, 4, 4)).astype(np.float32)
        far = np.einsum("dc,chw->dhw", mix, near)
        np.concatenate([near.ravel(), far.ravel()]).tofile(tmp_path / f"{number}.f32")
    shapes = ((6, 4, 4), (6, 4, 4))
    return Features(
        files=tuple(tmp_path / f"{n}.f32" for n in range(8)), shapes=shapes, origin=no_origin(8)
    )


def mlp(**changed: Any) -> FbftConfig:
    return FbftConfig(**{"students": "mlp", "epochs": 3, "rate": 1e-2, **changed})


def state(features: Features, seed: int = 0, **changed: Any) -> torch.Tensor:
    head = Fbft(mlp(**changed)).fit(features, seed=seed).head()
    return torch.cat([value.ravel() for value in head.state_dict().values()])


def test_training_is_repeatable_and_leaves_the_global_generator_alone(features: Features) -> None:
    before = torch.get_rng_state()
    first = state(features)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(state(features), first)
    assert not torch.equal(state(features, seed=1), first)


@pytest.mark.parametrize(("setting", "value"), [("epochs", 4), ("batch", 3), ("rate", 2e-2)])
def test_every_setting_of_the_training_has_an_effect(
    features: Features, setting: str, value: float
) -> None:
    assert not torch.equal(state(features), state(features, **{setting: value}))


def test_trained_students_tell_a_broken_transfer(features: Features) -> None:
    head = Fbft(mlp(epochs=150)).fit(features).head()
    near, far = (torch.from_numpy(tap) for tap in features.batch([0]))
    with torch.no_grad():
        good = head(near, far)
        broken = far.clone()
        broken[:, :, 2, 1] *= -1
        map = head(near, broken)
    assert map.argmax().item() == 2 * 4 + 1
    assert map[2, 1] > 4 * good.max()
    untouched = torch.ones(4, 4, dtype=torch.bool)
    untouched[2, 1] = False
    assert torch.allclose(map[untouched], good[untouched], atol=1e-5)


def test_perceptrons_need_two_taps_of_one_grid(tmp_path: Path) -> None:
    features = Features(
        files=(tmp_path / "0.f32",), shapes=((3, 4, 4), (5, 2, 2)), origin=no_origin(1)
    )
    with pytest.raises(ConfigError, match=r"two taps of the same grid.*\[4, 4\] and \[2, 2\]"):
        Fbft(mlp()).fit(features)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("taps", (8,)),
        ("taps", (8, 16, 32)),
        ("taps", (4, 16)),
        ("share", 0),
        ("share", 10),
        ("penalty", -1.0),
        ("ridge", 0.0),
        ("epochs", 0),
        ("batch", 0),
        ("rate", 0.0),
        ("top", 1.5),
        ("top", -0.1),
        ("boxes", ((4, 1),)),
        ("boxes", ((5, 0),)),
        ("size", 260),
        ("size", 16),
        ("size", 5000),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be .* but is .*--set {setting}="):
        FbftConfig(**{setting: value})


def test_one_pass_of_a_box_is_allowed() -> None:
    assert FbftConfig(boxes=((5, 1),)).frame().boxes == ((5, 1),)


def test_the_paper_preset_says_how_to_get_its_weights(demo: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        fit_folder(demo, method="fbft", preset="paper")
    for word in (VIT, "dinov2_vitb14_reg4_pretrain.pth", "--set weights=path/to/", "Apache-2.0"):
        assert word in str(caught.value)


@pytest.fixture(scope="module")
def random_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised ViT-B/14 with registers, kept as the release keeps its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = timm.create_model(VIT, img_size=56, num_classes=0)
    file = tmp_path_factory.mktemp("vit") / "dinov2_vitb14_reg4_pretrain.pth"
    torch.save(net.state_dict(), file)
    return file


def paper(data: Path, weights: Path, size: int, **kwargs: Any) -> blemish.runtime.Inspector:
    settings = {"size": size, "epochs": 1, "weights": str(weights)}
    return fit_folder(data, method="fbft", preset="paper", settings=settings, **kwargs)


def test_the_paper_preset_runs_on_a_small_vit(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same road as below in a twentieth of the time: 12 blocks of 192 features."""
    name = "vit_tiny_patch16_224"
    for table in (BACKBONES, PRETRAINED):
        monkeypatch.setitem(table, name, replace(BACKBONES[VIT], name=name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = timm.create_model(name, img_size=64, num_classes=0)
    torch.save(net.state_dict(), tmp_path / "random.pth")
    settings = {"backbone": name, "size": 64, "epochs": 1, "weights": str(tmp_path / "random.pth")}
    model = fit_folder(
        demo, method="fbft", preset="paper", settings=settings, false_alarms=0.5, seed=1
    )
    again = blemish.load(model.save(tmp_path / "part.blemish"))
    image = demo / "test" / "speck" / "000.jpg"
    assert np.array_equal(model.inspect(image).map, again.inspect(image).map)
    assert 0 <= again.inspect(image).score <= 4


@pytest.mark.parametrize(("students", "names"), IDLE.items())
def test_settings_without_an_effect_are_refused(students: str, names: tuple[str, ...]) -> None:
    for name in names:
        twice = 2 * getattr(FbftConfig(), name)
        with pytest.raises(ConfigError, match=f"{name} must be .*nothing to {students}, but is"):
            configure(FbftConfig(), {"students": students, name: twice})


@pytest.mark.slow
@pytest.mark.parametrize("size", [56, 98])
def test_the_paper_preset_runs_end_to_end(
    demo: Path, random_vit: Path, tmp_path: Path, size: int
) -> None:
    model = paper(demo, random_vit, size, false_alarms=0.5)
    loaded = blemish.load(model.save(tmp_path / "part.blemish"))
    for name in ("good", "speck"):
        image = demo / "test" / name / "000.jpg"
        found, back = model.inspect(image), loaded.inspect(image)
        assert found.map.shape == (300, 360)
        assert found.map.min() >= 0  # a product of two lengths
        assert found.map.max() <= 4 + 1e-5
        assert np.array_equal(found.map, back.map)
        highest = np.sort(found.map.ravel())[-108:]  # 0.1 % of 300 x 360 pixels
        assert back.score == pytest.approx(highest.mean(), rel=1e-6)
    config = loaded.artifact.about["config"]
    assert (config["taps"], config["students"], config["size"]) == ([7, 11], "mlp", size)
