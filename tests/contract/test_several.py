"""A method's promises (DESIGN.md) where parts come as photographs with scans: LSFA."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blemish
from blemish import parts
from blemish.data import open_data
from blemish.engines import open_engine
from blemish.export import to_onnx
from blemish.fitting import backbone_graph, choose, feed, fit_folder, inputs, look, sight_of
from blemish.nets.features import Features
from blemish.records import Sample
from blemish.runtime import Inspector
from blemish.scans import Scan
from blemish.shots import PHOTOGRAPH, POINTS, Shot, read_shot
from blemish.track import silent

SETTINGS: dict[str, Any] = {"size": 64, "grid": 8, "steps": 2, "batch": 2, "patience": 0}
TOLERANCE = 1e-3  # of the largest value: what export.py promises between torch and the runtime
CHOICES = [(), (POINTS,), (PHOTOGRAPH,)]  # what is left out


def fitted(data: Path, seed: int = 0) -> Inspector:
    """One fit, half of the parts held out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FEW", 5)
        return fit_folder(data, method="lsfa", settings=SETTINGS, false_alarms=0.5, seed=seed)


@pytest.fixture(scope="module")
def inspector(demo3d: Path) -> Inspector:
    return fitted(demo3d)


@pytest.fixture(scope="module")
def samples(demo3d: Path) -> list[Sample]:
    """One of each kind."""
    test = open_data(demo3d).test
    return list({sample.defect_type: sample for sample in test}.values())


@pytest.fixture(scope="module")
def features(demo3d: Path) -> Features:
    config = choose("lsfa", "embedded", SETTINGS)[1]
    train = open_data(demo3d).train
    sight = sight_of(config, train, False)
    frame, graph = config.frame(), backbone_graph(config)
    return look(train, graph, frame, sight, track=silent, warn=lambda _: None).features


def files(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def state() -> list[Any]:
    generator = np.random.get_state()  # noqa: NPY002 (nobody may touch the global generators)
    return [torch.get_rng_state().tolist(), generator[1].tolist(), torch.get_num_threads()]


def test_one_seed_gives_one_model_and_leaves_all_as_it_was(
    inspector: Inspector, demo3d: Path, tmp_path: Path
) -> None:
    before = files(demo3d), state()
    again = fitted(demo3d)
    assert (files(demo3d), state()) == before
    assert again.artifact.graph == inspector.artifact.graph
    first = inspector.save(tmp_path / "first.blemish").read_bytes()
    assert again.save(tmp_path / "second.blemish").read_bytes() == first
    assert fitted(demo3d, seed=1).artifact.graph != inspector.artifact.graph


@pytest.mark.parametrize("without", CHOICES)
def test_maps_are_native_and_each_choice_has_its_own_scores(
    inspector: Inspector, samples: list[Sample], without: tuple[str, ...]
) -> None:
    for sample in samples:
        shot = read_shot(sample)[0].without(without)
        found = inspector.inspect_shot(shot)
        assert (found.map.shape, found.map.dtype) == (shot.size, np.float32)
        assert np.isfinite(found.map).all()
        assert np.isfinite(found.score)
        assert found.missing == without
        assert 0 < found.p_value <= 1


@pytest.mark.parametrize("size", [(37, 53), (301, 211), (1, 90), (90, 1)])
def test_odd_sizes_are_inspected(inspector: Inspector, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.01, (*size, 3)).astype(np.float32)
    photograph = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    shot = Shot(
        pictures={PHOTOGRAPH: photograph}, scan=Scan(points=points, seen=np.ones(size, np.bool_))
    )
    map = inspector.inspect_shot(shot).map
    assert map.shape == size
    assert np.isfinite(map).all()


@pytest.mark.parametrize("spoilt", [PHOTOGRAPH, POINTS])
def test_what_is_wrong_in_one_modality_is_odder_in_both(
    inspector: Inspector, samples: list[Sample], spoilt: str
) -> None:
    good = read_shot(next(one for one in samples if one.defect_type == "good"))[0]
    pixels, scan = good.pictures[PHOTOGRAPH].copy(), good.scan
    assert scan is not None
    points = scan.points.copy()
    where = np.s_[90:120, 100:130]
    if spoilt == PHOTOGRAPH:
        pixels[where] = (255, 0, 255)
    else:
        points[where][..., 2] -= 0.02  # metres, towards the sensor
    bad = Shot(pictures={PHOTOGRAPH: pixels}, scan=Scan(points=points, seen=scan.seen))
    clean, found = inspector.inspect_shot(good), inspector.inspect_shot(bad)
    assert found.score > clean.score
    y, x = np.unravel_index(found.map.argmax(), found.map.shape)
    assert 62 <= y < 148  # a cell of 224 / 8 px beyond it at most
    assert 72 <= x < 158


def test_order_company_and_threads_do_not_matter(
    inspector: Inspector, samples: list[Sample]
) -> None:
    shots = [read_shot(sample)[0] for sample in samples]
    alone = [inspector.inspect_shot(shot).map for shot in shots]
    backward = [inspector.inspect_shot(shot).map for shot in reversed(shots)]
    with ThreadPoolExecutor(3) as pool:
        together = [found.map for found in pool.map(inspector.inspect_shot, shots)]
    for one, other, third in zip(alone, reversed(backward), together, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, third)


@pytest.mark.parametrize("without", CHOICES)
def test_a_saved_model_scores_to_the_bit(
    inspector: Inspector, samples: list[Sample], without: tuple[str, ...], tmp_path: Path
) -> None:
    loaded = blemish.load(inspector.save(tmp_path / "ein Teil é.blemish"))
    assert loaded.artifact == inspector.artifact
    for sample in samples:
        shot = read_shot(sample)[0].without(without)
        kept, back = inspector.inspect_shot(shot), loaded.inspect_shot(shot)
        assert np.array_equal(kept.map, back.map)
        assert (kept.score, kept.p_value, kept.threshold) == (
            back.score,
            back.p_value,
            back.threshold,
        )


@pytest.mark.parametrize("fusion", ["square", "average"])
def test_the_runtime_agrees_with_torch_on_each_choice(features: Features, fusion: str) -> None:
    kind, config = choose("lsfa", "embedded", {**SETTINGS, "fusion": fusion})
    method = kind(config).fit(features)
    head = method.head().eval()
    sight = features.origin.sight
    assert sight is not None
    first = tuple(map(torch.from_numpy, inputs(method.takes, features, 0).values()))
    run = open_engine(to_onnx(head, first, method.takes, ["map"], {}))
    maps = []
    for choice in sight.choices():
        given = map(torch.from_numpy, inputs(method.takes, features, 1, choice).values())
        with torch.no_grad():
            maps.append(head(*given).numpy())
        found = run.run(feed(run, features, 1, choice))[0]
        assert np.abs(found - maps[-1]).max() <= TOLERANCE * np.abs(maps[-1]).max()
    both, *alone = maps
    together = np.sqrt((alone[0] ** 2 + alone[1] ** 2) / 2)
    joined = together if fusion == "square" else (alone[0] + alone[1]) / 2
    np.testing.assert_allclose(both, joined, rtol=1e-4, atol=1e-5)
