"""A folder of good photographs → an Inspector: splits, calibration, refusals, what is recorded."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import blemish
from blemish import fitting, parts
from blemish.artifact import open_artifact
from blemish.cache import cache_folder, trim
from blemish.engines import open_engine
from blemish.errors import ConfigError, DataError, ExportError
from blemish.export import check_join, check_parity, join, settle, to_onnx
from blemish.fitting import backbone_graph, choose, fit_folder, writable
from blemish.levels import find_white
from blemish.methods import METHODS
from blemish.methods.base import tap_names
from blemish.runtime import Inspector

SMALL = {"size": 64}


@pytest.fixture
def good(demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo / "train" / "good", tmp_path / "good"))


def test_three_lines_of_python(good: Path, demo: Path, tmp_path: Path) -> None:
    model = blemish.fit(good, settings=SMALL)
    model.save(tmp_path / "part.blemish")
    found = blemish.load(tmp_path / "part.blemish").inspect(demo / "test/speck/000.jpg")
    assert isinstance(found, blemish.Prediction)
    assert found.verdict in ("good", "defect")


def test_few_parts_are_cross_fitted(model: Inspector) -> None:
    calibration, data = model.artifact.calibration, model.artifact.about["data"]
    assert calibration.how == "cross-fitted"
    assert len(calibration.scores) == 12  # every part has a score
    assert data["fitted"] == data["used"] == 12


def test_parts_are_spared_when_that_is_enough(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FEW", 5)
    # Two of twelve: 1 / (2 + 1) is the lowest rate they can express.
    model = fit_folder(good, settings=SMALL, false_alarms=0.34)
    calibration, data = model.artifact.calibration, model.artifact.about["data"]
    assert calibration.how == "held out"
    assert len(calibration.scores) == 2
    assert (data["fitted"], data["used"]) == (10, 12)
    below = fit_folder(good, settings=SMALL, false_alarms=0.33)
    assert below.artifact.calibration.how == "cross-fitted"


def test_one_seed_deals_alike_and_scores_alike(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # That a method learns the same of the same parts is the contract's; this is about the folds.
    monkeypatch.setattr(parts, "FEW", 5)
    first, same, other = (fit_folder(good, settings=SMALL, seed=s).artifact for s in (0, 0, 1))
    assert first.calibration.how == "cross-fitted"
    assert first.calibration == same.calibration
    assert first.graph == same.graph
    assert first.calibration.scores != other.calibration.scores


@pytest.mark.parametrize(
    ("count", "rate", "trained", "how", "sizes"),
    [
        (12, 0.01, False, "cross-fitted", [1] * 12),  # each is left out by itself
        (40, 0.9, False, "cross-fitted", [1] * 40),
        (12, 0.01, True, "cross-fitted", [4] * 3),  # thirds, where a fit takes minutes
        (40, 0.9, True, "cross-fitted", [14, 13, 13]),
        (41, 0.5, False, "held out", [8]),  # a fifth
        (41, 0.5, True, "held out", [8]),
        (41, 0.01, False, "cross-fitted", [9, 8, 8, 8, 8]),  # 8 parts cannot express 1 %
        (41, 0.01, True, "cross-fitted", [9, 8, 8, 8, 8]),
    ],
)
def test_parts_are_dealt_out_by_number_rate_and_seed(
    count: int, rate: float, trained: bool, how: str, sizes: list[int]
) -> None:
    first, same, other = (parts.split(count, rate, seed, trained) for seed in (3, 3, 4))
    assert (first.how, [len(fold) for fold in first.folds]) == (how, sizes)
    assert first == same
    assert first != other
    dealt = sorted(index for fold in first.folds for index in fold)
    assert len(set(dealt)) == len(dealt)
    assert set(dealt) <= set(range(count))
    assert (dealt == list(range(count))) == (how == "cross-fitted")


def test_a_cache_that_cannot_be_written_is_named(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"must be writable.*set BLEMISH_CACHE to another folder"):
        fit_folder(good, settings=SMALL)


def test_few_parts_are_all_used_whatever_rate_is_asked_for(good: Path) -> None:
    calibration = fit_folder(good, settings=SMALL, false_alarms=0.6).artifact.calibration
    assert (calibration.how, len(calibration.scores)) == ("cross-fitted", 12)


@pytest.mark.parametrize(("few", "folds"), [(5, 5), (12, 12)])
def test_calibration_scores_are_those_of_parts_never_seen(
    good: Path, monkeypatch: pytest.MonkeyPatch, few: int, folds: int
) -> None:
    heads: dict[bytes, set[str]] = {}
    scored: list[tuple[set[str], set[str]]] = []
    fit, maps = fitting.head_graph, fitting.native_maps

    def watched_fit(kind: Any, config: Any, features: Any, **kwargs: Any) -> bytes:
        head = fit(kind, config, features, **kwargs)
        heads[head] = {file.stem for file in features.files}
        return head

    def watched_maps(head: bytes, parts: Any, choice: Any) -> Any:
        scored.append((heads[head], {fact.sha256 for fact in parts.facts}))
        return maps(head, parts, choice)

    monkeypatch.setattr(parts, "FEW", few)
    monkeypatch.setattr(fitting, "head_graph", watched_fit)
    monkeypatch.setattr(fitting, "native_maps", watched_maps)
    model = fit_folder(good, settings=SMALL)
    everything = {hashlib.sha256(path.read_bytes()).hexdigest() for path in good.iterdir()}
    assert len(scored) == folds
    assert len(heads) == folds + 1
    assert everything in heads.values()
    for seen, unseen in scored:
        assert unseen
        assert seen | unseen == everything
        assert not seen & unseen
    assert set.union(*(unseen for _, unseen in scored)) == everything
    assert len(model.artifact.calibration.scores) == 12


def test_calibration_is_what_the_finished_model_says(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Held out: the final model itself scored the spared parts, from the features at hand.
    monkeypatch.setattr(parts, "FEW", 5)
    model = fit_folder(good, settings=SMALL, false_alarms=0.4)
    scores = np.array([model.inspect(path).score for path in good.iterdir()])
    for score in model.artifact.calibration.scores:
        assert np.abs(scores - score).min() <= 1e-3 * score


def test_the_data_is_recorded(good: Path) -> None:
    Image.new("L", (50, 40), 90).save(good / "grey.png")
    data = fit_folder(good, settings=SMALL).artifact.about["data"]
    hashes = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in good.iterdir())
    assert data["sha256"] == hashes
    assert (data["folder"], data["files"], data["used"]) == ("good", 13, 13)
    assert (data["smallest"], data["largest"]) == ([40, 50], [300, 360])
    assert (data["channels"], data["bits"]) == ([1, 3], [8])


def test_the_manifest_says_where_the_model_came_from(good: Path, tmp_path: Path) -> None:
    file = fit_folder(good, method="fbft", settings=SMALL, seed=3).save(tmp_path / "p.blemish")
    about = open_artifact(file).about
    assert (about["method"], about["preset"], about["seed"]) == ("fbft", "embedded", 3)
    assert about["config"]["size"] == 64
    assert about["backbone"]["name"] == "tf_efficientnet_lite0"
    assert about["backbone"]["licence"] == "Apache-2.0"
    assert about["backbone"]["sha256"].startswith("57934424")
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]
    assert about["versions"]["blemish"] == blemish.__version__


def test_nothing_of_this_machine_is_written(model: Inspector, demo: Path, tmp_path: Path) -> None:
    written = model.save(tmp_path / "p.blemish").read_bytes()
    for place in (tmp_path, demo.parent, Path.home(), Path.cwd(), cache_folder()):
        assert str(place).encode() not in written or len(place.parts) < 3


def test_the_graph_is_one_valid_onnx_model(model: Inspector) -> None:
    graph = onnx.load_from_string(model.artifact.graph)
    onnx.checker.check_model(graph, full_check=True)
    assert len(graph.graph.input) == len(graph.graph.output) == 1
    assert {opset.domain for opset in graph.opset_import} <= {"", "ai.onnx"}


def test_unreadable_and_repeated_images_are_told(good: Path) -> None:
    (good / "broken.png").write_bytes(b"broken")
    shutil.copy(good / "000.jpg", good / "z.jpg")
    told: list[str] = []
    data = fit_folder(good, settings=SMALL, warn=told.append).artifact.about["data"]
    assert (data["files"], data["used"]) == (14, 12)
    assert len(told) == 2
    assert "broken.png" in told[0]
    assert f"'{good / 'z.jpg'}' has the same bytes as '{good / '000.jpg'}'" in told[1]


def test_notes_on_unused_files_are_told(demo: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(demo, tmp_path / "set"))
    shutil.copy(data / "train/good/000.jpg", data / "test" / "loose.jpg")
    told: list[str] = []
    fit_folder(data, settings=SMALL, warn=told.append)
    assert len(told) == 1
    assert "not used: 1" in told[0]


def test_too_few_parts_are_refused(good: Path) -> None:
    for path in sorted(good.iterdir())[3:]:
        path.write_bytes((good / "000.jpg").read_bytes())
    with pytest.raises(DataError, match=r"at least 4 .* but got 3 from 12 files"):
        fit_folder(good, settings=SMALL)


def test_four_parts_are_enough(good: Path) -> None:
    for path in sorted(good.iterdir())[4:]:
        path.unlink()
    model = fit_folder(good, settings=SMALL)
    assert len(model.artifact.calibration.scores) == 4
    assert np.isfinite(model.artifact.calibration.scores).all()


def test_a_set_without_a_training_part_is_refused(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "test", tmp_path / "set" / "test")
    with pytest.raises(DataError, match="but got 0"):
        fit_folder(tmp_path / "set", settings=SMALL)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan"), float("inf")])
def test_false_alarms_outside_of_0_to_1_are_refused(good: Path, rate: float) -> None:
    with pytest.raises(ConfigError, match="false_alarms must be between 0 and 1"):
        blemish.fit(good, false_alarms=rate)


def test_unknown_methods_and_presets_are_refused() -> None:
    known = r"\['fbft', 'fractalad', 'lsfa', 'padim', 'patchcore', 'stlm'\]"
    with pytest.raises(ConfigError, match=rf"method must be one of {known}.*'best'"):
        choose("best", "embedded", {})
    with pytest.raises(ConfigError, match=r"preset of fbft must be one of .*'tiny'"):
        choose("fbft", "tiny", {})


@pytest.mark.parametrize(
    ("brightest", "white"),
    [(1, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (16383, 16383), (16384, 65535)],
)
def test_white_is_the_fewest_bits_that_hold_all(tmp_path: Path, brightest: int, white: int) -> None:
    dark = np.zeros((8, 9), np.uint16)
    Image.fromarray(dark).save(tmp_path / "a.png")
    dark[3, 4] = brightest
    Image.fromarray(dark).save(tmp_path / "b.png")
    Image.new("L", (9, 8), 255).save(tmp_path / "eight bits.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    assert find_white(sorted(tmp_path.iterdir())) == white


def test_white_without_sixteen_bits_is_all_of_them(good: Path) -> None:
    assert find_white(sorted(good.iterdir())) == 65535


def test_a_model_of_twelve_bit_photographs_sees_their_whole_range(
    good: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    for path in good.iterdir():
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(grey * 16).save(deep / f"{path.stem}.png")
    model = fit_folder(deep, settings=SMALL)
    assert model.artifact.frame.white == 4095
    found = [model.inspect(path).verdict for path in sorted(deep.iterdir())]
    assert found.count("good") >= 11


# backbone and cache


# Methods of the same taps have the same graph: one of them is enough.
TAPS = {METHODS[method].presets["embedded"].taps: method for method in METHODS}


@pytest.mark.parametrize("method", TAPS.values())
def test_the_backbone_is_built_once(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path))
    _, config = choose(method, "embedded", SMALL)
    first = backbone_graph(config)

    def built(*args: object) -> bytes:
        raise AssertionError("built twice")

    monkeypatch.setattr("blemish.nets.frozen.frozen_graph", built)
    assert backbone_graph(config) == first
    # a CNN's graph takes any size
    assert backbone_graph(choose(method, "embedded", {"size": 96})[1]) == first
    taps = [tap.name for tap in open_engine(first).outputs]
    assert taps == tap_names(config)


def test_the_cache_is_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("BLEMISH_CACHE")
    assert cache_folder().name == "blemish"
    assert cache_folder().is_absolute()


def test_trimming_takes_the_least_recently_used(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(bytes(10))
        os.utime(tmp_path / "in" / name, (1000 - age, 1000 - age))
    trim(tmp_path, budget=30)
    assert len(list((tmp_path / "in").iterdir())) == 3
    trim(tmp_path, budget=25)
    assert sorted(file.name for file in (tmp_path / "in").iterdir()) == ["middle", "new"]
    trim(tmp_path, budget=0)
    assert list((tmp_path / "in").iterdir()) == []
    trim(tmp_path / "nowhere", budget=0)


# writing


def test_a_writable_place_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "p.blemish").write_bytes(b"old")
    writable(tmp_path / "p.blemish")
    assert [file.name for file in tmp_path.iterdir()] == ["p.blemish"]
    assert (tmp_path / "p.blemish").read_bytes() == b"old"


def test_a_folder_is_no_place_for_a_model(tmp_path: Path) -> None:
    for folder in (tmp_path, Path(), Path("/")):
        with pytest.raises(DataError, match=r"must be a file name .* Name a file in it"):
            writable(folder)


# export


class Twice(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * 2


def exported(net: torch.nn.Module, name: str, output: str) -> bytes:
    return to_onnx(net, (torch.ones(1, 3, 4, 4),), [name], [output], {})


def test_a_graph_that_disagrees_with_torch_is_not_written() -> None:
    graph = exported(Twice(), "image", "map")
    image = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    check_parity(Twice(), graph, {"image": image})

    class Other(Twice):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image * 2.01

    with pytest.raises(ExportError, match=r"must agree with torch .* nothing was written"):
        check_parity(Other(), graph, {"image": image})

    class Broken(Twice):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image * float("nan")

    with pytest.raises(ExportError, match="must agree with torch"):
        check_parity(Broken(), graph, {"image": image})


def test_joined_graphs_do_what_their_parts_do() -> None:
    first, second = exported(Twice(), "image", "tap_8"), exported(Twice(), "tap_8", "map")
    joined = join(first, second)
    image = np.ones((1, 3, 4, 4), np.float32)
    engine = open_engine(joined)
    assert np.array_equal(engine.run({engine.inputs[0].name: image})[0], 4 * image)
    check_join(joined, second, {"image": image}, {"tap_8": 2 * image})
    with pytest.raises(ExportError, match="must agree with its parts"):
        check_join(joined, second, {"image": image}, {"tap_8": 3 * image})


class Padded(torch.nn.Module):
    """As a network of any size asks for its size before it pads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        right = -(-image.shape[3] // 4) * 4 - image.shape[3] + 2
        seen: torch.Tensor = self.norm(self.conv(torch.nn.functional.pad(image, (0, right, 2, 0))))
        return seen.flatten(1).reshape(-1, seen.shape[2])


def test_a_settled_graph_does_the_same_in_fewer_standard_steps() -> None:
    torch.manual_seed(0)
    axes = {"image": {0: "b", 2: "h", 3: "w"}}
    free = to_onnx(Padded().eval(), (torch.ones(1, 3, 8, 8),), ["image"], ["map"], axes)
    joined = join(free, exported(Twice(), "map", "out"))
    settled = settle(joined, {"image": (1, 3, 6, 7)})
    image = np.random.default_rng(0).normal(size=(1, 3, 6, 7)).astype(np.float32)
    before, after = open_engine(joined), open_engine(settled)
    (entry,) = after.inputs
    assert (entry.name, entry.shape) == (before.inputs[0].name, (1, 3, 6, 7))
    expected = before.run({entry.name: image})[0]
    assert np.allclose(after.run({entry.name: image})[0], expected, atol=1e-5)
    graph = onnx.load_from_string(settled)
    assert {node.op_type for node in graph.graph.node} <= {
        "Pad",
        "Conv",
        "Flatten",
        "Reshape",
        "Mul",
    }
    assert [opset.domain for opset in graph.opset_import] == [""]
    assert settle(joined, {"image": (1, 3, 6, 7)}) == settled
