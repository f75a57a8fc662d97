"""Which runtime is chosen: by made-up engines on a made-up clock, remembered in a real folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish import fastest as room
from blemish.engines import Array, Engine, Port
from blemish.errors import ArtifactError, ConfigError
from blemish.fastest import MARGIN, SECONDS, Runtime, measured, open_chosen
from blemish.runtime import Inspector
from graphs import SIZE, artifact, brightness

BOTH = ["onnxruntime", "openvino"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return Clock.now


class Fake:
    """An engine whose runs take as many seconds as the test says."""

    version = "1"
    inputs = (Port("image", (1,), "float32"),)
    outputs = inputs
    seconds: dict[str, list[float]] = {}  # noqa: RUF012
    gives: dict[str, float] = {}  # noqa: RUF012
    refuses: tuple[str, ...] = ()
    opened: list[str] = []  # noqa: RUF012

    def __init__(self, graph: bytes, name: str, *, threads: int = 0) -> None:
        Fake.opened.append(name)
        if name in Fake.refuses:
            raise ArtifactError(f"{name} refuses it")
        self.name, self.runs = name, 0

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        times = Fake.seconds.get(self.name, [0.01])
        Clock.now += times[self.runs % len(times)]
        self.runs += 1
        return [np.array([Fake.gives.get(self.name, 1.0)])]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BLEMISH_RUNTIME")
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Clock, "now", 0.0)
    fresh: dict[str, Any] = {"seconds": {}, "gives": {}, "refuses": (), "opened": []}
    for name, value in fresh.items():
        monkeypatch.setattr(Fake, name, value)
    monkeypatch.setattr(room, "open_engine", Fake)
    monkeypatch.setattr(room, "here", lambda: tuple(BOTH))
    monkeypatch.setattr(room, "installed", lambda: dict.fromkeys(BOTH, "1"))


def example(engine: Engine) -> dict[str, Array]:
    return {"image": np.zeros(1)}


def choose(graph: bytes = b"graph", runtime: str = "auto", **more: Any) -> Runtime:
    engine, told = open_chosen(graph, example, runtime, **more)
    assert engine.name == told.name
    return told


def measure(first: list[float], second: list[float], graph: bytes = b"graph") -> tuple[str, str]:
    Fake.seconds = dict(zip(BOTH, (first, second), strict=True))
    engine, how = measured(graph, example, BOTH, 0, clock=Clock())
    return engine.name, how


# ---------------------------------------------------------------- measuring


def test_the_sooner_one_is_chosen() -> None:
    assert measure([0.010], [0.004]) == (
        "openvino",
        "measured: onnxruntime 10 ms, openvino 4 ms",
    )
    assert measure([0.004], [0.010])[0] == "onnxruntime"


def test_another_must_be_worth_its_longer_start() -> None:
    assert measure([0.01 * MARGIN * 0.99], [0.01])[0] == "onnxruntime"
    assert measure([0.01 * MARGIN * 1.01], [0.01])[0] == "openvino"


def test_one_slow_run_in_several_decides_nothing() -> None:
    slow_start = [0.9] + [0.004] * 1000  # the first run of each turn is not counted
    assert measure([0.010], slow_start)[0] == "openvino"
    assert measure([0.010], [*[0.004] * 7, 0.2])[0] == "openvino"


def test_it_takes_about_a_second() -> None:
    measure([0.010], [0.004])
    assert SECONDS <= Clock.now <= SECONDS + 0.25


def test_slow_graphs_are_measured_once_each() -> None:
    assert measure([5.0], [3.0])[0] == "openvino"
    assert Clock.now <= 3 * (5 + 3)  # to agree, to get warm, to be measured


def test_one_that_disagrees_is_left_out() -> None:
    Fake.gives = {"openvino": 1.01}
    assert measure([0.010], [0.004]) == ("onnxruntime", "measured: openvino differs by 0.01")
    Fake.gives = {"openvino": 1.0001}
    assert measure([0.010], [0.004])[0] == "openvino"
    Fake.gives = {"openvino": np.nan}
    assert measure([0.010], [0.004]) == ("onnxruntime", "measured: openvino differs by inf")


def test_eight_bits_may_differ_more() -> None:
    Fake.gives = {"openvino": 1.04}
    assert measure([0.010], [0.004], b"DequantizeLinear")[0] == "openvino"
    Fake.gives = {"openvino": 1.06}
    assert measure([0.010], [0.004], b"DequantizeLinear")[0] == "onnxruntime"


def test_scores_that_are_not_finite_are_for_the_inspector_to_refuse() -> None:
    Fake.gives = dict.fromkeys(BOTH, np.nan)
    assert measure([0.010], [0.004])[0] == "onnxruntime"


def test_one_that_refuses_the_graph_is_left_out() -> None:
    Fake.refuses = ("onnxruntime",)
    assert measure([0.010], [0.004]) == ("openvino", "measured: onnxruntime does not run it")
    Fake.refuses = ("onnxruntime", "openvino")
    with pytest.raises(ArtifactError, match="onnxruntime refuses it"):
        measure([0.010], [0.004])


# ---------------------------------------------------------------- asking


def test_what_is_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(runtime="openvino:gpu") == Runtime("openvino:gpu", "1", "asked for")
    monkeypatch.setenv("BLEMISH_RUNTIME", "openvino")
    assert choose() == Runtime("openvino", "1", "BLEMISH_RUNTIME asks for it")
    assert choose(runtime="onnxruntime").how == "asked for"
    assert Fake.opened == ["openvino:gpu", "openvino", "onnxruntime"]


@pytest.mark.parametrize("told", ["", "auto"])
def test_an_environment_that_says_nothing_leaves_it_open(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLEMISH_RUNTIME", told)
    assert choose().how.startswith("measured: ")


def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"must be auto or one of .*got 'tvm'"):
        choose(runtime="tvm")
    monkeypatch.setenv("BLEMISH_RUNTIME", "tvn")
    with pytest.raises(ConfigError, match=r"must be auto or one of .*got 'tvn'"):
        choose()


@pytest.mark.parametrize("name", BOTH)
def test_the_only_one_is_not_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "here", lambda: (name,))
    assert choose() == Runtime(name, "1", "the only one installed")
    assert (Fake.opened, Clock.now) == ([name], 0.0)


def test_a_runtime_tells_its_name_and_version() -> None:
    assert str(Runtime("openvino:gpu", "2026.4.1", "asked for")) == "openvino:gpu 2026.4.1"


# ---------------------------------------------------------------- remembering


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock for open_chosen, and a second runtime that is sooner done."""
    Fake.seconds = {"onnxruntime": [0.010], "openvino": [0.004]}
    monkeypatch.setattr(room, "measured", _by_the_clock)


