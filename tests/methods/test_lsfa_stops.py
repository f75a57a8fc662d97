"""LSFA stops before adaptation spoils detection: learning longer costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.data import open_data
from blemish.data.demo3d import make_demo3d
from blemish.fitting import backbone_graph, choose, head_graph, look, native_maps, sight_of
from blemish.metrics.ranking import auroc
from blemish.parts import GoodParts
from blemish.track import silent

WORSE = 0.01  # image AUROC that learning longer may cost
EPOCH = 5  # steps of 8 parts each, of 40


@pytest.mark.slow
@pytest.mark.parametrize("category", ["lid", "bracket"])
def test_more_epochs_never_lower_auroc_by_more_than_a_hundredth(
    category: str, tmp_path: Path
) -> None:
    folder = make_demo3d(
        tmp_path / "set", train_good=40, test_good=20, per_defect=5, categories=[category]
    )
    data = open_data(folder / category)
    good, test = looked(data.train), looked(data.test)
    bad = np.array([sample.is_defect for sample in test.features.origin.samples])
    found = [auroc(scores(good, test, steps), bad) for steps in (0, EPOCH, 4 * EPOCH, 16 * EPOCH)]
    assert all(later >= max(found[:n]) - WORSE for n, later in enumerate(found) if n), found


def looked(samples: Any) -> GoodParts:
    config = choose("lsfa", "embedded", {})[1]
    sight = sight_of(config, samples, False)
    graph = backbone_graph(config)
    return look(samples, graph, config.frame(), sight, track=silent, warn=lambda _: None)


def scores(good: GoodParts, test: GoodParts, steps: int) -> Any:
    kind, config = choose("lsfa", "embedded", {"steps": steps, "check": EPOCH})
    head = head_graph(kind, config, good.features, seed=0, track=silent)
    return np.array([test.frame.score(map) for map in native_maps(head, test)])
