"""The ten promises of a method (DESIGN.md), for every entry of METHODS."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

import blemish
from blemish import parts
from blemish.area import Area, Outline
from blemish.data import open_data
from blemish.engines import TOLERANCE, difference, installed
from blemish.errors import ConfigError, NotFittedError
from blemish.fitting import backbone_graph, choose, fit_folder
from blemish.heads import inputs
from blemish.images import read_image, write_png
from blemish.methods import METHODS
from blemish.methods.base import Config, Method, as_json, tap_names
from blemish.nets.features import Features, extract
from blemish.nets.frozen import Frozen
from blemish.nets.weights import find_weights
from blemish.records import Pixels
from blemish.runtime import Inspector
from blemish.settings import configure
from blemish.track import silent

SIZE = 64
HELD_OUT = 0.5  # at this rate some of 12 good parts are spared, and the seed chooses which
FEW = 5  # parts up to which none is spared: a fit that spares some exports one head, not thirteen
# What makes a fit a matter of seconds; what is promised does not depend on it.
QUICK: dict[str, dict[str, Any]] = {
    "fractalad": {"steps": 2, "batch": 2, "patience": 0},
    "stlm": {"steps": 2, "batch": 2, "patience": 0, "denoising": 2},
    "lsfa": {"steps": 2, "batch": 2, "patience": 0, "grid": 8},
}
ODD_SIZES = [(37, 53), (301, 211), (64, 64), (1, 1), (1, 90), (90, 1)]
PRESETS = [(method, preset) for method in METHODS for preset in METHODS[method].presets]
UNTRAINED = [method for method in METHODS if not METHODS[method].trained]


def fitted(
    data: Path, method: str, *, few: int = FEW, false_alarms: float = HELD_OUT, **kwargs: Any
) -> Inspector:
    """few: of parts.FEW. Each call costs seconds: let a test share a fit where it can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FEW", few)
        chosen = settings(method)
        return fit_folder(data, method=method, settings=chosen, false_alarms=false_alarms, **kwargs)


def settings(method: str) -> dict[str, Any]:
    return {"size": SIZE, **QUICK.get(method, {})}


