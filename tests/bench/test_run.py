"""Suites run on a small set: every cell once, whatever happens in between."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish import fitting
from blemish.bench import run as room
from blemish.bench.page import write_page
from blemish.bench.run import run_suite
from blemish.bench.suite import DataEntry, MethodEntry, Suite
from blemish.data import open_data
from blemish.images import write_map
from blemish.metrics.evaluation import FIGURES
from blemish.runtime import Inspector

SMALL = (("size", 64),)


def suite(data: Path, *methods: MethodEntry, seeds: tuple[int, ...] = (0,), **kwargs: Any) -> Suite:
    entry = DataEntry(path=data.name, **kwargs)
    return Suite(name="Mine", data=(entry,), methods=methods, seeds=seeds, root=data.parent)


def method(name: str = "padim", **settings: Any) -> MethodEntry:
    chosen = (*SMALL, *settings.items())
    return MethodEntry(label=f"{name}{settings or ''}", method=name, settings=chosen)


@pytest.fixture(scope="module")
def both(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path, list[Any]]:
    """A finished run of two methods with two seeds."""
    out = tmp_path_factory.mktemp("bench")
    whole = suite(demo, method(), method("fbft"), seeds=(0, 1))
    return whole, out, run_suite(whole, out)


def test_a_row_for_each_cell_in_order(both: tuple[Suite, Path, list[Any]]) -> None:
    _, out, rows = both
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("padim", 0), ("padim", 1), ("fbft", 0), ("fbft", 1),
    ]  # fmt: skip
    assert {row["status"] for row in rows} == {"done"}
    for row in rows:
        assert set(FIGURES) <= set(row["figures"])
        assert row["figures"]["counts"] == {"good": 3, "defect": 7, "without_mask": 0,
                                            "empty_mask": 0}  # fmt: skip
        assert row["config"]["size"] == 64
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [row["key"] for row in rows]
    assert len({row["key"] for row in rows}) == 4


def test_figures_are_those_of_evaluate(both: tuple[Suite, Path, list[Any]], demo: Path) -> None:
    from blemish.metrics.evaluate import Evaluator
    from blemish.scoring import score_dataset

    model = fitting.fit_folder(demo, settings={"size": 64}, seed=1)
    extent = model.artifact.calibration.extent
    evaluator = Evaluator(pixel_threshold=extent)
    judged = score_dataset(model, open_data(demo), evaluator)
    assert judged.left_out == ()
    expected = evaluator.result(model.artifact.calibration.threshold).to_json()
    assert both[2][1]["figures"] == json.loads(json.dumps(expected))


def test_nothing_is_computed_twice(
    both: tuple[Suite, Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out, rows = both

    def fitted(*args: object, **kwargs: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitting, "fit_folder", fitted)
    assert run_suite(whole, out) == rows


def test_a_stopped_run_goes_on_where_it_was(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fit, seen = suite(demo, method(), seeds=(0, 1, 2)), fitting.fit_folder, []

    def stopped(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["seed"])
        if seen == [0, 1]:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    monkeypatch.setattr(fitting, "fit_folder", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_suite(whole, tmp_path)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
    assert [row["status"] for row in run_suite(whole, tmp_path)] == ["done"] * 3
    assert seen == [0, 1, 1, 2]


def test_other_content_is_another_cell(demo: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(demo, tmp_path / "data"))
    first = run_suite(suite(data, method()), tmp_path / "out")[0]
    mask = next((data / "ground_truth" / "stain").iterdir())
    mask.write_bytes(next((data / "ground_truth" / "crack").iterdir()).read_bytes())
    second = run_suite(suite(data, method()), tmp_path / "out")[0]
    assert second["key"] != first["key"]
    assert second["figures"]["aupro_30"] != first["figures"]["aupro_30"]


def test_coarse_thresholds_are_another_cell(
    both: tuple[Suite, Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out, rows = both
    whole, rows = replace(whole, methods=whole.methods[:1]), rows[:2]
    coarse = run_suite(replace(whole, n_thresholds=99), out)
    assert not {row["key"] for row in coarse} & {row["key"] for row in rows}
    for new, old in zip(coarse, rows, strict=True):
        assert (new["figures"]["n_thresholds"], old["figures"]["n_thresholds"]) == (99, None)
        assert new["figures"]["aupro_05"] != old["figures"]["aupro_05"]
        assert new["figures"]["pixel_auroc"] == old["figures"]["pixel_auroc"]
    other = run_suite(replace(whole, n_thresholds=50, seeds=(0,)), out)
    assert other[0]["figures"]["aupro_05"] != coarse[0]["figures"]["aupro_05"]
    monkeypatch.setattr(fitting, "fit_folder", None)  # both are kept, side by side
    assert run_suite(whole, out) == rows
    assert run_suite(replace(whole, n_thresholds=99), out) == coarse


def test_thresholds_are_part_of_a_cell_of_maps(demo: Path, peer: Path, tmp_path: Path) -> None:
    whole = suite(demo, MethodEntry(label="peer", maps=peer))
    (dense,) = run_suite(whole, tmp_path / "out")
    (coarse,) = run_suite(replace(whole, n_thresholds=99), tmp_path / "out")
    assert coarse["figures"]["n_thresholds"] == 99
    assert coarse["figures"]["aupro_30"] != dense["figures"]["aupro_30"]


def test_failures_are_rows_and_are_tried_again(demo: Path, tmp_path: Path) -> None:
    bad, good = method(directions=0, ridge=1e-30), method()
    failed, done = run_suite(suite(demo, bad, good), tmp_path)
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert "Raise ridge" in failed["reason"]


def test_even_a_mistake_of_ours_is_a_row(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(fitting, "fit_folder", broken)
    (row,) = run_suite(suite(demo, method()), tmp_path)
    assert (row["status"], row["reason"]) == ("failed", "ZeroDivisionError: oh")


def test_absent_data_are_rows(demo: Path, tmp_path: Path) -> None:
    (row,) = run_suite(suite(tmp_path / "none", method()), tmp_path / "out")
    assert (row["data"], row["status"]) == ("none", "absent")
    assert "--data DIR or BLEMISH_DATA" in row["reason"]
    parent = suite(demo.parent, method(), categories=("nothing",))
    (row,) = run_suite(parent, tmp_path / "out")
    assert row["status"] == "failed"
    assert "must hold the categories ['nothing'], but has ['set']" in row["reason"]


def test_categories_are_found(demo: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(demo, tmp_path / "root" / name)
    rows = run_suite(suite(tmp_path / "root", method()), tmp_path / "out")
    assert [(row["data"], row["category"]) for row in rows] == [("root", "a"), ("root", "b")]
    (only,) = run_suite(suite(tmp_path / "root", method(), categories=("b",)), tmp_path / "out")
    assert only == rows[1]  # from the cache


# other tools' maps


@pytest.fixture
def peer(demo: Path, model: Inspector, tmp_path: Path) -> Path:
    """Our own maps, written as another tool would."""
    for image in sorted((demo / "test").rglob("*.jpg")):
        place = (tmp_path / "peer" / image.relative_to(demo)).with_suffix(".tiff")
        write_map(place, model.inspect(image).map)
    return tmp_path / "peer"


def test_maps_on_disk_score_as_the_method_that_wrote_them(
    both: tuple[Suite, Path, list[Any]], demo: Path, peer: Path, tmp_path: Path
) -> None:
    entry = MethodEntry(label="peer", maps=peer)
    (row,) = run_suite(suite(demo, entry, seeds=(0, 1)), tmp_path / "out")  # one, not one a seed
    ours = both[2][0]["figures"]
    assert {f: row["figures"][f] for f in FIGURES} == {f: ours[f] for f in FIGURES}
    assert row["figures"]["threshold"] is None
    assert row["figures"]["by_type"]["stain"]["detection_rate"] is None


@pytest.mark.parametrize("top", ["set", "anomaly_maps/set"])
def test_maps_may_lie_below_the_category(demo: Path, peer: Path, tmp_path: Path, top: str) -> None:
    moved = tmp_path / "other" / top
    moved.parent.mkdir(parents=True)
    peer.rename(moved)
    entry = MethodEntry(label="peer", maps=tmp_path / "other")
    (row,) = run_suite(suite(demo, entry), tmp_path / "out")
    assert row["status"] == "done"


def test_maps_that_do_not_fit_fail_their_cell(demo: Path, peer: Path, tmp_path: Path) -> None:
    entry = MethodEntry(label="peer", maps=peer)
    write_map(peer / "test" / "crack" / "000.tiff", np.zeros((5, 6), np.float32))
    (row,) = run_suite(suite(demo, entry), tmp_path / "out")
    assert row["status"] == "failed"
    assert re.search("size 300 x 360, but is 5 x 6", row["reason"])
    assert "cv2.resize(map, (360, 300))" in row["reason"]  # OpenCV's sizes are (W, H)
    (peer / "test" / "crack" / "000.tiff").unlink()
    (row,) = run_suite(suite(demo, entry), tmp_path / "out")
    assert "crack/000.jpg' must have its map at" in row["reason"]


def test_a_tree_of_other_names_is_told_with_what_is_there(
    demo: Path, peer: Path, tmp_path: Path
) -> None:
    (row,) = run_suite(suite(demo, MethodEntry(label="peer", maps=peer / "test")), tmp_path / "out")
    assert row["status"] == "failed"
    place = peer / "test" / "test" / "contamination" / "000.tiff"
    assert f"must have its map at '{place}'" in row["reason"]
    assert "of the 10 TIFF files" in row["reason"]
    assert "such as 'contamination/000.tiff'" in row["reason"]
    (tmp_path / "empty").mkdir()
    empty = MethodEntry(label="peer", maps=tmp_path / "empty")
    (row,) = run_suite(suite(demo, empty), tmp_path / "out")
    assert "of the 0 TIFF files" in row["reason"]


# the page


def test_the_page_shows_tables_curves_and_pictures(both: tuple[Suite, Path, list[Any]]) -> None:
    whole, out, rows = both
    text = write_page(whole, rows, out, "Foot.").read_text(encoding="utf-8")
    assert text.count("<svg") == 4
    assert text.count("data:image/jpeg;base64,") == 6 * 3  # truth and two methods
    assert "Foot." in text
    for word in ("http://", "https://", 'src="/', "<script"):
        assert word not in text.replace("http://www.w3.org", "")
    for file in out.rglob("*.jpg"):
        assert file.stat().st_size < 40_000


def test_a_page_of_failures_alone(tmp_path: Path) -> None:
    whole = suite(tmp_path / "none", method())
    rows = run_suite(whole, tmp_path / "out")
    text = write_page(whole, rows, tmp_path / "out", "Foot.").read_text(encoding="utf-8")
    assert "none: absent." in text
    assert room.RESULTS in {file.name for file in (tmp_path / "out").iterdir()}
