"""A backbone in eight bits: near enough to the exact one, or refused."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import blemish.int8 as room
import graphs
from blemish import rehearse, surgery
from blemish.agreement import made_up
from blemish.artifact import Artifact, open_artifact
from blemish.engines import open_engine
from blemish.equalise import equalised
from blemish.errors import ConfigError, DataError, ExportError
from blemish.export_files import GRAPH, write_folder
from blemish.images import read_image
from blemish.int8 import Agreement, backbone_and_head, good_parts, in_eight_bits, spearman
from blemish.quantise import Quantiser, channel_ranges, features, least_squares, searched
from blemish.rehearse import pictures
from blemish.runtime import Inspector
from commands import Run


@pytest.fixture(scope="module", autouse=True)
def few_defects() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearse, "COUNT", 1)
        yield


@pytest.fixture(scope="module")
def quick(model: Inspector, demo: Path) -> tuple[Artifact, Agreement]:
    return in_eight_bits(model.artifact, demo)


def test_the_backbone_is_in_eight_bits_and_the_head_is_not(
    quick: tuple[Artifact, Agreement], model: Inspector
) -> None:
    artifact, agreement = quick
    made = onnx.load_from_string(artifact.graph)
    eight = [one for one in made.graph.initializer if one.data_type == onnx.TensorProto.INT8]
    weights = [one for one in eight if len(one.dims) == 4]
    told = artifact.about["int8"]
    assert len(weights) == told["convolutions"] - len(told["floats"])
    assert len(weights) >= told["convolutions"] / 2
    assert agreement.rank >= room.RANK
    assert agreement.exact - agreement.quick <= room.DROP
    assert told["agreement"]["rank"] == agreement.rank
    before, after = backbone_and_head(model.artifact)[1], made
    numbers = surgery.constants(before)
    largest = max(numbers, key=lambda name: numbers[name].size)
    assert np.array_equal(surgery.constants(after)[largest], numbers[largest])


def test_an_inspector_loads_it_and_says_much_the_same(
    quick: tuple[Artifact, Agreement], model: Inspector, demo: Path, tmp_path: Path
) -> None:
    file = quick[0].save(tmp_path / "quick.blemish")
    loaded = Inspector.load(file)
    images = sorted(demo.glob("test/*/*.jpg"))
    exact, eight = ([one.inspect(image) for image in images] for one in (model, loaded))
    for of_floats, of_bits in zip(exact, eight, strict=True):
        assert of_bits.score == pytest.approx(of_floats.score, rel=0.2)
        assert of_bits.score != of_floats.score
    # as agreement is defined: over the pixels of all maps, here of parts that no search has seen
    assert spearman([one.map for one in exact], [one.map for one in eight]) > 0.97
    assert loaded.artifact.calibration.how == model.artifact.calibration.how
    assert len(loaded.artifact.calibration.scores) == 12


def test_the_verb_writes_a_model(
    run: Run, part: Path, demo: Path, tmp_path: Path, quick: tuple[Artifact, Agreement]
) -> None:
    target = tmp_path / "eight.blemish"
    done = run("export", part, "--to", "blemish", "--int8", "--data", demo, "-o", target)
    assert done.code == 0
    assert "rank correlation 0.99" in done.err
    assert f"Wrote {target}" in done.out
    assert open_artifact(target).graph == quick[0].graph  # the same twice
    assert "int8" in run("info", target, "--json").lines()[0]
    assert re.search(r"eight bits: +all but \d+ of 33 convolutions", run("info", target).out)
    assert run("verify", target, "-q").code == 0


@pytest.mark.parametrize("to", ["onnx", "openvino", "tensorrt-ready"])
def test_the_verb_writes_folders(run: Run, part: Path, tmp_path: Path, to: str) -> None:
    done = run("export", part, "--to", to, "-o", tmp_path / "out", "--json")
    assert done.code == 0
    assert done.lines()[0] == {"to": to, "output": str(tmp_path / "out"), "int8": None}


@pytest.mark.parametrize("kind", ["onnx", "openvino", "tensorrt-ready"])
def test_weights_in_folders_are_in_eight_bits(
    kind: str, quick: tuple[Artifact, Agreement], model: Inspector, demo: Path, tmp_path: Path
) -> None:
    """They were floats again once, which runtimes then rounded in their own way."""
    artifact = quick[0]
    if kind == "tensorrt-ready":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "DROP", 0.2)  # of so few pictures
            artifact = in_eight_bits(model.artifact, demo, symmetric=True)[0]
    write_folder(artifact, kind, tmp_path / "out")
    size = sum(file.stat().st_size for file in (tmp_path / "out").iterdir())
    write_folder(model.artifact, kind, tmp_path / "floats")
    assert size < 0.75 * sum(file.stat().st_size for file in (tmp_path / "floats").iterdir())
    if kind == "openvino":
        return
    made = onnx.load(tmp_path / "out" / GRAPH)
    onnx.checker.check_model(made)  # in order, too
    eight = [one for one in made.graph.initializer if one.data_type == onnx.TensorProto.INT8]
    told = artifact.about["int8"]
    weights = [one for one in eight if len(one.dims) == 4]
    assert len(weights) == told["convolutions"] - len(told["floats"])


def test_tensorrt_gets_symmetric_pairs(model: Inspector) -> None:
    artifact = model.artifact
    backbone, _ = backbone_and_head(artifact)
    images = [artifact.frame.to_model(made_up((90, 80), seed)) for seed in range(4)]
    form = Quantiser(backbone, images, symmetric=True).form([])
    kinds = {one.data_type for one in form.graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.INT64}
    zeros = [one for one in form.graph.initializer if one.name.endswith("_zero_point")]
    assert zeros
    assert not any(numpy_helper.to_array(one).any() for one in zeros)


# refusals


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--int8",), "--int8 must come with --data"),
        (("--data", "good"), "--int8 must come with --data"),
        (("--to", "blemish"), "--to blemish must come with --int8"),
        (("--to", "coreml"), "--to must be one of"),
    ],
)
def test_words_that_do_not_go_together(
    run: Run, part: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    done = run("export", part, "-o", tmp_path / "out", *words)
    assert done.code == 3
    assert told in done.err
    assert list(tmp_path.iterdir()) == []


def test_too_little_agreement_is_refused(
    run: Run, part: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = Agreement(pictures=9, rank=0.5, exact=0.9, quick=0.9)
    monkeypatch.setattr(room, "compare", lambda *given, **told: poor)
    monkeypatch.setattr("blemish.quantise.MOST", 0)
    words = ("--to", "blemish", "--int8", "--data", demo)
    done = run("export", part, "-o", tmp_path / "out.blemish", *words)
    assert done.code == 3
    assert "rank correlation 0.5000" in done.err
    assert "Nothing was written" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rank", "quick"), [(0.98, 0.9), (0.995, 0.89), (float("nan"), 0.9)])
def test_what_is_too_little(rank: float, quick: float) -> None:
    room._require_agreement(Agreement(pictures=9, rank=0.9901, exact=0.985, quick=0.98))
    with pytest.raises(ExportError, match="image AUROC"):
        room._require_agreement(Agreement(pictures=9, rank=rank, exact=0.9, quick=quick))


def test_models_that_cannot_be_quantised(quick: tuple[Artifact, Agreement], demo: Path) -> None:
    with pytest.raises(ConfigError, match="eight bits already"):
        in_eight_bits(quick[0], demo)
    with pytest.raises(ConfigError, match="photographs alone"):
        in_eight_bits(graphs.several(), demo)
    with pytest.raises(ExportError, match="must have a frozen backbone"):
        backbone_and_head(graphs.artifact())


def test_other_good_parts_are_refused(model: Inspector, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "test" / "good", tmp_path / "good")
    with pytest.raises(DataError, match="at least 4 of the 12 good parts"):
        in_eight_bits(model.artifact, tmp_path / "good")


def test_parts_are_told_apart_by_content(model: Inspector, demo: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    shutil.copytree(demo / "train" / "good", good)
    shutil.copy(demo / "test" / "good" / "000.jpg", good / "new.jpg")
    shutil.copy(good / "001.jpg", good / "twice.jpg")
    (good / "broken.png").write_bytes(b"\x89PNG")
    said: list[str] = []
    seen, unseen = good_parts(model.artifact, good, "auto", said.append)
    assert len(seen) == 12
    assert [path.name for path in unseen] == ["new.jpg"]
    assert len(said) == 1
    assert "broken.png" in said[0]
    spared = model.artifact.about["data"]["sha256"][:3]
    about = {"data": {**model.artifact.about["data"], "spared": spared}}
    seen, unseen = good_parts(replace(model.artifact, about=about), good, "auto", said.append)
    assert (len(seen), len(unseen)) == (9, 4)


def test_unseen_parts_calibrate_anew(
    model: Inspector, demo: Path, quick: tuple[Artifact, Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    wide = replace(model.artifact.calibration, false_alarms=0.25)
    artifact = replace(model.artifact, calibration=wide)
    unseen = sorted((demo / "test" / "good").iterdir())
    judged = rehearse.prepare(unseen, seed=0)
    anew = room._calibrated(artifact, quick[0], unseen, judged, rehearse.silent)
    scorer = Inspector(quick[0], runtime="onnxruntime")
    expected = sorted(scorer.inspect(path).score for path in unseen)
    assert anew.scores == pytest.approx(expected)
    assert (anew.how, anew.false_alarms) == ("held out", 0.25)


def test_parts_that_were_seen_are_moved_a_little(demo: Path) -> None:
    judged = rehearse.prepare(sorted((demo / "train" / "good").iterdir())[:2], seed=0)
    still = [picture for picture, _ in pictures(judged, 1, moved=False)]
    moved = [picture for picture, _ in pictures(judged, 1, moved=True)]
    assert np.array_equal(still[0], read_image(judged.parts[0]))
    for one, other in zip(still, moved, strict=True):
        assert one.shape == other.shape
        away = np.abs(one.astype(int) - other).mean()
        assert 0 < away < 0.2 * one.std()


def test_a_calibration_is_carried_over_by_a_line(
    model: Inspector, quick: tuple[Artifact, Agreement], demo: Path
) -> None:
    judged = rehearse.prepare(sorted((demo / "train" / "good").iterdir())[:4], seed=0)
    exact = Inspector(model.artifact, runtime="onnxruntime")
    same = room.carried(model.artifact.calibration, exact, exact, judged)
    assert same.scores == pytest.approx(model.artifact.calibration.scores)
    assert same.extent == pytest.approx(model.artifact.calibration.extent)
    other = room.carried(
        model.artifact.calibration, exact, Inspector(quick[0], runtime="onnxruntime"), judged
    )
    assert other.scores == pytest.approx(model.artifact.calibration.scores, rel=0.1)
    assert other.scores != model.artifact.calibration.scores


# bricks


def net(bend: str | None, pads: int = 0) -> onnx.ModelProto:
    """image → convolution of very uneven channels → bend → depthwise → pointwise + skip."""
    rng = np.random.default_rng(0)
    spread = np.array([0.01, 0.1, 1, 10], np.float32)
    numbers = {
        "w0": rng.normal(size=(4, 3, 1, 1)) * spread[:, None, None, None], "b0": spread * 0.2,
        "w1": rng.normal(size=(4, 1, 3, 3)), "b1": rng.normal(size=4),
        "w2": rng.normal(size=(4, 4, 1, 1)), "b2": rng.normal(size=4),
        "w3": rng.normal(size=(5, 4, 1, 1)), "b3": rng.normal(size=5),
        "low": 0, "high": 6,
    }  # fmt: skip
    conv = partial(helper.make_node, "Conv")
    ends = {"Clip": ["low", "high"], "Relu": []}
    nodes = [conv(["image", "w0", "b0"], ["a"], name="first")]
    if bend:
        nodes.append(helper.make_node(bend, ["a", *ends[bend]], ["a/bent"], name="bend"))
    depthwise = {"group": 4, "pads": [pads] * 4, "name": "depth"}
    nodes += [
        conv(["a/bent" if bend else "a", "w1", "b1"], ["c"], **depthwise),
        conv(["c", "w2", "b2"], ["d"], name="point"),
        helper.make_node("Add", ["d", "c"], ["e"], name="sum"),
        conv(["e", "w3", "b3"], ["map"], name="last"),
    ]
    kept = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in numbers.items()]
    side = 8 if pads else 6
    out = helper.make_tensor_value_info("map", onnx.TensorProto.FLOAT, (1, 5, side, side))
    return onnx.load_from_string(graphs.model(nodes, graphs.float_input(), out, kept))


IMAGES = [np.random.default_rng(seed).random((1, 3, 8, 8), np.float32) for seed in range(8)]


def given(model: onnx.ModelProto) -> np.ndarray:
    engine = open_engine(model.SerializeToString(), threads=1)
    return np.concatenate([engine.run({"image": image})[0] for image in IMAGES])


@pytest.mark.parametrize("pads", [0, 1])
@pytest.mark.parametrize("bend", [None, "Clip", "Relu"])
def test_equalising_changes_nothing_but_a_scale(bend: str | None, pads: int) -> None:
    exact = net(bend, pads)
    even = equalised(exact, channel_ranges(exact, IMAGES))
    assert back_again(even, exact) < 1e-3
    spread = [np.abs(channel_ranges(one, IMAGES)["a/bent" if bend else "a"]).max(0)
              for one in (exact, even)]  # fmt: skip
    assert spread[0].max() > 100 * spread[0].min()
    assert spread[1].max() < 3 * spread[1].min()


def back_again(even: onnx.ModelProto, exact: onnx.ModelProto) -> float:
    """How far a line for each channel is from undoing what was done to a scale."""
    worst = 0.0
    for wanted, had in zip(given(exact).swapaxes(0, 1), given(even).swapaxes(0, 1), strict=True):
        line = np.polynomial.Polynomial.fit(had.ravel(), wanted.ravel(), 1)
        worst = max(worst, float(np.abs(line(had) - wanted).max() / np.abs(wanted).max()))
    return worst


def test_equal_numbers_are_scaled_apart() -> None:
    exact = net(None)
    for node in exact.graph.node:
        if node.name == "point":
            node.input[2] = "b1"
    even = equalised(exact, channel_ranges(exact, IMAGES))
    assert back_again(even, exact) < 1e-3


def test_least_squares_finds_an_affine_map() -> None:
    rng = np.random.default_rng(0)
    had, turn, moved = rng.normal(size=(1, 4, 9, 9)), rng.normal(size=(3, 4)), rng.normal(size=3)
    wanted = np.einsum("oc,bchw->bohw", turn, had) + moved[:, None, None]
    matrix, shift = least_squares([(had.astype(np.float32), wanted.astype(np.float32))])
    assert matrix == pytest.approx(turn, abs=1e-5)
    assert shift == pytest.approx(moved, abs=1e-5)


def test_eight_bits_need_equal_channels(model: Inspector, demo: Path) -> None:
    """The same quantiser on the network as it was is further off."""
    backbone, _ = backbone_and_head(model.artifact)
    paths = sorted((demo / "train" / "good").iterdir())
    images = [model.artifact.frame.to_model(read_image(path)) for path in paths]
    errors = []
    for even in (equalised, lambda whole, ranges: whole):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("blemish.quantise.equalised", even)
            quantiser = Quantiser(backbone, images)
        made = features(quantiser.form(quantiser.convolutions[:3]), images)
        pairs = zip(made, quantiser.exact, strict=True)
        errors.append(np.mean([np.square(a[0] - b[0]).mean() for a, b in pairs]))
    assert errors[0] * 1.3 < errors[1]


def test_the_search_offers_what_agrees_fewest_floats_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantiser = Quantiser(net("Clip"), IMAGES)
    seen: list[int] = []

    def agree(form: onnx.ModelProto) -> float:
        weights = [one for one in form.graph.initializer if len(one.dims) == 4]
        seen.append(sum(one.data_type == onnx.TensorProto.FLOAT for one in weights) - 1)
        return 1.0 if seen[-1] >= 1 else 0.0

    monkeypatch.setattr(quantiser, "changes", lambda: [0, 1, 2])
    offered = searched(quantiser, agree)
    found = next(offered)
    assert seen == [0, 1]  # the affine map behind is always in floats
    assert (found.floats, found.of, found.agreement) == (("first",), 4, 1.0)
    assert [one.floats for one in offered] == [("first", "depth")]  # half, and no more
    none = searched(quantiser, lambda form: 0.5)
    assert [one.floats for one in none] == [("first", "depth")]


def test_floats_do_not_end_inside_of_a_block(model: Inspector, demo: Path) -> None:
    """EfficientNet's blocks: 1 x 1 to six times the channels, 3 x 3, 1 x 1 back to few."""
    backbone, _ = backbone_and_head(model.artifact)
    image = read_image(next((demo / "train" / "good").iterdir()))
    quantiser = Quantiser(backbone, [model.artifact.frame.to_model(image)])
    counts = quantiser.changes()
    assert counts[0] == 0
    assert counts[-1] == len(quantiser.convolutions) // 2
    ends = [quantiser.convolutions[count - 1].split("/")[-2] for count in counts[1:-1]]
    # the first block widens nothing and ends in conv_pw
    assert ends[:2] == ["conv_stem", "conv_pw"]
    assert set(ends[2:]) == {"conv_pwl"}


