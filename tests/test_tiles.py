"""Large images in windows: every pixel once, no seams, through fit, artefact and inspection."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import blemish
from blemish import fitting, parts
from blemish.area import Area, Outline
from blemish.engines import open_engine
from blemish.errors import ConfigError
from blemish.fitting import backbone_graph, choose, fit_folder
from blemish.frame import Frame
from blemish.images import read_image
from blemish.methods import METHODS
from blemish.methods.padim import Stack
from blemish.nets.features import BATCH
from blemish.nets.nearest import Nearest
from blemish.nets.windows import extract_windows
from blemish.records import Map, Pixels
from blemish.runtime import Inspector, Scorer
from blemish.shots import Sight
from blemish.tiles import Tiles
from blemish.track import silent

SMALL: dict[str, Any] = {"size": 64, "tile": 128, "overlap": 48}
QUICK: dict[str, dict[str, Any]] = {
    "fractalad": {"steps": 2, "batch": 2, "patience": 1},
    "stlm": {"steps": 2, "batch": 2, "patience": 0, "denoising": 2},
}
tilings = st.integers(32, 90).flatmap(
    lambda side: st.builds(Tiles, side=st.just(side), overlap=st.integers(0, side // 2))
)
lengths = st.integers(1, 400)
quick = settings(max_examples=80, deadline=None)


# windows and weights


@quick
@given(tiles=tilings, length=lengths)
def test_windows_cover_a_side_and_share_what_was_asked(tiles: Tiles, length: int) -> None:
    starts = tiles.starts(length)
    assert starts == sorted(set(starts))
    if length <= tiles.side:
        (start,) = starts
        margins = -start, start + tiles.side - length
        assert min(margins) >= 0
        assert margins[1] - margins[0] in (0, 1)
        return
    assert (starts[0], starts[-1]) == (0, length - tiles.side)
    steps = np.diff(starts)
    assert steps.max() <= tiles.side - tiles.overlap
    assert steps.max() - steps.min() <= 1
    fewer = (len(starts) - 1) * (tiles.side - tiles.overlap) + tiles.overlap
    assert fewer < length  # one window less would not do


@quick
@given(tiles=tilings, length=lengths)
def test_weights_sum_to_one_at_each_pixel_and_to_nothing_beyond(tiles: Tiles, length: int) -> None:
    total = np.zeros(length + 2 * tiles.side)
    weights = tiles.weights(length)
    assert weights.min() >= 0
    for start, row in zip(tiles.starts(length), weights, strict=True):
        total[start + tiles.side : start + 2 * tiles.side] += row
    inside = total[tiles.side : tiles.side + length]
    assert np.abs(inside - 1).max() < 1e-6
    assert total.sum() == pytest.approx(length)


@quick
@given(tiles=tilings, size=st.tuples(lengths, lengths), level=st.floats(-1e6, 1e6, width=32))
def test_a_constant_stays_one(tiles: Tiles, size: tuple[int, int], level: float) -> None:
    map = tiles.map_of(size, lambda _: np.full((4, 4), level, np.float32))
    assert (map.shape, map.dtype) == (size, np.float32)
    assert np.allclose(map, level, rtol=1e-5, atol=1e-37)  # below it float32 loses digits


@quick
@given(tiles=tilings, size=st.tuples(lengths, lengths), seed=st.integers(0, 2**32 - 1))
def test_windows_that_agree_give_the_image_back(
    tiles: Tiles, size: tuple[int, int], seed: int
) -> None:
    pixels = np.random.default_rng(seed).standard_normal((*size, 1)).astype(np.float32)
    map = tiles.map_of(size, lambda corner: tiles.cut(pixels, corner)[..., 0], workers=2)
    assert np.abs(map - pixels[..., 0]).max() < 1e-5


def test_beyond_a_small_image_its_edge_is_repeated() -> None:
    tiles = Tiles(side=32, overlap=0)
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    (corner,) = tiles.corners((2, 3))
    expected = cv2.copyMakeBorder(pixels, 15, 15, 14, 15, cv2.BORDER_REPLICATE)[..., None]
    assert corner == (-15, -14)
    assert np.array_equal(tiles.cut(pixels, corner), expected)


def test_where_a_window_ends_it_counts_for_nothing() -> None:
    first, last = Tiles(side=90, overlap=30).weights(150)
    assert first[:60].tolist() == [1] * 60
    assert first[80:].max() < 1e-30
    assert (np.diff(first[60:70]) == 0).all()
    assert (np.diff(first[70:80]) < 0).all()
    assert np.allclose(first, last[::-1])


def test_a_window_that_fails_ends_it() -> None:
    seen = []

    def fail(corner: tuple[int, int]) -> Map:
        seen.append(corner)
        time.sleep(1e-3)
        raise ConfigError("it fails.")

    with pytest.raises(ConfigError, match="it fails"):
        Tiles(side=32, overlap=0).map_of((3200, 3200), fail, workers=2)
    assert len(seen) < 5000  # of 10,000


# seams, against one pass over the whole picture


class Passes:
    """A head that knows no place, on the real network: one pass over a picture, or windows."""

    def __init__(self) -> None:
        _, config = choose("patchcore", "embedded", {})
        self.run, self.stack = open_engine(backbone_graph(config), threads=1), Stack(None)
        rows = self._features(web(7))[0].flatten(1).T
        self.near = Nearest(rows[:: len(rows) // 500].numpy(), 0)

    def grid(self, pixels: Pixels) -> Map:
        """At a network's own scale, whatever the size: model pixels are native ones."""
        features = self._features(pixels)
        far = self.near(features[0].flatten(1).T).reshape(features.shape[2:])
        return np.asarray(far.numpy(), np.float32)

    def whole(self, pixels: Pixels) -> Map:
        size = pixels.shape[0], pixels.shape[1]
        return Frame(size=size).to_native(self.grid(pixels), size)

    def windows(self, pixels: Pixels, tiles: Tiles) -> Map:
        size = pixels.shape[0], pixels.shape[1]
        return tiles.map_of(size, lambda corner: self.grid(tiles.cut(pixels, corner)))

    def _features(self, pixels: Pixels) -> torch.Tensor:
        image = Frame(size=(pixels.shape[0], pixels.shape[1])).to_model(pixels)
        taps = self.run.run({"image": image})
        whole: torch.Tensor = self.stack(*map(torch.from_numpy, taps))
        return whole


