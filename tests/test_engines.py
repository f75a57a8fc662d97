"""Runtimes behind one interface: they agree, take threads, and say what is not there."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from blemish.engines import (
    DEVICES,
    TITLES,
    TOLERANCE,
    Port,
    cores,
    difference,
    entries,
    installed,
    open_engine,
)
from blemish.errors import ArtifactError, ConfigError
from graphs import SIZE, brightness, broken, float_input, float_output, model

RUNTIMES = [pytest.param("onnxruntime"), pytest.param("openvino")]
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def needs_both() -> None:
    if set(installed()) != set(TITLES):
        pytest.skip("RUNTIME ABSENT: these tests need openvino; pip install 'blemish[dev]'")


def convolved(shape: tuple[int | str, ...]) -> bytes:
    """A graph whose sums are long enough for half the precision to show."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3, 9, 9)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["many"], pads=[4, 4, 4, 4]),
        helper.make_node("ReduceSum", ["many", "axes"], ["map"], keepdims=0),
    ]
    numbers = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([0, 1], np.int64), "axes"),
    ]
    return model(nodes, float_input(shape), float_output(), numbers)


# ---------------------------------------------------------------- what they give


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_gives_what_numpy_gives(runtime: str, threads: int) -> None:
    engine = open_engine(brightness(), runtime, threads=threads)
    image = RNG.random((1, 3, *SIZE), np.float32)
    (map,) = engine.run({"image": image})
    assert map.dtype == np.float32
    assert np.allclose(map, image.mean((0, 1)).reshape(4, 2, 4, 2).mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (37, 53), (1, 90), (224, 224)])
