"""What a person sees over the photograph: nothing where it is good, heat and outlines elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from blemish.errors import ShapeError
from blemish.records import Map, Prediction
from blemish.report import overlay
from blemish.report.overlay import BAR, OUTLINE, as_rgb, draw_overlay, paint
from blemish.runtime import regions

EXTENT = (3.0, 6.0)


def predict(map: Map, score: float = 8.0) -> Prediction:
    bad = score > 5
    return Prediction(
        score=score,
        p_value=0.0123,
        threshold=5.0,
        verdict="defect" if bad else "good",
        map=map,
        regions=regions(map, EXTENT[1], EXTENT[0]) if bad else (),
        ms=1.0,
    )


def blemished(size: tuple[int, int] = (120, 160)) -> Map:
    map = np.ones(size, np.float32)
    map[40:50, 60:70] = 4
    map[42:48, 62:68] = 8
    return map


def grey(size: tuple[int, int], value: int = 100) -> npt.NDArray[np.uint8]:
    return np.full((*size, 1), value, np.uint8)


def outlined(painted: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where the line runs; its edges are blended."""
    return np.abs(painted.astype(int) - OUTLINE).max(axis=2) < 60


def test_good_parts_stay_as_photographed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    painted = paint(image, predict(np.ones((50, 60), np.float32), score=1.0), EXTENT)
    np.testing.assert_array_equal(painted, image)


def test_input_is_left_alone() -> None:
    image = np.full((120, 160, 3), 100, np.uint8)
    image.flags.writeable = False
    paint(image, predict(blemished()), EXTENT)
    assert (image == 100).all()


def test_hotter_is_brighter_and_the_photograph_shines_through() -> None:
    map = np.repeat(np.linspace(0, 8, 200, dtype=np.float32)[None], 40, axis=0)
    dark = paint(grey(map.shape, 40), predict(map, score=1.0), EXTENT)
    light = paint(grey(map.shape, 140), predict(map, score=1.0), EXTENT)
    hot = map[0] > EXTENT[0]
    brightness = dark[0, hot].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > -2).all()  # rises, but for rounding
    assert brightness[-1] > brightness[0] + 60
    assert (light[0, hot].astype(int).sum(1) > dark[0, hot].astype(int).sum(1) + 60).all()


def test_outline_runs_around_each_region_and_not_over_it() -> None:
    painted = paint(grey((120, 160)), predict(blemished()), EXTENT)
    rows, columns = np.nonzero(outlined(painted))
    assert rows.size > 20
    assert 34 <= rows.min() < 40
    assert 50 <= rows.max() < 56
    assert 54 <= columns.min() < 60
    assert 70 <= columns.max() < 76
    inside = (rows >= 40) & (rows < 50) & (columns >= 60) & (columns < 70)
    assert not inside.any()


def test_only_regions_are_outlined() -> None:
    map = blemished()
    map[5:10, 5:10] = 4  # warm, but it has no peak
    painted = paint(grey(map.shape), predict(map), EXTENT)
    assert not outlined(painted)[:30, :30].any()
    good = paint(grey(map.shape), predict(map, score=1.0), EXTENT)
    assert not outlined(good).any()


def test_a_weak_region_is_outlined_though_it_is_below_the_levels() -> None:
    map = np.zeros((60, 60), np.float32)
    map[30, 30] = 1  # the verdict came from elsewhere; the peak still counts as a region
    painted = paint(grey(map.shape), predict(map), EXTENT)
    assert outlined(painted).any()


@pytest.mark.parametrize("size", [(300, 100), (3000, 4000), (20, 900), (1, 1), (40, 8)])
def test_caption_fits_any_size(size: tuple[int, int]) -> None:
    map = np.zeros(size, np.float32)
    map[size[0] // 2, size[1] // 2] = 9
    prediction = dataclasses.replace(predict(map), score=-1.2345678e-12)
    drawn = draw_overlay(grey(size), prediction, EXTENT)
    bar = drawn[size[0] :]
    assert drawn.shape[1] == max(size[1], 136)
    assert 12 <= bar.shape[0] <= max(100, 0.1 * size[0])
    lit = (bar != BAR["defect"]).any(axis=2)
    assert lit.any()
    for edge in (lit[0], lit[-1], lit[:, 0], lit[:, -1]):
        assert not edge.any()  # no letter is cut off


def test_caption_tells_good_from_defect() -> None:
    map = np.ones((200, 300), np.float32)
    good = draw_overlay(grey(map.shape), predict(map, score=1.0), EXTENT)
    bad = draw_overlay(grey(map.shape), predict(map, score=9.0), EXTENT)
    assert tuple(good[-1, -1]) == BAR["good"]
    assert tuple(bad[-1, -1]) == BAR["defect"]


def test_sixteen_bit_images_are_stretched_to_their_own_range() -> None:
    image = np.array([[[1000], [1200], [1400]]], np.uint16)
    np.testing.assert_array_equal(as_rgb(image)[0, :, 1], [0, 128, 255])
    assert (as_rgb(np.full((3, 3, 3), 4096, np.uint16)) == 0).all()


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(120, 160\).*\(60, 80\)"):
        paint(grey((120, 160)), predict(blemished((60, 80))), EXTENT)


def test_large_images_are_drawn_smaller_and_no_blemish_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overlay, "LARGEST", 120 * 160 // 8)
    map = np.ones((121, 160), np.float32)
    map[60, 77] = 8  # one pixel
    image = grey((121, 160))
    share = overlay.shrinkage(image)
    assert share == 3
    small, found = overlay.smaller(image, predict(map), share)
    assert small.shape == (41, 54, 1)
    assert found.map.shape == (41, 54)
    assert (found.map == 8).sum() == 1
    assert found.map[20, 25] == 8
    assert found.regions[0].box == (77, 60, 1, 1)  # in the photograph's own pixels
    drawn = draw_overlay(image, predict(map), EXTENT)
    assert drawn.shape[1] == max(54, overlay.NARROWEST)
    assert outlined(drawn[:41]).any()
    whole = overlay.smaller(image, predict(map), 1)
    assert whole[0] is image


def test_the_size_is_said_in_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = overlay.captioned

    def heard(picture: overlay.RGB, prediction: Prediction, note: str = "") -> overlay.RGB:
        said.append(note)
        return real(picture, prediction, note)

    monkeypatch.setattr(overlay, "captioned", heard)
    draw_overlay(grey((120, 160)), predict(blemished()), EXTENT)
    monkeypatch.setattr(overlay, "LARGEST", 120 * 160 // 4)
    draw_overlay(grey((120, 160)), predict(blemished()), EXTENT)
    assert said == ["", "1/2 size"]
