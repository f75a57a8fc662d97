"""Channels that are no colours, and floats: how they enter, and what they find."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banded import SIZE, fitted, part, put, spoilt
from blemish.area import Area, Outline
from blemish.bands import Bands, bands_from_json, learn, soft
from blemish.data import open_data
from blemish.errors import ConfigError, DataError, ImageError
from blemish.fitting import fit_folder
from blemish.frame import Frame
from blemish.images import read_image
from blemish.levels import frame_of
from blemish.methods.padim import PadimConfig
from blemish.report.overlay import as_rgb
from blemish.runtime import Inspector

quick = settings(max_examples=40, deadline=None)

CASES = [
    ("padim", np.uint16, 5), ("padim", np.uint8, 2), ("padim", np.float32, 1),
    ("padim", np.float32, 3), ("patchcore", np.uint16, 8), ("fbft", np.float32, 4),
    ("fractalad", np.uint16, 5), ("stlm", np.float32, 4), ("lsfa", np.uint16, 5),
]  # fmt: skip


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1].__name__}-{case[2]}"
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    method, kind, count = request.param
    return fitted(tmp_path_factory.mktemp("bands"), method, kind, count), kind, count


# ---------------------------------------------------------------- from fit to verdict


def test_a_defect_in_any_band_is_found(case: Any) -> None:
    model, kind, count = case
    good = part(100, count, kind)
    clean = model.inspect(good)
    for band in range(count):
        bad = model.inspect(spoilt(good, band))
        assert bad.score > clean.score
        assert bad.verdict == "defect"
        y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
        assert 25 <= y < 75
        assert 35 <= x < 85


def test_files_and_arrays_agree(case: Any, tmp_path: Path) -> None:
    model, kind, count = case
    pixels = part(101, count, kind)
    path = put(tmp_path, "a.tiff", pixels)
    assert np.array_equal(model.inspect(path).map, model.inspect(pixels).map)
    again = Inspector.load(model.save(tmp_path / "part.blemish"))
    assert again.artifact == model.artifact
    assert np.array_equal(again.inspect(path).map, model.inspect(path).map)


def test_other_channels_and_kinds_are_refused(case: Any) -> None:
    model, kind, count = case
    name = np.dtype(kind).name
    with pytest.raises(ImageError, match=rf"must have {count} channels? of {name}, .* has 7 chan"):
        model.inspect(np.zeros((*SIZE, 7), kind))
    other = np.uint8 if kind is not np.uint8 else np.uint16
    with pytest.raises(ImageError, match=rf"of {name}, .* of {np.dtype(other).name}"):
        model.inspect(np.zeros((*SIZE, count), other))


def test_hotter_is_never_hidden(case: Any) -> None:
    model, kind, count = case
    if kind is not np.float32:
        pytest.skip("whole numbers end")
    good = part(102, count, kind)
    for height in (100.0, 1e4, 1e20):
        hot, cold = good.copy(), good.copy()
        hot[44:60, 52:68, 0], cold[44:60, 52:68, 0] = height, -height
        assert model.inspect(hot).verdict == model.inspect(cold).verdict == "defect"
    for nothing in (np.nan, np.inf, -np.inf, -3.4e38):
        holes = good.copy()
        holes[3, 4, 0] = nothing
        with pytest.raises(ImageError, match=r"1 are NaN, infinite or beyond 1e\+30"):
            model.inspect(holes)


# ---------------------------------------------------------------- fit


def test_an_odd_one_among_the_good_is_left_out_by_name(tmp_path: Path) -> None:
    for seed in range(8):
        put(tmp_path, f"{seed}.tiff", part(seed))
    put(tmp_path, "few.tiff", part(9, 4))
    told: list[str] = []
    model = fit_folder(tmp_path, settings={"size": 96}, warn=told.append)
    (sentence,) = told
    assert "few.tiff" in sentence
    assert "must have 5 channels of uint16" in sentence
    assert "has 4 channels of uint16" in sentence
    assert model.artifact.about["data"]["channels"] == [5]


@pytest.mark.parametrize("method", ["fractalad", "stlm"])
def test_networks_that_see_the_photograph_itself_take_no_other_channels(
    method: str, tmp_path: Path
) -> None:
    for seed in range(5):
        put(tmp_path, f"{seed}.tiff", part(seed))
    with pytest.raises(ConfigError, match=rf"{method} must be given grey or RGB .* has 5 channels"):
        fit_folder(tmp_path, method=method, preset="paper")


def test_several_modalities_are_of_photographs(tmp_path: Path) -> None:
    for seed in range(5):
        put(tmp_path / "rgb", f"{seed}.tiff", part(seed))
        put(tmp_path / "other", f"{seed}.tiff", part(seed))
    others = {"other": "../other/{stem}.tiff"}
    with pytest.raises(ConfigError, match=r"lsfa must be given grey or RGB .* has 5 channels"):
        fit_folder(tmp_path / "rgb", method="lsfa", others=others)


def test_a_rehearsal_is_of_one_picture_of_the_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blemish.rehearse.COUNT", 1)
    for seed in range(5):
        put(tmp_path, f"{seed}.tiff", part(seed))
    told = fit_folder(tmp_path, settings={"size": 64}, rehearse=True).artifact.about["rehearsal"]
    assert told["all"]["made"] >= 8
    assert told["all"]["image_auroc"] > 0.5


@quick
@given(count=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_what_is_drawn_on_a_picture_shows_on_it_alone(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 9, (12, 12, count)).astype(np.float32)
    bands = learn([pixels.reshape(-1, count)], "float32")
    number = int(rng.integers(len(bands.rows) // 3))
    before = bands.picture(pixels, number)
    middle = np.full((1, count), bands.blank(np.dtype(np.float32)))
    by = np.full((1, 3), 20.0)
    after = bands.planes(bands.changed(middle, by, number)[None])[0, :, 0, 0]
    moved = 255 * (after - bands.planes(middle[None])[0, :, 0, 0])
    assert before.shape == (12, 12, 3)
    assert moved[3 * number : 3 * number + 3] == pytest.approx(20, abs=0.5)
    assert (
        count in (1, 3)
        or count % 3
        or np.allclose(np.delete(moved, range(3 * number, 3 * number + 3)), 0, atol=0.5)
    )


def test_what_is_ignored_may_hold_nothing(tmp_path: Path) -> None:
    outline = Outline(polygons=(((0.0, 0.0), (112.0, 0.0), (112.0, 10.0), (0.0, 10.0)),))
    for seed in range(6):
        pixels = part(seed, 1, np.float32)
        pixels[:10] = np.nan
        put(tmp_path, f"{seed}.tiff", pixels)
    area = Area(ignore=outline)
    model = fit_folder(tmp_path, settings={"size": 96}, area=area)
    pixels[:10] = 1e38
    assert np.isfinite(model.inspect(pixels).map).all()
    with pytest.raises(DataError, match=r"at least 4 different readable good images.*NaN"):
        fit_folder(tmp_path, settings={"size": 96})


def test_windows_of_many_channels(tmp_path: Path) -> None:
    for seed in range(6):
        put(tmp_path, f"{seed}.tiff", part(seed))
    put(tmp_path, "nan.tiff", np.full((96, 112, 5), np.nan, np.float32))
    told: list[str] = []
    model = fit_folder(tmp_path, settings={"size": 64, "tile": 64}, warn=told.append)
    assert any("nan.tiff" in one for one in told)
    good = part(100)
    assert model.inspect(spoilt(good, 2)).score > model.inspect(good).score


def test_no_measured_pixel_at_all(tmp_path: Path) -> None:
    path = put(tmp_path, "0.tiff", np.full((8, 8, 1), np.nan, np.float32))
    with pytest.raises(DataError, match=r"must have measured pixels of 1 channel of float32"):
        frame_of(PadimConfig(), [path], None)


# ---------------------------------------------------------------- the numbers


@quick
@given(count=st.integers(1, 9), seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e4))
def test_good_parts_lie_between_0_and_1_and_nothing_is_lost(
    count: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((900, count)) @ rng.standard_normal((count, count)) * scale
    pixels = mixed.astype(np.float32).reshape(30, 30, count)
    bands = learn([pixels.reshape(-1, count)], "float32")
    frame = Frame(size=(30, 30), bands=bands)
    planes = frame.to_model(pixels)
    assert planes.shape == (1, frame.planes, 30, 30)
    assert frame.planes == (3 if count in (1, 3) else 3 * -(-count // 3))
    assert ((planes >= 0) & (planes <= 1)).mean() > 0.98
    assert np.linalg.matrix_rank(np.array(bands.rows)) == count
    assert bands_from_json(json.loads(json.dumps(asdict(bands)))) == bands


@quick
@given(a=st.integers(-(10**30), 10**30), b=st.integers(-(10**30), 10**30), c=st.integers(0, 9))
def test_beyond_both_ends_it_goes_on(a: int, b: int, c: int) -> None:
    low, high = soft(np.sort(np.array([a, b], np.float32))).tolist()
    assert low <= high
    assert abs(high) < 80
    assert soft(np.array([c / 9], np.float32))[0] == np.float32(c / 9)


GOOD = asdict(learn([np.random.default_rng(0).random((50, 5))], "float32"))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "int8"},
        {"middle": []},
        {"middle": [0.0] * 4},
        {"rows": GOOD["rows"][:5]},
        {"rows": [[0.0] * 4] * 6},
        {"offsets": [0.0] * 5},
        {"offsets": [float("inf")] * 6},
        {"offsets": [1e300] * 6},
        {"offsets": ["x"] * 6},
        {"more": 1},
    ],
)
def test_a_model_with_other_bands_is_refused(changed: dict[str, Any]) -> None:
    assert isinstance(bands_from_json(GOOD), Bands)
    with pytest.raises((ValueError, TypeError, KeyError)):
        bands_from_json({**GOOD, **changed})


def test_they_are_shown_on_a_screen() -> None:
    shown = as_rgb(part(0, 5))
    assert shown.shape == (*SIZE, 3)
    assert np.ptp(shown) == 255
    pixels = part(0, 1, np.float32)
    pixels[0, 0] = np.nan
    assert np.ptp(as_rgb(pixels)) == 255
    assert as_rgb(np.full((2, 2, 1), np.nan, np.float32)).max() == 0


def test_evaluate_reads_them(tmp_path: Path) -> None:
    put(tmp_path / "train" / "good", "0.tiff", part(0))
    put(tmp_path / "test" / "good", "1.tiff", part(1))
    assert read_image(open_data(tmp_path).test[0].image).shape == (*SIZE, 5)
