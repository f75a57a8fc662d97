"""The engines below the street: a graph → an Engine that runs it, on ONNX Runtime or OpenVINO.

Neither library is imported before it is asked for. What was asked for is what runs: a library that
is not installed, or a device that is not there, is refused, and nothing falls back to the CPU.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from blemish.errors import ArtifactError, ConfigError

Array = npt.NDArray[Any]

# What torch and all runtimes agree within, as a share of the largest value. float32 sums in another
# order differ by about 1e-5 of it; half the precision by 1e-2.
TOLERANCE = 1e-3
# Of eight bits: runtimes round at different places, in sums or behind them.
INT8_TOLERANCE = 0.05

DEFAULT = "onnxruntime"
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_OF_NVIDIA = "It takes an NVIDIA GPU. Run: pip uninstall onnxruntime && pip install onnxruntime-gpu"
_OF_INTEL = "and its driver. Run: pip install 'blemish[openvino]'"


class Device(NamedTuple):
    """name: as the library calls it. how: to get it where it is not there."""

    name: str
    how: str


DEVICES = {
    "onnxruntime": Device("CPUExecutionProvider", "Run: pip install onnxruntime"),
    "onnxruntime:cuda": Device("CUDAExecutionProvider", f"{_OF_NVIDIA}[cuda,cudnn]"),
    "onnxruntime:tensorrt": Device(
        "TensorrtExecutionProvider", f"{_OF_NVIDIA}[cuda,cudnn] tensorrt"
    ),
    "onnxruntime:directml": Device(
        "DmlExecutionProvider",
        "It takes a GPU and Windows. Run: pip uninstall onnxruntime && pip install"
        " onnxruntime-directml",
    ),
    "openvino": Device("CPU", "Run: pip install 'blemish[openvino]'"),
    "openvino:gpu": Device("GPU", f"It takes an Intel GPU {_OF_INTEL}"),
    "openvino:npu": Device("NPU", f"It takes an Intel NPU {_OF_INTEL}"),
}


@dataclass(frozen=True)
class Port:
    """An input or output of a graph. shape: None for a side of any length. type: as NumPy calls it,
    such as "float32"."""

    name: str
    shape: tuple[int | None, ...]
    type: str


class Engine(Protocol):
    """A graph that can be run. Safe to share between threads.

    name: a key of DEVICES. version: of the library. inputs, outputs: in the graph's order.
    """

    name: str
    version: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """Input's name → array; gives the outputs in order. Raises ArtifactError if it fails."""
        ...  # pragma: no cover


def open_engine(graph: bytes, runtime: str = DEFAULT, *, threads: int = 0) -> Engine:
    """An engine for an ONNX graph.

    runtime: a key of DEVICES. threads: of one run on the CPU; 0 takes one a core. As many runs as
    the cores have room for go on side by side.

    Raises ConfigError if the runtime is not installed, or has no such device here; ArtifactError if
    it refuses the graph, or if the graph keeps numbers in other files.
    """
    require_known(runtime)
    # A tensor outside the graph names its file under the key "location", and a runtime would read
    # it from below or above the working folder.
    if b"location" in graph:
        raise ArtifactError(
            "the graph must hold all of its numbers, but refers to another file."
            " Do not trust whoever gave it to you; fit again."
        )
    kind = OpenVino if library(runtime) == "openvino" else OnnxRuntime
    return kind(graph, runtime, threads)


def require_known(runtime: str) -> None:
    """Raises ConfigError unless it is a key of DEVICES."""
    if runtime not in DEVICES:
        raise ConfigError(f"runtime must be auto or one of {', '.join(DEVICES)}, got '{runtime}'.")


def library(runtime: str) -> str:
    """A key of TITLES: what runs it."""
    return runtime.partition(":")[0]


def here() -> tuple[str, ...]:
    """Libraries that are installed, the default first. Imports none of them."""
    return tuple(name for name in TITLES if find_spec(name) is not None)


def installed() -> dict[str, str]:
    """Libraries that are installed → their versions. Imports none of them."""
    return {name: _version(name) for name in here()}


