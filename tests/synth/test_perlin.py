"""Perlin blobs: how much they cover, what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises import check_promises, check_where, images, textured

from blemish.errors import ConfigError, SynthError
from blemish.synth.perlin import Perlin, gradient_noise, perlin, perlin_mask


def test_blobs_cover_as_much_as_stlms() -> None:
    rng = np.random.default_rng(0)
    areas = np.array([perlin_mask((256, 256), rng).mean() for _ in range(400)])
    low, middle, high = np.percentile(areas, (5, 50, 95))
    assert 0.043 < areas.mean() < 0.060  # 5.1 % in stlm.md, section 1.5
    assert 0.039 < middle < 0.056  # 4.7 %
    assert low < 0.012  # 0.1 %
    assert 0.065 < high < 0.13  # 8.3 %
    assert 0.001 < (areas == 0).mean() < 0.07  # 2.7 %


def test_large_images_get_the_same_blobs_finer() -> None:
    for seed in range(5):
        small, large = (
            perlin_mask((side, side), np.random.default_rng(seed)).astype(np.float32)
            for side in (512, 1024)
        )
        assert (
            np.abs(cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA) - small).mean()
            < 0.01
        )


def test_noise_is_smooth_and_of_the_known_spread() -> None:
    v, u = np.indices((400, 400), dtype=np.float32) / 8
    noise = gradient_noise(v, u, np.random.default_rng(0))
    assert np.abs(noise[::8, ::8]).max() < 1e-5
    assert np.abs(np.diff(noise, axis=0)).max() < 0.5
    assert abs(noise.mean()) < 0.02
    assert 0.28 < noise.std() < 0.42
    assert np.abs(noise).max() <= 1.001


@given(image=images(), seed=st.integers(0, 2**32 - 1), own=st.sampled_from((0.0, 1.0)))
@settings(max_examples=40)
def test_promises(image: npt.NDArray[Any], seed: int, own: float) -> None:
    check_promises(perlin, image, seed, Perlin(own_texture=own))


def test_where_is_for_the_middle() -> None:
    check_where(perlin, textured(), Perlin(octaves=(3, 3), keep=(0, 0.2)), reach=26)


def test_where_keeps_the_blobs_that_lie_there() -> None:
    image = textured((200, 200, 3))
    where = np.zeros((200, 200), np.bool_)
    where[:, :100] = True
    for seed in range(10):
        config = Perlin(octaves=(3, 4))
        mask = perlin(image, None, np.random.default_rng(seed), where=where, config=config).mask
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        assert (stats[1:, 0] + (stats[1:, 2] - 1) // 2 < 100).all()


def test_keep_and_texture_are_what_was_asked_for(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((40, 40, 3), (0, 0, 250), np.uint8))
    image = np.full((64, 64, 3), (50, 90, 10), np.uint8)
    config = Perlin(keep=(0.25, 0.25), own_texture=0, textures=str(tmp_path))
    done = perlin(image, None, np.random.default_rng(1), config=config)
    assert np.unique(done.image[done.mask], axis=0).tolist() == [[200, 22, 2]]  # 12.5 + 187.5, …


def test_own_texture_is_made_of_the_image() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[:, :64, 0] = 200  # red and black
    config = Perlin(own_texture=1, keep=(0, 0))
    for seed in range(8):
        done = perlin(image, None, np.random.default_rng(seed), config=config)
        changed = done.image[done.mask].astype(int)
        assert (changed.max(axis=1) <= 255).all()
        # hue moves by a fifth of the wheel at most: never to pure green or blue, nor to grey
        assert (changed[:, 0] + 1 >= changed[:, 1:].max(axis=1) * 0.8).all()


def test_nothing_to_see_is_an_error() -> None:
    even = np.full((64, 64, 1), 0, np.uint8)
    with pytest.raises(SynthError, match="a perlin blob must visibly change"):
        perlin(even, None, np.random.default_rng(0), config=Perlin(own_texture=1))
    with pytest.raises(SynthError, match="a perlin blob must visibly change"):
        perlin(textured(), None, np.random.default_rng(0), config=Perlin(level=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [("octaves", (0, 9)), ("level", 2), ("keep", (0.5, 1.0)), ("own_texture", -0.1)],
)
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"perlin.{name} must be"):
        Perlin(**{name: value})