def web(seed: int) -> npt.NDArray[np.uint8]:
    """(736, 896, 1): a surface rough at several scales."""
    rng, size = np.random.default_rng(seed), (736, 896)
    layers = [
        cv2.resize(rng.standard_normal((size[0] // s, size[1] // s)), size[::-1]) * s**0.5
        for s in (2, 8, 32)
    ]
    rough = np.sum(layers, axis=0)
    return np.asarray(np.clip(128 + 40 * rough / rough.std(), 0, 255), np.uint8)[..., None]


def seams(tiles: Tiles, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(H, W): where more than one window counts."""
    down, across = (
        sum(
            np.pad(row > 0, (start, length - start - tiles.side)).astype(int)
            for start, row in zip(tiles.starts(length), tiles.weights(length), strict=True)
        )
        for length in size
    )
    return np.asarray((down > 1)[:, None] | (across > 1)[None])


def test_no_seam_is_seen_against_one_large_pass() -> None:
    passes, pixels = Passes(), web(1)
    size, usual = (pixels.shape[0], pixels.shape[1]), Tiles(side=256, overlap=96)
    whole = passes.whole(pixels)
    spread = float(whole.std())

    def worst(tiles: Tiles) -> tuple[float, float, float]:
        """Difference at seams, its maximum and mean; steps there, over those of one pass."""
        map, there = passes.windows(pixels, tiles), seams(usual, size)
        off = np.abs(map - whole)[there] / spread
        steps = [np.abs(np.diff(one, axis=1))[there[:, 1:]].mean() for one in (map, whole)]
        return float(off.max()), float(off.mean()), float(steps[0] / steps[1])

    highest, mean, steps = worst(usual)
    assert highest < 1.6
    assert mean < 0.25
    assert 0.95 < steps < 1.05
    # without an overlap there are seams, and this would see them
    highest_bare, mean_bare, steps_bare = worst(Tiles(side=256, overlap=0))
    assert highest_bare > 2.5 * highest
    assert mean_bare > 2 * mean
    assert steps_bare > 1.08


# every method


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_from_windows(
    method: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "FEW", 5)
    chosen = {**SMALL, **QUICK.get(method, {})}
    model = fit_folder(demo, method=method, settings=chosen, false_alarms=0.34)
    opened = blemish.load(model.save(tmp_path / "part.blemish"))
    assert opened.artifact.frame.tiles == Tiles(side=128, overlap=48)
    (spared, *_), good = opened.artifact.calibration.scores, demo / "test" / "good"
    image = read_image(good / "000.jpg")
    map, score = opened.score(image)
    assert map.shape == image.shape[:2]
    assert np.isfinite(map).all()
    assert np.array_equal(map, model.score(image)[0])
    assert score == map.max()
    marked = opened.inspect(demo / "test" / "crack" / "000.jpg")
    assert marked.score > min(score, spared)


@pytest.fixture(scope="module")
def tiled(demo: Path) -> Inspector:
    """padim on windows of 128 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FEW", 5)
        return fit_folder(demo, settings=SMALL, false_alarms=0.34)


@pytest.mark.parametrize("size", [(200, 900), (900, 40), (128, 128), (127, 129), (1, 1), (500, 64)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_any_size_and_depth(tiled: Inspector, size: tuple[int, int], depth: Any) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, np.iinfo(depth).max, (*size, 1), depth)
    map, score = tiled.score(pixels)
    assert (map.shape, map.dtype) == (size, np.float32)
    assert score == map.max()


def test_threads_change_nothing(tiled: Inspector) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (300, 700, 3), np.uint8)
    maps = [Inspector(tiled.artifact, threads=threads).score(pixels)[0] for threads in (1, 2, 3)]
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


def left(width: float) -> Area:
    return Area(roi=Outline(polygons=(((0.0, 0.0), (width, 0.0), (width, 300.0), (0.0, 300.0)),)))


def test_windows_outside_of_the_region_are_not_computed(
    tiled: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiled.artifact
    pixels = np.random.default_rng(0).integers(0, 256, (300, 360, 3), np.uint8)
    tiles = plain.frame.tiles
    assert tiles is not None
    counts, maps = [], []
    for area in (None, left(360.0), left(90.0)):
        scorer = Scorer(plain.graph, replace(plain.frame, area=area), runtime="onnxruntime")
        engine = Mock(wraps=scorer._engine)
        monkeypatch.setattr(scorer, "_engine", engine)
        maps.append(scorer.score(pixels)[0])
        counts.append(engine.run.call_count)
    every = tiles.corners((300, 360))
    assert counts == [len(every), len(every), sum(x < 90 for _, x in every)]
    assert np.array_equal(maps[0], maps[1])
    map = maps[2]
    assert (map[:, 90:] == map[:, :90].min()).all()
    # as if all windows of the blanked photograph had been computed
    blanked = replace(plain.frame, area=left(90.0)).blanked(pixels)
    assert np.array_equal(map[:, :90], tiled.score(blanked)[0][:, :90])


def test_windows_outside_of_the_region_teach_nothing(demo: Path, tmp_path: Path) -> None:
    frame = Frame(size=(32, 32), tiles=Tiles(side=64, overlap=8), area=left(70.0))
    tiles, paths = frame.tiles, sorted((demo / "train" / "good").iterdir())[:2]
    assert tiles is not None
    graph = backbone_graph(choose("padim", "embedded", {"size": 32})[1])
    features, _ = extract_windows(graph, frame, tiles, paths, tmp_path, silent)
    here = [corner for corner in tiles.corners((300, 360)) if corner[1] < 70]
    assert list(features.origin.corners) == 2 * here
    assert len(list(tmp_path.rglob("*.f32"))) == 2 * len(here)


def test_what_lies_far_away_changes_nothing(tiled: Inspector) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(100, 140, (300, 1200, 3), np.uint8)
    spoilt = pixels.copy()
    spoilt[100:140, 1000:1040] = 255
    before, after = tiled.score(pixels)[0], tiled.score(spoilt)[0]
    assert np.array_equal(before[:, :800], after[:, :800])
    assert np.abs(after - before)[100:140, 1000:1040].max() > 1


def test_the_blur_crosses_windows(tiled: Inspector) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (200, 400, 3), np.uint8)
    frame = tiled.artifact.frame
    plain = Scorer(tiled.artifact.graph, frame).score(pixels)[0]
    blurring = Frame(size=frame.size, tiles=frame.tiles, boxes=((5, 2),))
    blurred = Scorer(tiled.artifact.graph, blurring).score(pixels)[0]
    for _ in range(2):
        plain = cv2.blur(plain, (5, 5), borderType=cv2.BORDER_CONSTANT)
    assert np.allclose(blurred, plain, rtol=1e-4)


# what is learnt from


def test_windows_of_a_part_never_lie_on_both_sides(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[set[str]] = []
    heard: list[set[str]] = []
    fit, maps = fitting.head_graph, fitting.native_maps

    def watched_fit(kind: Any, config: Any, features: Any, **rest: Any) -> bytes:
        learnt.append({file.name.split("-")[0] for file in features.files})
        assert len(features) > features.photographs == len(learnt[-1])
        assert features.of(len(features) - 1) == features.photographs - 1
        return fit(kind, config, features, **rest)

    def watched_maps(head: bytes, good: Any, choice: Any) -> Any:
        heard.append({fact.sha256 for fact in good.facts})
        return maps(head, good, choice)

    monkeypatch.setattr(parts, "FEW", 5)
    monkeypatch.setattr(fitting, "head_graph", watched_fit)
    monkeypatch.setattr(fitting, "native_maps", watched_maps)
    model = fit_folder(demo, settings=SMALL, false_alarms=0.34)
    every = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (demo / "train" / "good").iterdir()
    }
    assert len(learnt) == len(heard) == 1
    assert learnt[0] | heard[0] == every
    assert not learnt[0] & heard[0]
    assert len(model.artifact.calibration.scores) == len(heard[0])


def test_parts_are_calibrated_by_whole_maps(tiled: Inspector, demo: Path) -> None:
    scores = [tiled.score(read_image(p))[1] for p in sorted((demo / "train" / "good").iterdir())]
    assert set(tiled.artifact.calibration.scores) <= set(scores)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(4)
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (200, 300, 3), np.uint8)).save(path)
    return paths


def test_a_window_is_read_once_more_only_if_asked_for(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = Tiles(side=100, overlap=20)
    frame = Frame(size=(32, 32), tiles=tiles)
    features, facts = extract_windows(b"", frame, tiles, photographs, tmp_path / "k", silent)
    assert [fact.size for fact in facts] == [(200, 300)] * 3
    assert len(features) == 3 * 3 * 4
    assert features.photographs == 3
    origin = features.origin
    assert not any(kept.exists() for kept in origin.kept)
    for index in (13, 12):
        corner, path = origin.corners[index], origin.paths[index]
        assert path == photographs[1]
        assert np.array_equal(origin.read(index), tiles.cut(read_image(path), corner))
    photographs[1].unlink()
    assert origin.read(14).shape == (100, 100, 3)  # all of one photograph's are kept together
    chosen = features.part([2, 0])
    assert (len(chosen), chosen.photographs) == (24, 2)
    assert [chosen.of(0), chosen.of(12)] == [0, 1]
    assert chosen.origin.paths[0] == photographs[2]
    assert chosen.origin.corners[12:] == origin.corners[:12]
    assert len(features) > BATCH  # batches cross photographs


def test_too_many_windows_are_drawn_from_each_photograph(
    photographs: list[Path], tmp_path: Path
) -> None:
    tiles = Tiles(side=100, overlap=20)
    frame = Frame(size=(32, 32), tiles=tiles)
    folder = tmp_path / "kept"
    few, _ = extract_windows(b"", frame, tiles, photographs, folder, silent, most=15)
    again, _ = extract_windows(b"", frame, tiles, photographs, folder, silent, most=15)
    assert few == again
    assert [few.of(index) for index in range(len(few))] == [0] * 5 + [1] * 5 + [2] * 5
    assert len(set(few.origin.corners[:5])) == 5
    one, _ = extract_windows(b"", frame, tiles, photographs, folder, silent, most=1)
    assert len(one) == 3


def test_what_is_not_learnt_from_is_told(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FEW", 5)
    monkeypatch.setattr(extract_windows, "__kwdefaults__", {"runtime": "onnxruntime", "most": 24})
    told: list[str] = []
    fit_folder(demo, settings=SMALL, false_alarms=0.34, warn=told.append)
    assert told == ["learning from 24 of 192 windows, drawn evenly."]


# shapes of photographs


def test_a_long_picture_is_told_and_can_be_padded(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    shutil.copytree(demo / "train" / "good", folder)
    for path in folder.iterdir():
        Image.open(path).crop((0, 0, 360, 150)).save(path)
    told: list[str] = []
    fit_folder(folder, settings={"size": 64}, warn=told.append)
    assert len(told) == 1
    assert told[0].startswith("photographs up to 2.4 times as long as wide are squeezed to a squ")
    told.clear()
    model = fit_folder(folder, settings={"size": 64, "pad": True}, warn=told.append)
    assert told == []
    assert model.artifact.frame.fit == "pad"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_pad(method: str) -> None:
    assert choose(method, "embedded", {"pad": True})[1].frame().fit == "pad"
    assert choose(method, "embedded", {})[1].frame().fit == "stretch"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"tile": 31}, "tile must be 0, or 32 to 8192 pixels, but is 31"),
        ({"tile": 8193}, "tile must be"),
        ({"tile": 100, "overlap": 51}, "overlap must be 0 to half of the tile, 50 pixels"),
        ({"tile": 100, "overlap": -1}, "overlap must be"),
        ({"overlap": 10}, "overlap must be 0 to half of the tile, 0 pixels"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        choose("padim", "embedded", wrong)


def test_the_usual_overlap_is_a_share_of_the_models_pixels() -> None:
    def tiles(**told: Any) -> Tiles | None:
        return choose("padim", "embedded", told)[1].frame().tiles

    assert tiles() is None
    assert tiles(tile=256) == Tiles(side=256, overlap=96)
    assert tiles(tile=1024) == Tiles(side=1024, overlap=384)
    assert tiles(tile=1024, size=512) == Tiles(side=1024, overlap=192)
    assert tiles(tile=100, size=64) == Tiles(side=100, overlap=50)
    assert tiles(tile=256, overlap=0) == Tiles(side=256, overlap=0)


@pytest.mark.parametrize("told", [{"pad": True}, {"tile": 256}])
def test_several_modalities_are_refused(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config = choose("lsfa", "embedded", told)
    sight = Sight(pictures=("photograph",), points="fpfh", grid=8)
    monkeypatch.setattr(type(config), "sight", lambda self, samples: sight)
    with pytest.raises(ConfigError, match="left out where photographs come with points"):
        fitting.sight_of(config, [object()], False)  # type: ignore[list-item]
