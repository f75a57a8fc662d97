"""Features are computed once, by content, and read back as they were."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blemish import fastest
from blemish.engines import TOLERANCE, difference, open_engine
from blemish.errors import ConfigError, DataError
from blemish.fitting import backbone_graph, choose
from blemish.frame import Frame
from blemish.images import read_image
from blemish.nets import features as room
from blemish.nets.features import Features, chosen_runtime, extract
from blemish.track import silent
from graphs import no_origin

FRAME = Frame(size=(64, 64))


@pytest.fixture(scope="module")
def graph() -> bytes:
    return backbone_graph(choose("padim", "embedded", {"size": 64})[1])


@pytest.fixture
def images(demo: Path, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    shutil.copytree(demo / "test" / "good", folder)
    return sorted(folder.iterdir())


LOCK = Lock()


class Counted:
    """An engine that counts how many images run through it."""

    runs = 0

    def __init__(self, graph: bytes, runtime: str, *, threads: int = 0) -> None:
        self.engine = open_engine(graph, runtime, threads=threads)
        self.name, self.version = self.engine.name, self.engine.version

    def run(self, feed: dict[str, Any]) -> Any:
        asks_for_shapes = not feed["image"].any()  # a black image
        with LOCK:  # workers run side by side
            Counted.runs += not asks_for_shapes
        return self.engine.run(feed)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr(room, "open_engine", Counted)
    monkeypatch.setattr(Counted, "runs", 0)
    return Counted


def test_features_are_the_runtimes(graph: bytes, images: list[Path], tmp_path: Path) -> None:
    found, facts = extract(graph, FRAME, images, tmp_path / "cache", silent)
    engine = open_engine(graph, threads=1)
    assert len(found) == len(images) == 3
    assert [fact.error for fact in facts] == [None] * 3
    assert {(fact.size, fact.channels, fact.bits) for fact in facts} == {((300, 360), 3, 8)}
    for index, path in enumerate(images):
        expected = engine.run({"image": FRAME.to_model(read_image(path))})
        for wanted, got in zip(expected, found.batch([index]), strict=True):
            assert np.array_equal(wanted, got)


def test_nothing_is_computed_twice(
    graph: bytes, images: list[Path], tmp_path: Path, runs: type[Counted]
) -> None:
    first, facts = extract(graph, FRAME, images, tmp_path / "cache", silent)
    assert runs.runs == 3
    again, facts_again = extract(graph, FRAME, images, tmp_path / "cache", silent)
    assert runs.runs == 3
    assert (first, facts) == (again, facts_again)


def test_a_copy_or_another_name_is_the_same_content(
    graph: bytes, images: list[Path], tmp_path: Path, runs: type[Counted]
) -> None:
    extract(graph, FRAME, images, tmp_path / "cache", silent)
    moved = images[0].rename(images[0].with_name("é moved.jpg"))
    extract(graph, FRAME, [moved, *images[1:]], tmp_path / "cache", silent)
    assert runs.runs == 3


def test_a_changed_image_is_computed_again(
    graph: bytes, images: list[Path], tmp_path: Path, runs: type[Counted], demo: Path
) -> None:
    before, _ = extract(graph, FRAME, images, tmp_path / "cache", silent)
    kept = before.batch([0, 1, 2])
    stat = images[1].stat()
    shutil.copy(demo / "test" / "speck" / "000.jpg", images[1])
    os.utime(images[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # times do not fool it
    after, _ = extract(graph, FRAME, images, tmp_path / "cache", silent)
    assert runs.runs == 4
    for old, new in zip(kept, after.batch([0, 1, 2]), strict=True):
        assert np.array_equal(old[[0, 2]], new[[0, 2]])
        assert not np.array_equal(old[1], new[1])


def test_another_frame_is_another_place(
    graph: bytes, images: list[Path], tmp_path: Path, runs: type[Counted]
) -> None:
    first, _ = extract(graph, FRAME, images, tmp_path / "cache", silent)
    for frame in (replace(FRAME, size=(96, 96)), replace(FRAME, interpolation="bicubic")):
        other, _ = extract(graph, frame, images, tmp_path / "cache", silent)
        assert not set(first.files) & set(other.files)
    assert runs.runs == 9


def test_bad_files_are_reported_in_their_place(
    graph: bytes, images: list[Path], tmp_path: Path
) -> None:
    images[1].write_bytes(images[1].read_bytes()[:2000])
    paths = [images[0], tmp_path / "missing.png", *images[1:]]
    found, facts = extract(graph, FRAME, paths, tmp_path / "cache", silent)
    assert len(found) == 2
    assert [fact.error is None for fact in facts] == [True, False, False, True]
    assert "missing.png" in str(facts[1].error)
    assert str(images[1]) in str(facts[2].error)


def test_a_cache_that_cannot_be_written_is_said(
    graph: bytes, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DataError, match="must be writable"):
        extract(graph, FRAME, images, tmp_path / "cache", silent)


def test_progress_counts_every_path(graph: bytes, images: list[Path], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def track(items: Any, doing: str, total: int, /) -> Any:
        seen = list(items)
        told.append((doing, total, len(seen)))
        return iter(seen)

    extract(graph, FRAME, images, tmp_path / "cache", track)
    assert told == [("Looking at good parts", 3, 3)]


@pytest.fixture
def numbered(tmp_path: Path) -> Features:
    """Five images, whose features are their number and their place."""
    shapes = ((2, 3, 4), (5, 1, 2))
    for number in range(5):
        (np.arange(34, dtype=np.float32) + 100 * number).tofile(tmp_path / f"{number}.f32")
    return Features(
        files=tuple(tmp_path / f"{n}.f32" for n in range(5)), shapes=shapes, origin=no_origin(5)
    )


def test_batches_hold_what_the_files_hold(numbered: Features) -> None:
    first, second = numbered.batch([3, 0])
    assert first.shape == (2, 2, 3, 4)
    assert second.shape == (2, 5, 1, 2)
    assert first.dtype == second.dtype == np.float32
    assert first[0].ravel().tolist() == [300 + n for n in range(24)]
    assert second[1].ravel().tolist() == list(range(24, 34))


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_batches_pass_every_image_once_in_order(
    numbered: Features, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BATCH", size)
    batches = list(numbered.batches())
    assert all(len(taps[0]) <= size for taps in batches)
    for tap, whole in enumerate(numbered.batch(range(5))):
        assert np.array_equal(np.concatenate([taps[tap] for taps in batches]), whole)


def test_grids_are_what_a_net_makes_of_the_taps(
    numbered: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first[:, :, :1, :2] + second[:, :2]

    def track(items: Any, doing: str, total: int, /) -> Any:
        seen = list(items)
        assert len(seen) == total == 3
        return iter(seen)

    monkeypatch.setattr(room, "BATCH", 2)
    grids = torch.cat(list(numbered.grids(Net(), track)))
    first, second = numbered.batch(range(5))
    assert np.array_equal(grids.numpy(), first[:, :, :1, :2] + second[:, :2])


def test_a_part_keeps_its_order(numbered: Features) -> None:
    part = numbered.part([4, 2])
    assert len(part) == 2
    assert part.batch([0])[0].ravel()[0] == 400
    assert part.batch([1])[0].ravel()[0] == 200


# ---------------------------------------------------------------- runtimes


def test_turns_take_a_window_of_each_photograph_first() -> None:
    whole = Features(files=(Path(),) * 6, shapes=(), origin=no_origin(6))
    assert whole.turnwise() == [0, 1, 2, 3, 4, 5]
    assert replace(whole, numbers=(0, 0, 0, 1, 2, 2)).turnwise() == [0, 3, 4, 1, 5, 2]


def test_runtimes_agree_and_keep_their_features_apart(
    graph: bytes, images: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    folders = [tmp_path / "cache", tmp_path / "cache", tmp_path / "another"]
    names = ["onnxruntime", "openvino", "openvino"]
    first, second, again = (
        extract(graph, FRAME, images, folder, silent, runtime=name)[0]
        for folder, name in zip(folders, names, strict=True)
    )
    assert len({file.parent for file in (*first.files, *second.files)}) == 2
    assert [one.origin.runtime for one in (first, second)] == names[:2]
    assert second.origin.engine().name == "openvino"
    for a, b, c in zip(*(one.batch([0, 1, 2]) for one in (first, second, again)), strict=True):
        assert difference(a, b) <= TOLERANCE
        assert np.array_equal(b, c)  # one runtime repeats itself to the bit


def test_what_runs_a_backbone_is_named_or_measured(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen_runtime(graph, FRAME, None, "onnxruntime") == "onnxruntime"
    assert chosen_runtime(b"", FRAME, None, "auto") == "onnxruntime"  # nothing to measure
    assert chosen_runtime(b"", FRAME, None, "onnxruntime:cuda") == "onnxruntime:cuda"
    monkeypatch.setenv("BLEMISH_RUNTIME", "auto")
    monkeypatch.setattr(fastest, "SECONDS", 0.0)
    assert chosen_runtime(graph, FRAME, None, "auto") in ("onnxruntime", "openvino")
    for nothing in (b"", graph):
        with pytest.raises(ConfigError, match="must be auto or one of"):
            chosen_runtime(nothing, FRAME, None, "tvm")
