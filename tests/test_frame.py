"""Native pixels to model pixels and back, against OpenCV, Pillow and SciPy."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from blemish import frame as room
from blemish.errors import ImageError
from blemish.frame import Frame

sides = st.integers(1, 70)
sizes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32 - 1)
depths = st.sampled_from([np.uint8, np.uint16])
fits: st.SearchStrategy[Literal["stretch", "pad"]] = st.sampled_from(["stretch", "pad"])
Way = Literal["area", "bicubic", "bilinear"]
ways: st.SearchStrategy[Way] = st.sampled_from(["area", "bicubic", "bilinear"])
quick = settings(max_examples=60, deadline=None)


def picture(size: tuple[int, int], channels: int, depth: Any, seed: int) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(depth).max, (*size, channels), depth, endpoint=True)


def grid_of(size: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


# ---------------------------------------------------------------- to the model


@quick
@given(
    size=sizes,
    model=sizes,
    fit=fits,
    way=ways,
    depth=depths,
    channels=st.sampled_from([1, 3]),
    seed=seeds,
)
def test_model_pixels_are_what_the_graph_takes(
    size: tuple[int, int],
    model: tuple[int, int],
    fit: Literal["stretch", "pad"],
    way: Way,
    depth: Any,
    channels: int,
    seed: int,
) -> None:
    pixels = picture(size, channels, depth, seed)
    kept = pixels.copy()
    pixels.flags.writeable = False
    planes = Frame(size=model, fit=fit, interpolation=way).to_model(pixels)
    assert planes.shape == (1, 3, *model)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    assert 0 <= planes.min() <= planes.max() <= 1
    assert np.array_equal(pixels, kept)


@quick
@given(size=sizes, model=sizes, fit=fits, way=ways, depth=depths, seed=seeds)
def test_grey_is_colour_with_equal_channels(
    size: tuple[int, int],
    model: tuple[int, int],
    fit: Literal["stretch", "pad"],
    way: Way,
    depth: Any,
    seed: int,
) -> None:
    grey = picture(size, 1, depth, seed)
    frame = Frame(size=model, fit=fit, interpolation=way)
    colour = frame.to_model(np.repeat(grey, 3, axis=2))
    # OpenCV rounds in another way for three channels
    step = 1 / np.iinfo(depth).max if way == "area" else 0
    assert np.abs(frame.to_model(grey) - colour).max() <= 1.01 * step


@quick
@given(size=sizes, model=sizes, fit=fits, way=ways, seed=seeds)
def test_8_and_16_bits_of_one_picture_agree(
    size: tuple[int, int],
    model: tuple[int, int],
    fit: Literal["stretch", "pad"],
    way: Way,
    seed: int,
) -> None:
    # away from black and white, where 8 bits cut what overshoots between the two passes
    pixels = picture(size, 3, np.uint8, seed) // 2 + 64
    frame = Frame(size=model, fit=fit, interpolation=way)
    wide = frame.to_model(pixels.astype(np.uint16) * 257)
    # 8 bits are rounded after each of two passes, whose cubic weights sum to at most 1.6
    assert np.abs(frame.to_model(pixels) - wide).max() <= (0.5 + 0.5 * 1.6 + 0.01) / 255


@quick
@given(size=sizes, model=sizes, fit=fits, way=ways, value=st.integers(0, 255))
def test_a_flat_picture_stays_flat(
    size: tuple[int, int],
    model: tuple[int, int],
    fit: Literal["stretch", "pad"],
    way: Way,
    value: int,
) -> None:
    frame = Frame(size=model, fit=fit, interpolation=way)
    planes = frame.to_model(np.full((*size, 3), value, np.uint8))
    assert np.allclose(planes, value / 255, atol=1e-6)


def test_white_of_12_bits_and_what_is_brighter() -> None:
    pixels = np.array([[[0], [2048], [4095], [65535]]], np.uint16)
    planes = Frame(size=(1, 4), white=4095).to_model(pixels)
    assert np.allclose(planes[0, 0, 0], [0, 2048 / 4095, 1, 1])
    assert Frame(size=(1, 1), white=4095).to_model(np.full((1, 1, 1), 255, np.uint8)).max() == 1


@quick
@given(size=sizes, model=sizes, way=st.sampled_from(["bicubic", "bilinear"]), seed=seeds)
def test_two_ways_are_pillows(
    size: tuple[int, int], model: tuple[int, int], way: Any, seed: int
) -> None:
    pixels = picture(size, 3, np.uint8, seed)
    expected = Image.fromarray(pixels).resize(model[::-1], Image.Resampling[way.upper()])
    planes = Frame(size=model, interpolation=way).to_model(pixels)
    assert np.allclose(planes[0].transpose(1, 2, 0) * 255, np.asarray(expected), atol=1e-3)


def test_bicubic_is_torchvisions() -> None:
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = picture((61, 43), 3, np.uint8, 0)
    resize = transforms.Resize((28, 56), transforms.InterpolationMode.BICUBIC)
    expected = transforms.ToTensor()(resize(Image.fromarray(pixels)))
    planes = Frame(size=(28, 56), interpolation="bicubic").to_model(pixels)
    assert torch.allclose(torch.from_numpy(planes[0]), expected, atol=1e-6)


def test_area_averages_when_shrinking() -> None:
    pixels = picture((40, 60), 1, np.uint16, 3)
    planes = Frame(size=(10, 20)).to_model(pixels)
    means = pixels[..., 0].reshape(10, 4, 20, 3).mean(axis=(1, 3))
    assert np.allclose(planes[0, 0] * 65535, means, atol=0.51)


def test_a_long_low_picture_is_averaged_along_its_length() -> None:
    line = np.zeros((2, 4000, 1), np.uint8)
    line[:, 1000:1010] = 255  # a tenth of what one model pixel covers
    planes = Frame(size=(40, 40)).to_model(line)
    assert np.allclose(planes[0, 0, :, 10], 0.1, atol=0.01)
    assert planes[0, 0, :, 9].max() == 0


def test_pad_repeats_the_edges() -> None:
    pixels = picture((5, 9), 3, np.uint8, 1)
    planes = Frame(size=(9, 9), fit="pad").to_model(pixels)
    rows = np.clip(np.arange(9) - 2, 0, 4)
    assert np.allclose(planes[0].transpose(1, 2, 0), pixels[rows] / 255, atol=1e-6)


def test_pad_refuses_what_needs_gigabytes() -> None:
    line = np.zeros((1, 100_000, 1), np.uint8)
    with pytest.raises(ImageError, match=r"500 megapixels to be padded, but is 1 x 100000"):
        Frame(size=(8, 8), fit="pad").to_model(line)
    assert Frame(size=(8, 8)).to_model(line).shape == (1, 3, 8, 8)


# ---------------------------------------------------------------- and back


@quick
@given(size=sizes, cells=sizes, seed=seeds)
def test_stretch_is_opencvs_and_scipys_bilinear(
    size: tuple[int, int], cells: tuple[int, int], seed: int
) -> None:
    grid = grid_of(cells, seed)
    map = Frame(size=(64, 64)).to_native(grid, size)
    assert map.shape == size
    assert map.dtype == np.float32
    assert map.flags.c_contiguous
    assert np.allclose(map, cv2.resize(grid, size[::-1]), atol=1e-5)
    rows, columns = (
        np.interp((np.arange(n) + 0.5) * c / n - 0.5, np.arange(c), np.arange(c))
        for n, c in zip(size, cells, strict=True)
    )
    places = np.meshgrid(rows, columns, indexing="ij")
    assert np.allclose(map, ndimage.map_coordinates(grid, places, order=1), atol=1e-4)


@quick
@given(size=sizes, cells=st.integers(1, 30), seed=seeds)
def test_pad_crops_the_square_exactly(size: tuple[int, int], cells: int, seed: int) -> None:
    grid = grid_of((cells, cells), seed)
    side = max(size)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    square = Frame(size=(64, 64)).to_native(grid, (side, side))
    map = Frame(size=(64, 64), fit="pad").to_native(grid, size)
    assert np.allclose(map, square[top : top + size[0], left : left + size[1]], atol=1e-5)


@quick
@given(size=sizes, cells=st.integers(1, 20), fit=fits, seed=seeds)
def test_boxes_are_scipys_with_zeros_outside(
    size: tuple[int, int], cells: int, fit: Literal["stretch", "pad"], seed: int
) -> None:
    grid = grid_of((cells, cells), seed)
    side = max(size)
    canvas = size if fit == "stretch" else (side, side)
    expected = Frame(size=(64, 64)).to_native(grid, canvas).astype(np.float64)
    for width, passes in ((5, 2), (7, 1)):
        for _ in range(passes):
            expected = ndimage.uniform_filter(expected, width, mode="constant")
    top, left = (canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2
    map = Frame(size=(64, 64), fit=fit, boxes=((5, 2), (7, 1))).to_native(grid, size)
    assert np.allclose(map, expected[top : top + size[0], left : left + size[1]], atol=1e-5)


@quick
@given(size=sizes, cells=sizes, fit=fits, value=st.floats(-1e3, 1e3, width=32))
def test_a_flat_grid_gives_a_flat_map(
    size: tuple[int, int], cells: tuple[int, int], fit: Literal["stretch", "pad"], value: float
) -> None:
    map = Frame(size=(64, 64), fit=fit).to_native(np.full(cells, value, np.float32), size)
    assert np.allclose(map, value, rtol=1e-5)


def test_boxes_keep_a_flat_map_away_from_its_borders() -> None:
    map = Frame(size=(64, 64), boxes=((5, 2),)).to_native(np.ones((4, 4), np.float32), (40, 50))
    assert np.allclose(map[4:-4, 4:-4], 1, atol=1e-5)
    assert map[0, 0] < 0.5


def test_a_defect_comes_back_where_it_was() -> None:
    pixels = np.zeros((300, 100, 1), np.uint8)
    pixels[210:220, 65:75] = 255
    for fit in ("stretch", "pad"):
        frame = Frame(size=(150, 50) if fit == "stretch" else (150, 150), fit=fit)
        map = frame.to_native(frame.to_model(pixels)[0, 0], (300, 100))
        centre = ndimage.center_of_mass(map)
        assert np.allclose(centre, (214.5, 69.5), atol=0.01)


def test_long_maps_and_read_only_grids() -> None:
    grid = grid_of((3, 8), 0)
    grid.flags.writeable = False
    kept = grid.copy()
    for fit in ("stretch", "pad"):
        map = Frame(size=(64, 64), fit=fit, boxes=((5, 5), (7, 3))).to_native(grid, (3, 100_000))
        assert map.shape == (3, 100_000)
        assert np.isfinite(map).all()
    assert np.array_equal(grid, kept)


# ---------------------------------------------------------------- score


@quick
@given(size=sizes, top=st.floats(0, 1), seed=seeds, at_once=st.sampled_from([1, 50, 2**23]))
def test_score_is_the_mean_of_the_highest(
    size: tuple[int, int], top: float, seed: int, at_once: int
) -> None:
    map = grid_of(size, seed)
    map.flags.writeable = False
    count = max(1, int(map.size * top))
    expected = np.sort(map.ravel())[::-1][:count].astype(np.float64).mean()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "AT_ONCE", at_once)
        assert Frame(size=(8, 8), top=top).score(map) == pytest.approx(expected, abs=1e-9)
    assert Frame(size=(8, 8)).score(map) == map.max()