def test_a_form_that_does_not_agree_leads_to_the_next(
    model: Inspector, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Agreement] = []
    real = room.compare

    def compare(*args: Any, **kwargs: Any) -> Agreement:
        told.append(real(*args, **kwargs))
        return replace(told[-1], rank=0.5) if len(told) == 1 else told[-1]

    monkeypatch.setattr(room, "compare", compare)
    artifact, agreement = in_eight_bits(model.artifact, demo)
    assert len(told) == 2
    assert agreement == told[1]
    assert told[1].rank > told[0].rank - 0.01
    assert artifact.about["int8"]["floats"]


def test_a_backbone_without_convolutions_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["image"], ["map"])]
    out = graphs.float_output((1, 3, 8, 8))
    flat = onnx.load_from_string(graphs.model(nodes, graphs.float_input(), out))
    with pytest.raises(ExportError, match="must have convolutions"):
        Quantiser(flat, IMAGES)


def test_spearman_is_scipys() -> None:
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one = rng.normal(size=(7, 9)).round(1).astype(np.float32)  # with ties
    other = (one + rng.normal(size=(7, 9))).astype(np.float32)
    expected = scipy.spearmanr(one.ravel(), other.ravel())[0]
    assert spearman([one[:3], one[3:]], [other[:3], other[3:]]) == pytest.approx(expected)
    assert spearman([one], [one * 0]) == 0
