"""Fractal defects: where they lie, how large they are, what may stop them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from promises import check_promises, check_where, images, textured

from blemish.errors import ConfigError, ShapeError, SynthError
from blemish.images import read_image
from blemish.synth.colours import jitter, turn_hue
from blemish.synth.foreground import foreground, shorter_side
from blemish.synth.fractal import Fractal, fractal
from conftest import shared_data


def test_masks_are_as_large_as_the_released_codes() -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(textured((90, 90, 3)), (900, 900))
    pasted, widened = [], []
    for _ in range(150):
        mask = fractal(image, None, rng, config=Fractal(rim=0, noise_chance=0)).mask
        small = cv2.resize(mask.astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST)
        pasted.append(small.mean())
        widened.append(cv2.dilate(small, np.ones((3, 3)), iterations=3).mean())
    assert 0.020 < np.mean(pasted) < 0.032  # 2.6 % in fractalad.md, section 2.5
    assert 0.045 < np.mean(widened) < 0.064  # 5.4 %
    low, middle, high = np.percentile(widened, (5, 50, 95))
    assert 0.006 < low < 0.018  # 1.1 %
    assert 0.034 < middle < 0.057  # 4.4 %
    assert 0.10 < high < 0.16  # 12.3 %


@pytest.mark.parametrize(("size", "rims"), [((256, 256), (3, 3)), ((700, 300), (8, 4))])
def test_the_mask_is_wider_by_three_of_256_pixels(
    size: tuple[int, int], rims: tuple[int, int]
) -> None:
    image = textured((*size, 3))
    for seed in range(5):
        pasted, mask = (
            fractal(image, None, np.random.default_rng(seed), config=Fractal(rim=rim, noise=0)).mask
            for rim in (0, 3 / 256)
        )
        box = np.ones((2 * rims[0] + 1, 2 * rims[1] + 1), np.uint8)
        assert np.array_equal(cv2.dilate(pasted.astype(np.uint8), box) > 0, mask)


@given(image=images(), seed=st.integers(0, 2**32 - 1), on_object=st.booleans())
@settings(max_examples=40)
def test_promises(image: npt.NDArray[Any], seed: int, on_object: bool) -> None:
    try:
        check_promises(fractal, image, seed, Fractal(on_object=on_object))
    except SynthError:  # of 20 draws none could be seen: allowed, and hypothesis tells if usual
        reject()


def test_patches_stay_away_from_the_border() -> None:
    image = textured((200, 300, 1))
    together = np.zeros((200, 300), np.bool_)
    for seed in range(60):
        together |= fractal(image, None, np.random.default_rng(seed), config=Fractal(rim=0)).mask
    rows, columns = np.nonzero(together)
    assert 20 <= rows.min() < 40
    assert 160 < rows.max() < 180
    assert 30 <= columns.min() < 60
    assert 240 < columns.max() < 270


def test_where_is_for_the_middle() -> None:
    check_where(fractal, textured(), Fractal(patch=(0.2, 0.3), rim=0), reach=13)


def test_noise_is_the_same_on_all_colours_and_half_of_the_time() -> None:
    image = np.full((64, 64, 3), 100, np.uint8)
    noisy = 0
    for seed in range(60):
        done = fractal(image, None, np.random.default_rng(seed), config=Fractal(noise=0.1))
        plain = fractal(
            image, None, np.random.default_rng(seed), config=Fractal(noise=0.1, noise_chance=0)
        )
        if np.array_equal(done.mask, plain.mask):  # else one of them was drawn again
            rim = done.image[done.mask & (plain.image == image).all(axis=2)].astype(int)
            noisy += bool(rim.size) and not (rim == 100).all()
            assert (rim == rim[:, :1]).all()
    assert 15 < noisy < 45


def part(size: tuple[int, int], bright: bool) -> npt.NDArray[np.uint8]:
    image = np.full((*size, 3), 200 if bright else 20, np.uint8)
    y, x = size[0] // 2, size[1] // 2
    cv2.circle(image, (x, y), min(size) // 4, (90, 60, 50) if bright else (120, 140, 160), -1)
    return image


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_parts_are_found_on_bright_and_on_dark_ground(bright: bool, depth: Any) -> None:
    image = part((240, 320), bright)
    found = foreground(image.astype(depth) * (16 if depth == np.uint16 else 1))
    wanted = (image != image[0, 0]).any(axis=2)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.9
    assert 110 < shorter_side(found) < 130


def test_everything_is_part_where_nothing_stands_out() -> None:
    assert foreground(np.full((30, 40, 1), 90, np.uint8)).all()
    assert shorter_side(np.ones((30, 40), np.bool_)) == 30


def test_on_object_keeps_to_the_part() -> None:
    image = part((240, 320), bright=True)
    image[...] = np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255)
    near = cv2.dilate(foreground(image).astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
    config = Fractal(on_object=True, object_patch=(0.1, 0.3))
    for seed in range(30):
        assert near[fractal(image, None, np.random.default_rng(seed), config=config).mask].all()


def test_a_part_without_room_is_an_error_not_an_endless_search() -> None:
    image = part((240, 320), bright=True)
    corner = np.zeros((240, 320), np.bool_)
    corner[:5, :5] = True
    with pytest.raises(SynthError, match="had room on the part"):
        fractal(image, None, np.random.default_rng(0), where=corner, config=Fractal(on_object=True))


def test_a_part_that_no_patch_fits_on_is_an_error_too() -> None:
    image = np.full((200, 200, 1), 200, np.uint8)
    image[:, 190:] = 20
    image[190:] = 20  # a large angle: patches get so large that their middle is off it
    config = Fractal(on_object=True, object_patch=(2, 2))
    with pytest.raises(SynthError, match="had room on the part"):
        fractal(image, None, np.random.default_rng(0), config=config)


def test_black_allows_no_defect_without_noise() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(SynthError, match="a fractal must visibly change"):
        fractal(black, None, np.random.default_rng(0), config=Fractal(noise_chance=0))
    with pytest.raises(ShapeError, match="an image must be"):
        fractal(black[:8], None, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("patch", (0.5, 0.1)), ("border", 0.2), ("object_patch", (0.1, 3.0)), ("rotation", (0, 400)),
     ("jitter", 0.6), ("noise", -1), ("noise_chance", 1.5), ("rim", 0.2)],
)  # fmt: skip
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"fractal.{name} must be"):
        Fractal(**{name: value})


def test_colours_change_as_they_are_told() -> None:
    light = textured((9, 8, 3)).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    assert np.array_equal(jitter(light, rng), light)
    ratio = jitter(light * 0.4, rng, brightness=1.0) / (light * 0.4)
    assert np.ptp(ratio) < 1e-5
    spread = jitter(light, np.random.default_rng(3), contrast=0.5).std() / light.std()
    assert 0.5 <= spread <= 1.5
    assert spread != 1
    grey = light[..., :1]
    assert np.array_equal(jitter(grey, rng, saturation=0.5, hue=0.5), grey)
    assert not np.array_equal(jitter(light, rng, saturation=0.5), light)
    assert np.abs(turn_hue(light, 1.0) - light).max() < 1e-4
    assert np.abs(turn_hue(turn_hue(light, 0.3), -0.3) - light).max() < 1e-4


def test_real_parts_get_defects() -> None:
    files = sorted((shared_data("cookies") / "train" / "good").iterdir())[:2]
    for seed, file in enumerate(files):
        image = read_image(file)
        found = foreground(image)
        assert 0.1 < found.mean() < 0.7
        done = fractal(image, None, np.random.default_rng(seed), config=Fractal(on_object=True))
        assert (done.mask & found).any()
