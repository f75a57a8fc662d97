"""Runtimes compared: what agrees, what does not, and what the verb says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import blemish.verify as room
import commands
import graphs
from blemish.engines import INT8_TOLERANCE, TOLERANCE, tolerance
from blemish.errors import ConfigError, ImageError
from blemish.records import Map
from blemish.runtime import Inspector
from blemish.verify import table, verify
from commands import Run


def test_all_runtimes_that_are_here_are_compared(model: Inspector, demo: Path) -> None:
    pytest.importorskip("openvino")
    for images in ((), sorted((demo / "test" / "good").iterdir())):
        rows = verify(model.artifact, images)
        assert [row.runtime for row in rows][:2] == ["onnxruntime", "openvino"]
        assert all(row.agrees and row.verdicts == 0 for row in rows)
        assert 0 < rows[1].pixel < TOLERANCE
        assert rows[0].pixel == 0
        assert {row.images for row in rows} == {len(images) or 4}


def test_eight_bits_are_allowed_more(model: Inspector) -> None:
    assert tolerance(model.artifact.graph) == TOLERANCE < INT8_TOLERANCE
    node = helper.make_node("DequantizeLinear", ["image", "scale"], ["map"])
    assert tolerance(graphs.model([node], graphs.float_input(), graphs.float_output())) == (
        INT8_TOLERANCE
    )


class Shaken(Inspector):
    """As if another runtime lost half of the precision."""

    def score(self, shot: object) -> tuple[Map, float]:
        map, score = super().score(shot)  # type: ignore[arg-type]
        if self.runtime.name == "openvino":
            return (map * np.float32(1.01)).astype(np.float32), score
        return map, score


def test_a_runtime_that_differs_is_told(
    model: Inspector, part: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(room, "Inspector", Shaken)
    rows = verify(model.artifact)
    assert [row.agrees for row in rows] == [True, False]
    assert rows[1].pixel == pytest.approx(0.01, rel=0.05)
    assert "DIFFERS" in table(rows)
    done = run("verify", part)
    assert done.code == 1
    assert "DIFFERS" in done.out


def test_the_verb_prints_a_table_or_json(part: Path, demo: Path, run: Run) -> None:
    done = run("verify", part, demo / "test" / "good")
    assert done.code == 0
    assert "onnxruntime" in done.out
    assert "on 3 images" in done.out
    rows = json.loads(run("verify", part, "--json").out)
    assert all(row["agrees"] for row in rows)
    assert rows[0]["allowed"] == TOLERANCE
    assert run("verify", part, "-q") == commands.Done(0, "", "")


def test_what_cannot_be_verified_is_refused(model: Inspector, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several modalities"):
        verify(graphs.several())
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        verify(model.artifact, [tmp_path / "x.png"])


def test_without_the_reference_nothing_can_be_compared(
    model: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise ConfigError("onnxruntime is not installed")

    monkeypatch.setattr(room, "Inspector", gone)
    with pytest.raises(ConfigError, match="not installed"):
        verify(model.artifact)
