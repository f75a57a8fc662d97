"""From a file to a verdict, on graphs small enough to check by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import blemish
from blemish.engines import open_engine
from blemish.errors import ArtifactError, ImageError
from blemish.frame import Frame
from blemish.images import write_png
from blemish.runtime import Inspector, Scorer
from graphs import SIZE, artifact, brightness, broken, float_input, float_output, model

SPOT = np.full((32, 48), 10, np.uint8)
SPOT[8:16, 24:36] = 240  # one cell of the grid


def inspector(**frame: Any) -> Inspector:
    return Inspector(artifact(**frame), threads=1)


# ---------------------------------------------------------------- verdicts


def test_a_bright_spot_is_a_defect_and_where_it_is() -> None:
    found = inspector().inspect(SPOT)
    assert found.verdict == "defect"
    assert found.map.shape == SPOT.shape
    assert found.map.dtype == np.float32
    assert found.score == found.map.max() > found.threshold
    assert found.p_value == pytest.approx(1 / 20)
    (region,) = found.regions
    x, y, width, height = region.box
    assert x <= 30 < x + width
    assert y <= 12 < y + height
    assert region.peak == found.score
    assert found.ms > 0


def test_a_dark_part_is_good_and_has_no_regions() -> None:
    found = inspector().inspect(np.full((9, 7), 80, np.uint8))
    assert found.verdict == "good"
    assert found.regions == ()
    assert found.score == pytest.approx(80 / 255, abs=1e-6)
    assert found.p_value == pytest.approx((1 + 9) / 20)


def test_a_score_at_the_threshold_is_good() -> None:
    made = inspector()
    flat = made.inspect(np.full((8, 8), 128, np.uint8))
    scores = tuple(sorted([*made.artifact.calibration.scores[:-1], flat.score]))
    calibration = type(made.artifact.calibration)(
        scores=scores, peaks=scores, extent=0.25, false_alarms=0.05, how="held out"
    )
    made.artifact = type(made.artifact)(
        graph=made.artifact.graph, frame=made.artifact.frame, calibration=calibration, about={}
    )
    again = made.inspect(np.full((8, 8), 128, np.uint8))
    assert again.score == again.threshold
    assert again.verdict == "good"
    assert again.p_value > calibration.rate


@settings(max_examples=60, deadline=None)
@given(value=st.integers(0, 255), size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_verdict_p_value_and_threshold_agree(value: int, size: tuple[int, int]) -> None:
    made = SHARED
    found = made.inspect(np.full(size, value, np.uint8))
    low = found.p_value <= made.artifact.calibration.rate
    assert (found.verdict == "defect") == (found.score > found.threshold) == low
    assert bool(found.regions) == (found.verdict == "defect")
    assert found.map.shape == size


SHARED = inspector()


def test_a_scorer_needs_no_calibration_and_gives_what_the_inspector_gives() -> None:
    made = artifact(fit="pad", top=0.1)
    map, score = Scorer(made.graph, made.frame, threads=1).score(SPOT[..., None])
    found = Inspector(made, threads=1).inspect(SPOT)
    assert np.array_equal(map, found.map)
    assert score == found.score == made.frame.score(map)
    with pytest.raises(ArtifactError, match=r"must take float image of \(1, 3, 4, 4\) and give"):
        Scorer(made.graph, Frame(size=(4, 4)))


def test_files_and_arrays_of_all_shapes_agree(tmp_path: Path) -> None:
    made = inspector(fit="pad")
    path = tmp_path / "größe 1.png"
    write_png(path, SPOT)
    expected = made.inspect(SPOT)
    rgb = np.repeat(SPOT[..., None], 3, axis=2)
    rgb.flags.writeable = False
    for image in (path, str(path), SPOT[..., None], rgb, SPOT.astype(np.uint16) * 257):
        found = made.inspect(image)
        assert np.allclose(found.map, expected.map, atol=0.51 / 255)
        assert found.verdict == expected.verdict


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.full((4, 4), np.nan),
    ],
)
def test_other_arrays_are_refused(image: npt.NDArray[Any]) -> None:
    with pytest.raises(ImageError, match=r"an image (array must be|must be grey or RGB)"):
        SHARED.inspect(image)


def test_what_is_neither_path_nor_array_is_refused() -> None:
    with pytest.raises(ImageError, match="must be a path or a NumPy array, but is of"):
        SHARED.inspect([[1, 2], [3, 4]])  # type: ignore[arg-type]


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.png"):
        SHARED.inspect(tmp_path / "a.png")


def test_results_depend_on_neither_order_nor_threads() -> None:
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (int(h), int(w), 3), dtype=np.uint8)
        for h, w in rng.integers(1, 60, (40, 2))
    ]
    expected = [SHARED.inspect(image).map.tobytes() for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: SHARED.inspect(image).map.tobytes(), images * 4))
    assert found == expected * 4
    assert SHARED.inspect(images[-1]).map.tobytes() == expected[-1]


def test_saved_and_loaded_is_bit_equal(tmp_path: Path) -> None:
    made = inspector(boxes=((3, 1),), top=0.1)
    loaded = blemish.load(made.save(tmp_path / "part.blemish"), threads=1)
    before, after = made.inspect(SPOT), loaded.inspect(SPOT)
    assert before.map.tobytes() == after.map.tobytes()
    assert (before.score, before.regions) == (after.score, after.regions)


# ---------------------------------------------------------------- graphs that are not ours


def test_free_input_sizes_are_taken() -> None:
    graph = brightness(("batch", 3, "height", "width"))
    found = Inspector(artifact(graph)).inspect(SPOT)
    assert np.array_equal(found.map, SHARED.inspect(SPOT).map)


@pytest.mark.parametrize("junk", [b"", b"abc", bytes(100), brightness()[:-30]])
def test_what_is_no_graph_is_refused(junk: bytes) -> None:
    with pytest.raises(ArtifactError, match="must be one that ONNX Runtime"):
        open_engine(junk)


def identity(image: Any, out: Any) -> bytes:
    return model([helper.make_node("Identity", ["image"], ["map"])], image, out)


@pytest.mark.parametrize(
    "graph",
    [
        brightness((1, 3, 9, 9)),
        brightness((2, 3, *SIZE)),
        brightness((1, 1, *SIZE)),
        identity(float_input((8, 8)), float_output()),
        identity(
            helper.make_tensor_value_info("image", TensorProto.INT64, (1, 3, *SIZE)),
            helper.make_tensor_value_info("map", TensorProto.INT64, (1, 3, *SIZE)),
        ),
        model(
            [
                helper.make_node("Add", ["image", "more"], ["sum"]),
                helper.make_node("ReduceMean", ["sum"], ["map"], axes=[0, 1], keepdims=0),
            ],
            [float_input(), float_input(name="more")],
            float_output(),
        ),
        model(
            [helper.make_node("Shape", ["image"], ["map"])],
            float_input(),
            helper.make_tensor_value_info("map", TensorProto.INT64, (4,)),
        ),
    ],
    ids=["size", "batch", "channels", "rank", "type", "two inputs", "output type"],
)
def test_graphs_that_do_not_fit_the_frame_are_refused(graph: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"must take float image of \(1, 3, 8, 8\) and give"):
        Inspector(artifact(graph))


def test_graphs_that_give_no_grid_are_refused() -> None:
    made = Inspector(artifact(identity(float_input(), float_output((1, 3, *SIZE)))))
    with pytest.raises(ArtifactError, match=r"must give a grid of .* gave shape \(1, 3, 8, 8\)"):
        made.inspect(SPOT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_no_verdict(value: float) -> None:
    with pytest.raises(ArtifactError, match=r"finite scores, but gave shape \(8, 8\) with"):
        Inspector(artifact(broken(value))).inspect(SPOT)


def test_graphs_that_fail_on_an_image_are_refused() -> None:
    indices = helper.make_tensor("at", TensorProto.INT64, (1,), [99])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[0, 1], keepdims=0),
        helper.make_node("Add", ["at", "none"], ["where"]),
        helper.make_node("Gather", ["grey", "where"], ["map"]),
    ]
    nodes[1] = helper.make_node("Cast", ["sum"], ["where"], to=TensorProto.INT64)
    nodes.insert(1, helper.make_node("ReduceSum", ["grey"], ["some"], keepdims=1))
    nodes.insert(2, helper.make_node("Mul", ["some", "some"], ["sum"]))
    made = Inspector(artifact(model(nodes, float_input(), float_output(), [indices])))
    with pytest.raises(ArtifactError, match="graph must run on an image, but ONNX Runtime"):
        made.inspect(np.full((8, 8), 255, np.uint8))


@pytest.mark.parametrize("where", ["secret", "../secret", "/tmp/secret", "*/_ORT_MEM_ADDR_/*"])
def test_graphs_never_read_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """ONNX Runtime itself would read ./secret and ../secret."""
    (tmp_path / "inside").mkdir()
    for folder in (tmp_path, tmp_path / "inside"):
        (folder / "secret").write_bytes(np.arange(192, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path / "inside")
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, *SIZE])
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", where), ("offset", "0"), ("length", "768")):
        outside.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Mul", ["image", "w"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["map"], axes=[0, 1], keepdims=0),
    ]
    graph = model(nodes, float_input(), float_output(), [outside])
    path = artifact(graph).save(tmp_path / "part.blemish")
    with pytest.raises(ArtifactError, match="must hold all of its numbers, but refers to another"):
        blemish.load(path)
