"""Means, intervals and ranks of made-up rows, against SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blemish.bench.tables import SHOWN, markdown, problems, shown, tables, value

RNG = np.random.default_rng(0)


def row(method: str, category: str = "c", seed: int = 0, **figures: Any) -> dict[str, Any]:
    whole = {**dict.fromkeys(SHOWN, 0.5), "intervals": {}, "n_thresholds": None, **figures}
    where = {"data": "d", "category": category, "method": method, "seed": seed}
    return {**where, "status": "done", "figures": whole}


@given(means=st.lists(st.floats(0, 1), min_size=2, max_size=14))
def test_intervals_over_seeds_are_students(means: list[float]) -> None:
    rows = [row("a", seed=i, image_auroc=mean) for i, mean in enumerate(means)]
    found = value(rows, "image_auroc")
    assert found is not None
    assert found.mean == pytest.approx(np.mean(means))
    if len(set(means)) == 1:  # nothing was random
        assert found.how is None
        return
    error = stats.sem(means)
    t = stats.t.ppf(0.975, len(means) - 1)
    rough = 0.15 if len(means) > 10 else 1e-3  # beyond the table the normal one stands in
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(t * error, rel=rough, abs=1e-12)
    assert found.how == "seeds"


def test_means_over_categories_come_before_means_over_seeds() -> None:
    rows = [row("a", c, s, aupro_30=x) for c, s, x in (("x", 0, 0.2), ("y", 0, 0.4))]
    rows += [row("a", c, s, aupro_30=x) for c, s, x in (("x", 1, 0.6), ("y", 1, 0.8))]
    found = value(rows, "aupro_30")
    assert found is not None
    assert found.mean == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5 - 12.706 * 0.2, rel=1e-6)


def test_one_seed_shows_the_bootstrap() -> None:
    found = value(
        [row("a", image_auroc=0.9, intervals={"image_auroc": [0.8, 0.95]})], "image_auroc"
    )
    assert found is not None
    assert (found.low, found.high, found.how) == (0.8, 0.95, "images")
    assert shown(found, bold=True) == "**0.900** [0.800, 0.950]†"
    same = [row("a", seed=s, intervals={"image_auroc": [0.4, 0.6]}) for s in (0, 1)]
    assert shown(value(same, "image_auroc")) == "0.500 [0.400, 0.600]†"
    several = [row("a", c, intervals={"image_auroc": [0.4, 0.6]}) for c in "xy"]
    assert shown(value(several, "image_auroc")) == "0.500"
    plain = value([row("a")], "aupro_30")
    assert shown(plain) == "0.500"


def test_a_figure_without_meaning_is_a_dash() -> None:
    found = value([row("a", pixel_ap=None), row("a", seed=1)], "pixel_ap")
    assert found is None
    assert shown(found) == "–"


def test_ranks_are_scipys() -> None:
    scores = RNG.integers(0, 4, (5, 3)) / 4  # 5 methods, 3 categories, with ties
    rows = [row(f"m{m}", f"c{c}", image_auroc=scores[m, c]) for m in range(5) for c in range(3)]
    table = tables(rows)[0]
    expected = stats.rankdata(-scores, axis=0).mean(axis=1)
    for m in range(5):
        assert table.ranks[f"m{m}"]["image_auroc"] == pytest.approx(expected[m])
    sums = [sum(ranks.values()) for ranks in table.ranks.values()]
    assert sums == sorted(sums)  # best first


def test_means_are_over_categories_that_all_finished() -> None:
    rows = [row("a", "x"), row("a", "y", image_auroc=0.1), row("b", "x")]
    rows.append({"data": "d", "category": "y", "method": "b", "seed": 0, "status": "failed",
                 "reason": "Too few."})  # fmt: skip
    whole, x, y = tables(rows)
    assert whole.over == ("x",)
    assert whole.values["a"]["image_auroc"] == whole.values["b"]["image_auroc"]
    assert (x.title, y.title) == ("d · x", "d · y")
    assert list(y.values) == ["a"]
    assert problems(rows) == ["d · y · b, seed 0: failed. Too few."]


def test_a_method_that_finished_nothing_leaves_the_others_their_tables() -> None:
    gone = {"data": "d", "category": "c", "method": "b", "seed": 0, "status": "failed",
            "reason": "No weights."}  # fmt: skip
    (only,) = tables([row("a"), gone])
    assert list(only.values) == ["a"]


def test_markdown_says_everything() -> None:
    rows = [
        row("a|b", image_auroc=0.9),
        row("c"),
        {"data": "e", "status": "absent", "reason": "No."},
    ]
    page = markdown("Mine", rows, "Made by hand.")
    assert page.startswith("# Mine\n\n## d\n\n| method | image AUROC |")
    assert "| a\\|b | **0.900** |" in page
    assert "- e: absent. No." in page
    assert page.endswith("Made by hand.\n")
    widths = {line.replace("\\|", "").count("|") for line in page.splitlines() if line[:1] == "|"}
    assert widths == {len(SHOWN) + 3}