def _version(library: str) -> str:
    # It takes a tenth of the time from the process's start to its first verdict.
    from importlib.metadata import PackageNotFoundError, version

    # ONNX Runtime's packages for other devices install the same library
    for package in (library, f"{library}-gpu", f"{library}-directml"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "of unknown version"


def entries(engine: Engine) -> dict[str, str]:
    """What a graph's inputs are called: by the name before parts of it were joined."""
    return {one.name.rsplit("/", 1)[-1]: one.name for one in engine.inputs}


def tolerance(graph: bytes) -> float:
    """What runtimes must agree within on a graph: the one rule, for the choice of a runtime, for
    exported files and for verify. Compare it with what difference gives."""
    return INT8_TOLERANCE if b"DequantizeLinear" in graph else TOLERANCE


def difference(expected: Array, actual: Array) -> float:
    """The largest difference as a share of the largest expected value; infinite where one of them
    has a number that is not finite, or their shapes differ. Compare it with tolerance."""
    if expected.shape != actual.shape or not (np.isfinite(expected) & np.isfinite(actual)).all():
        return math.inf
    largest = float(np.abs(expected).max(initial=0))
    return float(np.abs(expected - actual).max(initial=0)) / (largest or 1.0)


class OnnxRuntime:
    """An Engine on ONNX Runtime; see open_engine."""

    def __init__(self, graph: bytes, name: str, threads: int) -> None:
        with _asked_for(name):
            import onnxruntime as ort
        self.name, self.version = name, str(ort.__version__)
        _require_device(name, ort.get_available_providers())
        device = DEVICES[name].name
        directml = device == "DmlExecutionProvider"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # refusals are raised, not printed
        options.enable_mem_pattern = not directml  # it has none
        self._turn = threading.Lock() if directml else nullcontext()  # it runs one at a time
        try:
            self._session = ort.InferenceSession(graph, options, providers=_providers(device))
        except Exception as error:  # ONNX Runtime's own exceptions have no common class
            raise _refused(self, error) from error
        # It would go on with the CPU where a device's libraries are missing, or a run fails there.
        _require_device(name, self._session.get_providers())
        self._session.disable_fallback()
        self.inputs = tuple(map(_ort_port, self._session.get_inputs()))
        self.outputs = tuple(map(_ort_port, self._session.get_outputs()))

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """See Engine."""
        try:
            with self._turn:
                return list(self._session.run(None, dict(feed)))
        except Exception as error:  # as in __init__
            raise _failed(self, error) from error


def _providers(device: str) -> list[tuple[str, dict[str, str]]]:
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})  # its own choice: ten bits of the factors
    if device == "TensorrtExecutionProvider":
        return [(device, {}), cuda]  # which takes what TensorRT cannot do
    return [cuda] if device == cuda[0] else [(device, {})]


class OpenVino:
    """An Engine on OpenVINO; see open_engine."""

    def __init__(self, graph: bytes, name: str, threads: int) -> None:
        with _asked_for(name):
            import openvino
        self.name, self.version = name, str(openvino.__version__).partition("-")[0]
        core, device = openvino.Core(), DEVICES[name].name
        _require_device(name, [one.partition(".")[0] for one in core.available_devices])
        try:
            model = core.read_model(graph, b"")
            self._compiled = core.compile_model(model, device, _hints(device, threads))
        except Exception as error:  # as in OnnxRuntime
            raise _refused(self, error) from error
        self.inputs = tuple(map(_ov_port, self._compiled.inputs))
        self.outputs = tuple(map(_ov_port, self._compiled.outputs))
        self._own, self._tensor = threading.local(), openvino.Tensor

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """See Engine."""
        try:
            request = self._request()
            # Set one by one, and nothing asked of infer: what that wraps takes 0.04 ms. OpenVINO
            # shares no array that is read-only, though it writes to none.
            given = [np.require(feed[one.name], requirements=["C", "W"]) for one in self.inputs]
            for place, array in enumerate(given):
                request.set_input_tensor(place, self._tensor(array, shared_memory=True))
            request.infer()
            outputs = range(len(self.outputs))
            return [np.array(request.get_output_tensor(place).data) for place in outputs]
        except Exception as error:  # as in OnnxRuntime
            raise _failed(self, error) from error

    def _request(self) -> Any:
        """This thread's own: a request holds what it computes."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        return self._own.request


def _hints(device: str, threads: int) -> dict[str, Any]:
    hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device != "NPU":  # which has no float32; the CPU would choose bfloat16 where it is faster
        hints["INFERENCE_PRECISION_HINT"] = "f32"
    if device == "CPU":
        hints["ENABLE_CPU_PINNING"] = False  # to a core where another process may be busy
    if device == "CPU" and threads:
        beside = max(1, cores() // threads)
        hints |= {"NUM_STREAMS": beside, "INFERENCE_NUM_THREADS": beside * threads}
    return hints


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _asked_for(name: str) -> Iterator[None]:
    """For a library's import."""
    try:
        yield
    except ImportError as error:
        here = ", ".join(f"{of} ({TITLES[of]} {told})" for of, told in installed().items())
        raise ConfigError(
            f"runtime '{name}' must be installed, but {error}. Here are: {here or 'none'}."
            f" {DEVICES[name].how}"
        ) from error


def _require_device(name: str, there: Sequence[str]) -> None:
    """there: devices as the library calls them. Raises ConfigError."""
    if DEVICES[name].name not in there:
        ours = [
            one
            for one, device in DEVICES.items()
            if library(one) == library(name) and device.name in there
        ]
        raise ConfigError(
            f"runtime '{name}' must find its device, but {TITLES[library(name)]} has here only:"
            f" {', '.join(ours) or 'none'}. {DEVICES[name].how}"
        )


def _refused(engine: Engine, error: Exception) -> ArtifactError:
    what = library(engine.name)
    return ArtifactError(
        f"the graph must be one that {TITLES[what]} {engine.version} runs, but it says: {error}."
        f" Update {what}, or fit again."
    )


def _failed(engine: Engine, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"the graph must run on an image, but {TITLES[library(engine.name)]} {engine.version} says:"
        f" {error}. Fit again."
    )


def _ort_port(one: Any) -> Port:
    shape = tuple(side if isinstance(side, int) else None for side in one.shape)
    kind = one.type.removeprefix("tensor(").removesuffix(")")
    return Port(one.name, shape, {"float": "float32", "double": "float64"}.get(kind, kind))


def _ov_port(one: Any) -> Port:
    free = one.partial_shape.rank.is_dynamic
    sides = () if free else one.partial_shape
    shape = tuple(side.get_length() if side.is_static else None for side in sides)
    name = one.get_node().get_friendly_name().removesuffix("/sink_port_0")
    return Port(name, shape, one.element_type.to_dtype().name)