def _by_the_clock(*given: Any) -> tuple[Engine, str]:
    return measured(*given, clock=Clock())


def kept() -> list[Path]:
    return sorted(room.cache_folder().rglob("*.json"))


@pytest.mark.usefixtures("slow")
def test_a_choice_is_remembered() -> None:
    first = choose()
    assert first.how == "measured: onnxruntime 10 ms, openvino 4 ms"
    spent, Fake.opened = Clock.now, []
    assert choose() == Runtime("openvino", "1", f"{first.how}; remembered")
    assert (Clock.now, Fake.opened) == (spent, ["openvino"])


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "change",
    [
        lambda patch: choose(b"another graph"),
        lambda patch: choose(threads=1),
        lambda patch: patch.setattr(room, "installed", lambda: dict.fromkeys(BOTH, "2")),
        lambda patch: patch.setattr(room, "cores", lambda: 99),
        lambda patch: patch.setattr(room, "_processor", lambda: "another"),
    ],
    ids=["graph", "threads", "versions", "cores", "processor"],
)
def test_it_is_measured_again_when_anything_is_another(
    change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose()
    spent = Clock.now
    change(monkeypatch)
    if Clock.now == spent:
        choose()
    assert Clock.now > spent
    assert len(kept()) == 2


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00",
        b"[1]",
        b"null",
        b"{}",
        json.dumps({"runtime": "tvm", "how": "?"}).encode(),
        json.dumps({"runtime": ["openvino"], "how": "?"}).encode(),
        json.dumps({"runtime": "openvino", "how": 3}).encode(),
    ],
)
def test_a_damaged_memory_is_measured_again(damage: bytes) -> None:
    choose()
    (file,) = kept()
    before = file.read_bytes()
    file.write_bytes(damage)
    assert choose().how == "measured: onnxruntime 10 ms, openvino 4 ms"
    assert file.read_bytes() == before


@pytest.mark.usefixtures("slow")
def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert choose().how == "measured: onnxruntime 10 ms, openvino 4 ms"


@pytest.mark.usefixtures("slow")
def test_no_place_for_caches_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLEMISH_CACHE")
    monkeypatch.setitem(__import__("sys").modules, "platformdirs", None)
    for _ in range(2):
        assert choose().name == "openvino"


def test_the_processor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room._processor()

    def absent(self: Path, **how: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", "a processor")
    assert room._processor().endswith(" a processor")


# ---------------------------------------------------------------- for real


def test_an_inspector_measures_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # real engines, a real clock
    monkeypatch.setenv("BLEMISH_RUNTIME", "auto")
    monkeypatch.setattr(room, "SECONDS", 0.0)
    made = Inspector(artifact(brightness()), threads=1)
    assert made.runtime.name in BOTH
    assert made.runtime.how.startswith(("measured: ", "the only one"))
    found = made.inspect(np.full(SIZE, 255, np.uint8))
    assert found.runtime == str(made.runtime) == f"{made.runtime.name} {made.runtime.version}"
