"""Rehearsals: made-up defects on good parts no model was fitted on, and what is said of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import blemish
from blemish import fitting, parts, rehearse
from blemish.artifact import open_artifact
from blemish.calibrate import Calibration
from blemish.errors import ArtifactError
from blemish.fitting import fit_folder
from blemish.images import read_image
from blemish.metrics import Budget, Evaluator
from blemish.parts import split
from blemish.records import Map, Pixels, Sample
from blemish.rehearse import Rehearsal, prepare
from blemish.report.text import rehearsal_table
from blemish.runtime import Inspector
from blemish.synth import FLAT

FEW = ("scratch", "stain", "missing")  # kinds: enough to tell them apart, and quick
CALIBRATION = Calibration(
    scores=(0.0, 0.5), peaks=(0.0, 0.5), extent=0.5, false_alarms=0.5, how="held out"
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearse, "FLAT", FEW)
        patch.setattr(rehearse, "COUNT", 3)
        yield


@pytest.fixture(scope="module")
def rehearsed(demo: Path, quick: None) -> Inspector:
    return blemish.fit(demo, settings={"size": 64}, rehearse=True)


@pytest.fixture
def paths(demo: Path) -> list[Path]:
    return sorted((demo / "train" / "good").iterdir())


def blind(pixels: Pixels) -> tuple[Map, float]:
    return np.zeros(pixels.shape[:2], np.float32), 0.0


def knowing(paths: Sequence[Path]) -> Any:
    """A model that sees each pixel that is not as in the one of these it was made from."""
    good = [read_image(path).astype(int) for path in paths]

    def score(pixels: Pixels) -> tuple[Map, float]:
        change = min((np.abs(pixels - one).max(axis=2) for one in good), key=np.count_nonzero)
        return (change > 0).astype(np.float32), float(change.max() > 0)

    return score


def heard(paths: Sequence[Path], score: Any, seed: int = 0) -> dict[str, Any]:
    rehearsal = prepare(paths, seed=seed)
    rehearsal.hear(score, paths)
    return rehearsal.result(CALIBRATION)


def test_a_blind_model_finds_none(paths: list[Path]) -> None:
    told = heard(paths, blind)
    assert told["all"]["found"] == 0
    assert told["all"]["image_auroc"] == 0.5
    assert told["all"]["interval"][0] == 0.0
    assert 0.2 < told["all"]["interval"][1] < 0.4  # Wilson: none of nine
    assert [row["found"] for row in told["kinds"].values()] == [0, 0, 0]


def test_a_model_that_sees_all_finds_all(paths: list[Path]) -> None:
    told = heard(paths, knowing(paths))
    assert told["all"]["found"] == told["all"]["made"] == 9
    assert told["all"]["image_auroc"] == 1.0
    assert told["all"]["aupro_30"] > 0.9  # masks mark what visibly changed
    assert told["good"] == {"parts": 12, "called": 0, "interval": told["good"]["interval"]}


def test_a_nervous_model_is_told_by_the_untouched_parts(paths: list[Path]) -> None:
    told = heard(paths, lambda pixels: (np.ones(pixels.shape[:2], np.float32), 1.0))
    assert told["all"]["found"] == 9
    assert told["good"]["called"] == 12
    assert told["all"]["image_auroc"] == 0.5


def test_every_defect_is_in_one_kind_and_one_quarter(paths: list[Path]) -> None:
    told = heard(paths, blind)
    assert sorted(told["kinds"]) == sorted(FEW)
    assert all(row["made"] == 3 for row in told["kinds"].values())
    assert sum(row["made"] for row in told["sizes"]) == 9
    areas = [area for row in told["sizes"] for area in row["area_px"]]
    assert areas == sorted(areas)  # quarters follow each other
    assert told["all"]["area_px"] == [areas[0], areas[-1]]


@pytest.mark.parametrize(
    "budget", [Budget(), Budget(chunk=2000, good=9000, defect=900, knots=3000)]
)
def test_figures_are_those_of_an_evaluator(
    paths: list[Path], budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "Budget", lambda: budget)

    def score(pixels: Pixels) -> tuple[Map, float]:
        map = pixels.mean(axis=2, dtype=np.float32)
        return map, float(map.max())

    told, rehearsal = heard(paths, score), prepare(paths, seed=0)
    groups = {"kind": [*told["kinds"].values(), told["all"]], "quarter": told["sizes"]}
    for group, rows in groups.items():
        evaluator = Evaluator(budget=budget)
        for part in rehearsal.parts:
            good = read_image(part)
            for defect in (None, *(one for one in rehearsal.defects if one.part == part)):
                pixels, mask = (good, None) if defect is None else defect.on(good)
                name = "good" if defect is None else getattr(defect, group)
                sample = Sample(image=part, split="test", defect_type=name)
                map, value = score(pixels)
                evaluator.add(sample, value, map, mask)
        expected = evaluator.result(CALIBRATION.threshold)
        assert expected.mode == ("exact" if budget == Budget() else "bounded")
        wanted = [*expected.by_type.values(), expected.figures]
        for row, figures in zip(rows, wanted, strict=False):
            for name in ("image_auroc", "aupro_30"):
                assert row[name] == pytest.approx(figures[name], abs=1e-12)


def test_defects_are_put_back_as_they_were_made(paths: list[Path]) -> None:
    rehearsal = prepare(paths, seed=0)
    for defect in rehearsal.defects:
        good = read_image(defect.part)
        kept = good.copy()
        altered, mask = defect.on(good)
        assert np.array_equal(good, kept)
        assert altered.shape == good.shape
        assert int(mask.sum()) == defect.where.size > 0
        assert np.array_equal(altered[~mask], good[~mask])
        assert (altered[mask] != good[mask]).any()


def test_only_unseen_parts_are_shown(paths: list[Path]) -> None:
    rehearsal = prepare(paths, seed=0)
    shown: list[bytes] = []

    def score(pixels: Pixels) -> tuple[Map, float]:
        shown.append(pixels.tobytes())
        return blind(pixels)

    rehearsal.hear(score, paths[:2])
    mine = [defect for defect in rehearsal.defects if defect.part in paths[:2]]
    expected = {read_image(path).tobytes() for path in paths[:2]}
    expected |= {defect.on(read_image(defect.part))[0].tobytes() for defect in mine}
    assert set(shown) == expected
    assert len(shown) == 2 + len(mine)


def test_the_seed_decides(paths: list[Path]) -> None:
    def areas(seed: int) -> list[int]:
        return [defect.where.size for defect in prepare(paths, seed=seed).defects]

    assert areas(1) == areas(1)
    assert areas(1) != areas(2)


def test_few_parts_are_drawn_from_many(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse, "PARTS", 4)
    told = heard(paths, blind)
    assert told["good"]["parts"] == 4
    assert told["all"]["made"] == 9


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("L", (12, 12), 90 + number).save(tmp_path / f"{number}.png")
    told = heard(sorted(tmp_path.iterdir()), blind)
    assert told["all"] is None
    assert (told["kinds"], told["sizes"]) == ({}, [])
    assert {kind: one["count"] for kind, one in told["not_made"].items()} == dict.fromkeys(FEW, 3)
    table = rehearsal_table(told)
    for kind in FEW:
        assert f"{kind}: 3 could not be made: an image must be" in table


# in a fit


@pytest.mark.parametrize("few", [5, 40])
def test_no_part_is_shown_to_a_model_fitted_on_it(
    demo: Path, paths: list[Path], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 0.34 if few == 5 else 0.01
    monkeypatch.setattr(parts, "FEW", few)
    fitted: list[set[str]] = []
    shown: list[Path] = []
    fit, hear = fitting.head_graph, Rehearsal.hear

    def watched_fit(kind: Any, config: Any, features: Any, **kwargs: Any) -> bytes:
        fitted.append({file.stem for file in features.files})
        return fit(kind, config, features, **kwargs)

    def watched_hear(self: Rehearsal, score: Any, unseen: Sequence[Path]) -> None:
        for path in unseen:
            assert hashlib.sha256(path.read_bytes()).hexdigest() not in fitted[-1]
        shown.extend(unseen)
        hear(self, score, unseen)

    monkeypatch.setattr(fitting, "head_graph", watched_fit)
    monkeypatch.setattr(Rehearsal, "hear", watched_hear)
    model = fit_folder(demo, settings={"size": 64}, false_alarms=rate, rehearse=True)
    told = model.artifact.about["rehearsal"]
    folds = split(len(paths), rate, 0, trained=False).folds
    assert len(shown) == len(set(shown)) == told["good"]["parts"] == sum(map(len, folds))
    assert told["how"] == ("held out" if few == 5 else "cross-fitted")
    assert told["all"]["made"] == 9


def test_untouched_parts_score_as_in_the_calibration(rehearsed: Inspector) -> None:
    # None of them lies above the highest of them, the threshold for so few.
    assert rehearsed.artifact.about["rehearsal"]["good"]["called"] <= 1


def test_a_rehearsal_changes_nothing_of_the_model_and_is_kept(
    rehearsed: Inspector, model: Inspector, demo: Path, tmp_path: Path
) -> None:
    again = blemish.fit(demo, settings={"size": 64}, rehearse=True)
    told = rehearsed.artifact.about["rehearsal"]
    assert rehearsed.artifact.graph == model.artifact.graph
    assert rehearsed.artifact.calibration == model.artifact.calibration
    assert "rehearsal" not in model.artifact.about
    assert again.artifact.about["rehearsal"] == told
    kept = open_artifact(rehearsed.save(tmp_path / "p.blemish")).about["rehearsal"]
    assert kept == told == json.loads(json.dumps(told))


def test_the_table_says_what_was_found(paths: list[Path]) -> None:
    lines = rehearsal_table(heard(paths, knowing(paths))).splitlines()
    assert "Real ones may be easier or harder to find." in lines[0]
    rows = {line.split("  ")[0]: line for line in lines}
    assert "3 of   3" in rows["scratch"]
    assert "9 of   9" in rows["all"]
    assert any("0 of 12 were called defective (0 to 24 %)" in line for line in lines)


def test_all_flat_kinds_take_part() -> None:
    assert set(FEW) < set(FLAT)


def test_a_rehearsal_that_is_no_table_is_refused(model: Inspector, tmp_path: Path) -> None:
    from dataclasses import replace

    artifact = model.artifact
    odd = replace(artifact, about={**artifact.about, "rehearsal": [1]})
    with pytest.raises(ArtifactError, match="misstates rehearsal"):
        open_artifact(odd.save(tmp_path / "p.blemish"))