def test_runtimes_agree(size: tuple[int, int]) -> None:
    """bfloat16, which OpenVINO would choose by itself on some processors, differs by 3e-3."""
    graph = convolved((1, 3, *size))
    image = RNG.random((1, 3, *size), np.float32)
    first, second = (open_engine(graph, name).run({"image": image})[0] for name in TITLES)
    assert first.shape == second.shape == size
    assert difference(first, second) <= 1e-5 < TOLERANCE


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_free_sizes_are_taken_one_after_the_other(runtime: str) -> None:
    engine = open_engine(convolved(("batch", 3, "height", "width")), runtime)
    assert engine.inputs == (Port("image", (None, 3, None, None), "float32"),)
    for size in ((8, 8), (5, 12), (8, 8)):
        image = RNG.random((1, 3, *size), np.float32)
        expected = open_engine(convolved((1, 3, *size))).run({"image": image})[0]
        assert difference(expected, engine.run({"image": image})[0]) <= 1e-5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ports_are_named_shaped_and_typed(runtime: str) -> None:
    nodes = [
        helper.make_node("Identity", ["part/image"], ["same"]),
        helper.make_node("Shape", ["part/more"], ["sides"]),
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [float_input((1, 3, 4, 5), "part/image"), float_input(("n", 2), "part/more")],
            [
                helper.make_tensor_value_info("sides", TensorProto.INT64, (2,)),
                helper.make_tensor_value_info("same", TensorProto.FLOAT, (1, 3, 4, 5)),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    engine = open_engine(made.SerializeToString(), runtime)
    assert engine.inputs == (
        Port("part/image", (1, 3, 4, 5), "float32"),
        Port("part/more", (None, 2), "float32"),
    )
    assert engine.outputs == (
        Port("sides", (2,), "int64"),
        Port("same", (1, 3, 4, 5), "float32"),
    )
    assert entries(engine) == {"image": "part/image", "more": "part/more"}
    image, more = RNG.random((1, 3, 4, 5), np.float32), np.zeros((7, 2), np.float32)
    sides, same = engine.run({"part/more": more, "part/image": image})
    assert sides.tolist() == [7, 2]
    assert np.array_equal(same, image)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_are_the_callers_own(runtime: str) -> None:
    engine = open_engine(brightness(), runtime)
    light, dark = np.ones((1, 3, *SIZE), np.float32), np.zeros((1, 3, *SIZE), np.float32)
    dark.flags.writeable = False
    (first,) = engine.run({"image": light})
    (second,) = engine.run({"image": dark})
    assert np.allclose(first, 1)
    second += 1  # writeable, and nobody else's
    assert np.array_equal(engine.run({"image": dark})[0], np.zeros((4, 4)))


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_may_share_an_engine(runtime: str, threads: int) -> None:
    engine = open_engine(convolved((1, 3, *SIZE)), runtime, threads=threads)
    images = [RNG.random((1, 3, *SIZE), np.float32) for _ in range(20)]
    alone = [engine.run({"image": image})[0].tobytes() for image in images]
    with ThreadPoolExecutor(8) as pool:
        shared = pool.map(lambda image: engine.run({"image": image})[0].tobytes(), images * 10)
        assert list(shared) == alone * 10


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_versions_and_names_are_told(runtime: str) -> None:
    engine = open_engine(brightness(), runtime)
    assert engine.name == runtime
    assert engine.version == installed()[runtime]


def test_openvino_computes_in_float32() -> None:
    """Its own choice is bfloat16 where the processor has it, which agrees with nobody."""
    engine: Any = open_engine(brightness(), "openvino", threads=1)
    told = engine._compiled.get_property
    assert "float32" in str(told("INFERENCE_PRECISION_HINT"))
    assert (told("NUM_STREAMS"), told("INFERENCE_NUM_THREADS")) == (cores(), cores())
    assert not told("ENABLE_CPU_PINNING")  # of two processes, both would sit on the first core


def test_runtimes_ask_no_network_and_import_no_torch() -> None:
    code = (
        "import sys; asked = []\n"
        "sys.addaudithook(lambda event, _: asked.append(event) if event in"
        " ('socket.connect', 'socket.getaddrinfo', 'socket.sendto') else None)\n"
        "import numpy\n"
        "from blemish.engines import open_engine\n"
        f"graph, image = {brightness()!r}, numpy.zeros((1, 3, *{SIZE}), numpy.float32)\n"
        f"for name in {list(TITLES)}:\n"
        "    open_engine(graph, name).run({'image': image})\n"
        "print(asked, sorted({'torch', 'onnx', 'timm'} & set(sys.modules)))\n"
    )
    assert clean(code) == "[] []\n"


def test_one_runtime_alone_starts_soon() -> None:
    """What only a choice needs takes a tenth of the time to the first verdict."""
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from blemish.fastest import open_chosen\n"
        f"print(open_chosen({brightness()!r}, dict)[1].how)\n"
        "print('importlib.metadata' in sys.modules)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BLEMISH_RUNTIME")
        assert clean(code) == "the only one installed\nFalse\n"


def clean(code: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- what they refuse


@pytest.mark.parametrize("junk", [b"", b"abc", bytes(100), brightness()[:-30]])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_no_graph_is_refused(runtime: str, junk: bytes) -> None:
    must = f"must be one that {TITLES[runtime]} {installed()[runtime]} runs, but it says"
    with pytest.raises(ArtifactError, match=must):
        open_engine(junk, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_that_keeps_numbers_elsewhere_is_refused(runtime: str) -> None:
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, *SIZE])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="secret")
    nodes = [
        helper.make_node("Mul", ["image", "w"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["map"], axes=[0, 1], keepdims=0),
    ]
    graph = model(nodes, float_input(), float_output(), [outside])
    with pytest.raises(ArtifactError, match="must hold all of its numbers"):
        open_engine(graph, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_run_that_fails_says_which_runtime(runtime: str) -> None:
    engine = open_engine(brightness(), runtime)
    must = f"graph must run on an image, but {TITLES[runtime]} {installed()[runtime]} says"
    for feed in ({}, {"image": np.zeros((1, 3, 4, 5), np.float32)}):
        with pytest.raises(ArtifactError, match=must):
            engine.run(feed)
    assert engine.run({"image": np.zeros((1, 3, *SIZE), np.float32)})[0].shape == (4, 4)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be auto or one of onnxruntime, onnx.*got 'torch'"):
        open_engine(brightness(), "torch")


@pytest.mark.parametrize("runtime", [one for one in DEVICES if ":" in one])
def test_a_device_that_is_not_there_is_refused(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort, openvino = (pytest.importorskip(name) for name in TITLES)

    class Core(openvino.Core):  # type: ignore[misc, name-defined]
        available_devices = ("CPU",)

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["Azure", "CPUExecutionProvider"])
    monkeypatch.setattr(openvino, "Core", Core)
    library = runtime.partition(":")[0]
    wanted = rf"'{runtime}' must find its device, but {TITLES[library]} has here only: {library}\."
    with pytest.raises(ConfigError, match=wanted + r" It takes an? .* pip install"):
        open_engine(brightness(), runtime)


class Falling:
    """ONNX Runtime where the device's libraries are missing: it goes on with the CPU."""

    def __init__(self, graph: bytes, options: object, providers: list[tuple[str, object]]) -> None:
        self.asked = [name for name, _ in providers]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.mark.parametrize("runtime", ["onnxruntime:cuda", "onnxruntime:tensorrt"])
def test_onnx_runtime_never_falls_back_to_the_cpu(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [d.name for d in DEVICES.values()])
    monkeypatch.setattr(ort, "InferenceSession", Falling)
    with pytest.raises(ConfigError, match="must find its device, but ONNX Runtime has here only"):
        open_engine(brightness(), runtime)


class Device:
    """ONNX Runtime with a device, to see how it is asked and that runs wait for each other."""

    asked: tuple[Any, ...] = ()
    fallback, running, most = True, 0, 0

    def __init__(self, graph: bytes, options: Any, providers: list[tuple[str, Any]]) -> None:
        Device.asked = (providers, options.enable_mem_pattern)

    def get_providers(self) -> list[str]:
        return [name for name, _ in Device.asked[0]]

    def disable_fallback(self) -> None:
        Device.fallback = False

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs

    def run(self, outputs: object, feed: object) -> list[Any]:
        Device.running += 1
        Device.most = max(Device.most, Device.running)
        for _ in range(1000):
            np.zeros(100)
        Device.running -= 1
        return []


@pytest.mark.parametrize(
    ("runtime", "providers"),
    [
        ("onnxruntime:cuda", [("CUDAExecutionProvider", {"use_tf32": "0"})]),
        (
            "onnxruntime:tensorrt",
            [("TensorrtExecutionProvider", {}), ("CUDAExecutionProvider", {"use_tf32": "0"})],
        ),
        ("onnxruntime:directml", [("DmlExecutionProvider", {})]),
        ("onnxruntime", [("CPUExecutionProvider", {})]),
    ],
)
def test_devices_are_asked_for_as_they_need_it(
    runtime: str, providers: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [d.name for d in DEVICES.values()])
    monkeypatch.setattr(ort, "InferenceSession", Device)
    monkeypatch.setattr(Device, "fallback", True)
    monkeypatch.setattr(Device, "most", 0)
    engine = open_engine(brightness(), runtime)
    directml = runtime.endswith("directml")
    assert Device.asked == (providers, not directml)
    assert not Device.fallback
    if directml:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(engine.run, [{}] * 40))
        assert Device.most == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_is_not_installed_is_refused(runtime: str) -> None:
    (other,) = set(TITLES) - {runtime}
    code = (
        f"import sys; sys.modules[{runtime!r}] = None\n"
        "from blemish.engines import installed, open_engine\n"
        "from blemish.errors import ConfigError\n"
        f"assert list(installed()) == [{other!r}]\n"
        "try:\n"
        f"    open_engine({brightness()!r}, {runtime!r})\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    said = clean(code)
    assert f"runtime '{runtime}' must be installed, but " in said
    assert f"Here are: {other} ({TITLES[other]} {installed()[other]}). " in said
    assert said.endswith(f"{DEVICES[runtime].how}\n")


def test_other_packages_of_onnx_runtime_tell_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"onnxruntime-gpu": "1.2.3"}

    def version(package: str) -> str:
        if package not in there:
            raise metadata.PackageNotFoundError(package)
        return there[package]

    monkeypatch.setattr(metadata, "version", version)
    assert installed() == {"onnxruntime": "1.2.3", "openvino": "of unknown version"}


# ---------------------------------------------------------------- how far apart


@pytest.mark.parametrize(
    ("expected", "actual", "apart"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0, 0.0], [0.5, 0.0], 0.5),
        ([1.0], [1.0, 1.0], np.inf),
        ([1.0, np.nan], [1.0, np.nan], np.inf),
        ([1.0, 1.0], [1.0, np.inf], np.inf),
        ([], [], 0.0),
    ],
)
def test_difference(expected: list[float], actual: list[float], apart: float) -> None:
    assert difference(np.array(expected), np.array(actual)) == apart


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_numbers_that_are_not_finite_come_through(runtime: str) -> None:
    engine = open_engine(broken(np.nan), runtime)
    assert np.isnan(engine.run({"image": np.ones((1, 3, *SIZE), np.float32)})[0]).all()