@pytest.fixture(scope="module", params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def inspector(method: str, demo: Path) -> Inspector:
    model = fitted(demo, method)
    assert model.artifact.calibration.how == "held out"
    return model


class Again(NamedTuple):
    """A second fit of the same, and what was so before it and after it."""

    inspector: Inspector
    data: tuple[Any, Any]
    process: tuple[Any, Any]


@pytest.fixture(scope="module")
def again(
    method: str, demo: Path, inspector: Inspector, tmp_path_factory: pytest.TempPathFactory
) -> Again:
    np.random.seed(3)  # noqa: NPY002 (nobody may listen to the global generators)
    torch.manual_seed(3)
    with pytest.MonkeyPatch.context() as patch:
        # A cold cache, so that the backbone is built, too.
        patch.setenv("BLEMISH_CACHE", str(tmp_path_factory.mktemp("cold")))
        before = snapshot(demo), process_state()
        model = fitted(demo, method)
        after = snapshot(demo), process_state()
    return Again(model, (before[0], after[0]), (before[1], after[1]))


@pytest.fixture(scope="module")
def good(demo: Path) -> Pixels:
    return read_image(demo / "test" / "good" / "000.jpg")


@pytest.fixture(scope="module")
def features(method: str, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    """Of the parts that the inspector was fitted on."""
    _, config = choose(method, "embedded", settings(method))
    paths = [sample.image for sample in open_data(demo).train]
    folder = tmp_path_factory.mktemp("features")
    whole = extract(backbone_graph(config), config.frame(), paths, folder, silent)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FEW", FEW)
        (spared,) = parts.split(len(paths), HELD_OUT, 0, METHODS[method].trained).folds
    return whole.part([index for index in range(len(paths)) if index not in spared])


class Learnt(NamedTuple):
    """A method after its fit, what fit returned, and the config as given and as it was then."""

    method: Method
    returned: Method
    config: Config
    before: dict[str, Any]


@pytest.fixture(scope="module")
def learnt(method: str, features: Features) -> Learnt:
    kind, config = choose(method, "embedded", settings(method))
    before, made = as_json(config), kind(config)
    return Learnt(made, made.fit(features), config, before)


def noise(size: tuple[int, int], channels: int, kind: type[np.generic]) -> Pixels:
    rng = np.random.default_rng(1)
    return rng.integers(0, np.iinfo(kind).max + 1, (*size, channels)).astype(kind)


# 1. the constructor only stores; config round-trips through JSON; unknown keys are errors


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_the_constructor_only_stores(method: str, preset: str) -> None:
    kind, config = choose(method, preset, {})
    made = kind(config)
    assert vars(made) == {"config": config}
    assert made.config is config
    assert kind.name == method


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_config_round_trips_through_json(method: str, preset: str) -> None:
    _, config = choose(method, preset, {"size": 96, "weights": "säge blatt.pth"})
    stored = json.loads(json.dumps(as_json(config)))
    assert configure(METHODS[method].presets[preset], stored) == config
    assert as_json(config) == stored
    words = {n: v if isinstance(v, str) else json.dumps(v) for n, v in stored.items()}
    assert configure(METHODS[method].presets[preset], words) == config  # as --set gives them


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_every_setting_is_explained(method: str, preset: str) -> None:
    config = METHODS[method].presets[preset]
    told = " ".join(str(kind.__doc__) for kind in type(config).__mro__)
    assert not [name for name in as_json(config) if name not in told]


def test_an_unknown_setting_names_the_nearest(method: str) -> None:
    with pytest.raises(ConfigError, match=r"'sise' must be a setting .* Did you mean 'size'"):
        choose(method, "embedded", {"sise": 1})


# 2. fit returns self and leaves everything as it found it


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_fit_returns_self_and_keeps_its_config(learnt: Learnt) -> None:
    assert learnt.returned is learnt.method
    assert learnt.method.config is learnt.config
    assert as_json(learnt.config) == learnt.before


def test_fit_leaves_the_data_as_it_was(again: Again) -> None:
    before, after = again.data
    assert after == before


def process_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global one is what is watched)
    return {
        "numpy": (name, keys.tolist(), rest),
        "python": random.getstate(),
        "torch": torch.get_rng_state().tolist(),
        "filters": list(warnings.filters),
        "cudnn": [
            getattr(torch.backends.cudnn, flag)
            for flag in ("enabled", "benchmark", "deterministic", "allow_tf32")
        ],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "opencv": cv2.getNumThreads(),
    }


def test_fit_leaves_the_process_as_it_was(again: Again) -> None:
    before, after = again.process
    assert after == before


# 3. same seed and data: equal weights; another seed: others


def test_one_seed_gives_one_model(inspector: Inspector, again: Again, tmp_path: Path) -> None:
    assert again.inspector.artifact.graph == inspector.artifact.graph
    first = inspector.save(tmp_path / "first.blemish").read_bytes()
    assert again.inspector.save(tmp_path / "second.blemish").read_bytes() == first


def test_another_seed_gives_another_model(method: str, demo: Path, inspector: Inspector) -> None:
    # The seed chooses which good parts are spared for calibration, and the graph is learnt from
    # the rest.
    first, other = inspector.artifact, fitted(demo, method, seed=1).artifact
    assert other.calibration.how == "held out"
    assert first.graph != other.graph
    assert first.calibration.scores != other.calibration.scores


def test_cross_fitted_seeds_differ_in_calibration(
    method: str, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The seed deals the parts out in folds (of a method that is trained even few parts), and the
    # final graph is learnt from all of them: it differs only where a training begins with random
    # weights.
    monkeypatch.setattr(parts, "FOLDS", 2)
    monkeypatch.setattr(parts, "FEW_FITS", 2)
    trained = METHODS[method].trained
    first, other = (
        fitted(demo, method, few=12 if trained else FEW, false_alarms=0.01, seed=seed).artifact
        for seed in (0, 1)
    )
    assert first.calibration.how == other.calibration.how == "cross-fitted"
    assert first.calibration.scores != other.calibration.scores
    assert (first.graph == other.graph) is not trained
    assert other.about["seed"] == 1


@pytest.mark.parametrize("method", UNTRAINED, indirect=True, scope="module")
def test_few_parts_leave_nothing_to_the_seed(method: str, demo: Path, tmp_path: Path) -> None:
    # Each is left out by itself, and nothing else in these presets is random.
    for path in sorted((demo / "train" / "good").iterdir())[:6]:
        shutil.copy(path, tmp_path)
    first, other = (fitted(tmp_path, method, few=6, seed=seed).artifact for seed in (0, 1))
    assert len(first.calibration.scores) == 6
    assert other.graph == first.graph
    assert other.calibration == first.calibration
    assert (first.about["seed"], other.about["seed"]) == (0, 1)


# 4. scoring before fit raises an error that names the next step


def test_scoring_before_fit_names_the_next_step(method: str) -> None:
    kind, config = choose(method, "embedded", {})
    with pytest.raises(NotFittedError, match=rf"{kind.__name__} must be fitted .* fit\("):
        kind(config).head()


# 5. maps are float32, finite, native; scores finite; higher is worse


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", ODD_SIZES)
def test_maps_are_native(
    inspector: Inspector, size: tuple[int, int], channels: int, kind: type[np.generic]
) -> None:
    found = inspector.inspect(noise(size, channels, kind))
    assert found.map.shape == size
    assert found.map.dtype == np.float32
    assert np.isfinite(found.map).all()
    assert np.isfinite(found.score)
    assert 0 < found.p_value <= 1


def test_grey_files_are_scored_like_the_same_colours(inspector: Inspector, good: Pixels) -> None:
    grey = good[..., :1]
    score = inspector.inspect(np.repeat(grey, 3, axis=2)).score
    assert inspector.inspect(grey).score == score
    assert inspector.inspect(grey[..., 0]).score == score


def test_sixteen_bits_of_the_same_scene_score_alike(inspector: Inspector, good: Pixels) -> None:
    map = inspector.inspect(good).map
    deep = inspector.inspect(good.astype(np.uint16) * 257).map
    # Resizing rounds 8-bit pixels to 8 bits again, which distances to 12 parts magnify.
    assert np.abs(deep - map).mean() <= 0.05 * np.abs(map).mean()


def test_higher_is_worse(method: str, inspector: Inspector, good: Pixels) -> None:
    spoilt = good.copy()
    spoilt[130:190, 150:210] = (255, 0, 255)
    clean, bad = inspector.inspect(good), inspector.inspect(spoilt)
    assert bad.score > clean.score
    assert bad.p_value <= clean.p_value
    y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 100 <= y < 220  # a grid cell beyond the block at most: 300 px / 8 cells
    assert 105 <= x < 255


# 6. neither batch size nor order matters; read-only arrays work


def test_order_and_company_do_not_matter(inspector: Inspector, demo: Path) -> None:
    images = sorted((demo / "test").rglob("*.jpg"))
    forward = {path: inspector.inspect(path) for path in images}
    backward = {path: inspector.inspect(path) for path in reversed(images)}
    for path in images:
        assert np.array_equal(forward[path].map, backward[path].map)
        assert forward[path].score == backward[path].score
    alone = Inspector(inspector.artifact, threads=1).inspect(images[3])
    together = forward[images[3]].map
    assert np.abs(alone.map - together).max() <= TOLERANCE * np.abs(together).max()


def test_the_number_of_workers_does_not_matter(inspector: Inspector, demo: Path) -> None:
    images = sorted((demo / "test").rglob("*.jpg"))
    found = list(inspector.inspect_many(images, workers=2))
    assert [one.file for one in found] == images
    for one in found:
        alone = inspector.inspect(str(one.file))
        assert one.prediction is not None
        assert np.array_equal(one.prediction.map, alone.map)
        assert (one.prediction.score, one.prediction.p_value) == (alone.score, alone.p_value)


def test_threads_may_share_a_detector(inspector: Inspector, demo: Path) -> None:
    images = sorted((demo / "test").rglob("*.jpg"))
    alone = [inspector.inspect(path).score for path in images]
    with ThreadPoolExecutor(4) as pool:
        assert [found.score for found in pool.map(inspector.inspect, images)] == alone


def test_read_only_arrays_work_and_stay(inspector: Inspector, good: Pixels) -> None:
    frozen = good.copy()
    frozen.flags.writeable = False
    assert np.array_equal(inspector.inspect(frozen).map, inspector.inspect(good.copy()).map)
    strided = np.ascontiguousarray(good[::-1, ::-1])[::-1, ::-1]
    assert np.array_equal(inspector.inspect(strided).map, inspector.inspect(good).map)
    assert np.array_equal(frozen, good)


# 7. scoring changes no parameter, buffer or mode


def test_scoring_changes_nothing(inspector: Inspector, good: Pixels, tmp_path: Path) -> None:
    before = inspector.save(tmp_path / "before.blemish").read_bytes()
    first = inspector.inspect(good)
    inspector.inspect(noise((50, 60), 3, np.uint8))
    again = inspector.inspect(good)
    assert np.array_equal(first.map, again.map)
    assert first.score == again.score
    assert inspector.save(tmp_path / "after.blemish").read_bytes() == before


def test_a_forward_pass_changes_nothing(learnt: Learnt, features: Features) -> None:
    head = learnt.method.head().eval()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    taken = inputs(learnt.method.takes, features, 0).values()
    given = tuple(map(torch.from_numpy, taken))
    with torch.no_grad():
        first, again = head(*given), head(*given)
    assert torch.equal(first, again)
    assert not head.training
    assert before.keys() == head.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())


# 8. save → load → score is bit-equal


def test_a_saved_model_scores_to_the_bit(inspector: Inspector, demo: Path, tmp_path: Path) -> None:
    loaded = blemish.load(inspector.save(tmp_path / "ein Teil é.blemish"))
    assert loaded.artifact == inspector.artifact
    for path in sorted((demo / "test").rglob("*.jpg")):
        kept, back = inspector.inspect(path), loaded.inspect(path)
        assert np.array_equal(kept.map, back.map)
        assert (kept.score, kept.p_value, kept.threshold, kept.verdict, kept.regions) == (
            back.score,
            back.p_value,
            back.threshold,
            back.verdict,
            back.regions,
        )


# 9. runtimes agree with torch and each other, at image and at pixel level, for odd sizes too


@pytest.fixture(scope="module")
def in_torch(learnt: Learnt) -> Callable[[torch.Tensor], torch.Tensor]:
    config = learnt.config
    weights = find_weights(config.backbone, config.weights)
    backbone = Frozen(config.backbone, config.taps, (SIZE, SIZE), weights)
    head = learnt.method.head().eval()

    def grid(image: torch.Tensor) -> torch.Tensor:
        taps = dict(zip(tap_names(config), backbone(image), strict=True))
        out: torch.Tensor = head(*({"image": image, **taps}[name] for name in learnt.method.takes))
        return out

    return grid


@pytest.mark.parametrize("size", [None, *ODD_SIZES])
def test_the_runtime_agrees_with_torch(
    inspector: Inspector,
    in_torch: Callable[[torch.Tensor], torch.Tensor],
    good: Pixels,
    size: tuple[int, int] | None,
) -> None:
    pixels = noise(size, 3, np.uint8) if size else good
    frame = inspector.artifact.frame
    with torch.no_grad():
        grid = in_torch(torch.from_numpy(frame.to_model(pixels)))
    expected = frame.to_native(grid.numpy(), pixels.shape[:2])
    found = inspector.inspect(pixels)
    assert np.abs(found.map - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert found.score == pytest.approx(frame.score(expected), rel=TOLERANCE)


@pytest.fixture(scope="module")
def elsewhere(inspector: Inspector) -> Inspector:
    """The same model on the other runtime."""
    if "openvino" not in installed():
        pytest.skip("RUNTIME ABSENT: openvino; pip install 'blemish[dev]'")
    return Inspector(inspector.artifact, runtime="openvino", threads=1)


@pytest.mark.parametrize("size", [None, *ODD_SIZES])
def test_runtimes_agree(
    inspector: Inspector, elsewhere: Inspector, good: Pixels, size: tuple[int, int] | None
) -> None:
    pixels = noise(size, 3, np.uint8) if size else good
    one, other = inspector.inspect(pixels), elsewhere.inspect(pixels)
    assert (one.runtime.split()[0], other.runtime.split()[0]) == ("onnxruntime", "openvino")
    assert difference(one.map, other.map) <= TOLERANCE
    near = TOLERANCE * np.abs(one.map).max()
    assert abs(one.score - other.score) <= near
    assert one.verdict == other.verdict or abs(one.score - one.threshold) <= near


def test_every_runtime_repeats_itself_and_may_be_shared(elsewhere: Inspector, demo: Path) -> None:
    images = sorted((demo / "test").rglob("*.jpg"))
    alone = [elsewhere.inspect(path).map.tobytes() for path in images]
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(elsewhere.inspect, images))
    assert [found.map.tobytes() for found in shared] == alone


# 10. two detectors in one process do not touch each other


@pytest.mark.parametrize("step", [0, 1], ids=["of one method", "and the next method"])
def test_two_detectors_do_not_touch_each_other(
    method: str, inspector: Inspector, demo: Path, good: Pixels, step: int
) -> None:
    # Its own class shares most with a detector; what methods share with each other is not theirs
    # (backbone, cache, runtime), so a ring of pairs meets it as all of them would.
    ring = list(METHODS)
    second = ring[(ring.index(method) + step) % len(ring)]
    before = inspector.inspect(good)
    other = fitted(demo, second, seed=5)
    alone = other.inspect(good)
    after = inspector.inspect(good)
    assert np.array_equal(before.map, after.map)
    assert (before.score, before.threshold) == (after.score, after.threshold)
    assert np.array_equal(other.inspect(good).map, alone.map)


# every data layout


def test_every_layout_of_the_same_parts_gives_the_same_model(
    method: str, demo: Path, tmp_path: Path, inspector: Inspector
) -> None:
    images = tmp_path / "only photographs"
    shutil.copytree(demo / "train" / "good", images)
    types = tmp_path / "types"
    shutil.copytree(demo / "train" / "good", types / "good")
    shutil.copytree(demo / "test" / "speck", types / "speck")
    assert open_data(demo).layout == "mvtec"
    for data, layout in ((images, "images"), (types, "types")):
        assert open_data(data).layout == layout
        model = fitted(data, method).artifact
        assert model.graph == inspector.artifact.graph
        assert model.calibration == inspector.artifact.calibration


def test_the_test_part_is_never_looked_at(
    method: str, demo: Path, tmp_path: Path, inspector: Inspector
) -> None:
    data = tmp_path / "set"
    shutil.copytree(demo, data)
    for path in (data / "test").rglob("*.jpg"):
        path.write_bytes(b"not an image")
    told: list[str] = []
    model = fitted(data, method, warn=told.append).artifact
    assert model.graph == inspector.artifact.graph
    assert told == []


# and where a region of interest is told: what lies outside of it changes nothing


ROI = Area(roi=Outline(polygons=(((90.0, 60.0), (280.0, 60.0), (280.0, 250.0), (90.0, 250.0)),)))


@pytest.fixture(scope="module")
def within(method: str, demo: Path) -> Inspector:
    return fitted(demo, method, area=ROI)


def test_a_defect_outside_never_alarms(within: Inspector, good: Pixels) -> None:
    spoilt, seen = good.copy(), ROI.seen((300, 360))
    spoilt[:60], spoilt[250:], spoilt[:, :90], spoilt[:, 280:] = 0, 255, (255, 0, 255), 3
    assert (spoilt[seen] == good[seen]).all()
    clean, bad = within.inspect(good), within.inspect(spoilt)
    assert np.array_equal(bad.map, clean.map)
    assert (bad.score, bad.verdict, bad.regions) == (clean.score, clean.verdict, clean.regions)
    assert (bad.map[~seen] == bad.map[seen].min()).all()


def test_a_defect_inside_is_found_there(within: Inspector, good: Pixels) -> None:
    spoilt = good.copy()
    spoilt[130:190, 150:210] = (255, 0, 255)
    clean, bad = within.inspect(good), within.inspect(spoilt)
    assert bad.score > clean.score
    y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 100 <= y < 220
    assert 105 <= x < 255


def test_what_lies_outside_of_good_parts_teaches_nothing(
    method: str, demo: Path, within: Inspector, tmp_path: Path
) -> None:
    seen = ROI.seen((300, 360))
    for index, path in enumerate(sorted((demo / "train" / "good").iterdir())):
        pixels = read_image(path).copy()
        pixels[~seen] = (index * 20, 255 - index * 20, 7)
        write_png(tmp_path / f"{path.stem}.png", pixels)  # lossless; inside it stays what it was
    other = fitted(tmp_path, method, area=ROI).artifact
    assert other.graph == within.artifact.graph
    assert other.calibration == within.artifact.calibration


def test_a_model_keeps_its_region(within: Inspector, good: Pixels, tmp_path: Path) -> None:
    loaded = blemish.load(within.save(tmp_path / "part.blemish"))
    assert loaded.artifact == within.artifact
    assert loaded.inspect(good).score == within.inspect(good).score
