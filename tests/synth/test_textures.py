"""Textures: from the user's folder, or drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import DataError, ImageError
from blemish.images import read_image
from blemish.synth.perlin import Perlin, perlin
from blemish.synth.textures import PATTERNS, pictures, texture
from commands import run


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    channels=st.sampled_from((1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_drawn_textures_fit(size: tuple[int, int], channels: int, seed: int) -> None:
    first, again = (texture(size, channels, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (*size, channels)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0 <= first.min() <= first.max() <= 1


def test_every_pattern_is_a_pattern() -> None:
    for pattern in PATTERNS:
        field = pattern((64, 80), np.random.default_rng(0))
        assert field.shape == (64, 80)
        assert (field.min(), field.max()) == (0, pytest.approx(1))
        assert field.std() > 0.05


def test_large_ones_are_enlarged() -> None:
    assert texture((1500, 40), 3, np.random.default_rng(0)).shape == (1500, 40, 3)


def test_pictures_of_a_folder_fill_the_size(tmp_path: Path) -> None:
    folder = tmp_path / "dtd" / "striped"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), np.full((30, 20, 3), (0, 51, 255), np.uint8))
    (folder / "notes.txt").write_text("no picture")
    light = texture((50, 70), 3, np.random.default_rng(0), str(tmp_path / "dtd"))
    assert np.allclose(light, (1, 0.2, 0), atol=1e-6)
    grey = texture((10, 7), 1, np.random.default_rng(0), str(tmp_path / "dtd"))
    assert grey.shape == (10, 7, 1)
    assert np.allclose(grey, 0.299 + 0.587 * 0.2, atol=1e-3)


def test_grey_pictures_serve_colour_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 20), 51, np.uint8))
    assert np.allclose(texture((9, 9), 3, np.random.default_rng(0), str(tmp_path)), 0.2)


@pytest.fixture
def dtd(tmp_path: Path) -> Path:
    """Laid out as the Describable Textures Dataset is published, with what lies around in copies:
    JPEGs of 300 to 640 px a side, one of them grey."""
    rng = np.random.default_rng(0)
    for index, kind in enumerate(("banded", "blotchy", "zigzagged")):
        folder = tmp_path / "dtd" / "images" / kind
        folder.mkdir(parents=True)
        for number in range(1, 4):
            size = tuple(int(side) for side in rng.integers(300, 641, 2))
            coarse = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            pixels = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
            grey = index == number == 1
            cv2.imwrite(str(folder / f"{kind}_{number:04}.jpg"), pixels[..., 0] if grey else pixels)
        (folder / ".directory").write_text("[Dolphin]")
        (folder / f"._{kind}_0001.jpg").write_bytes(b"\0\5\x16\7 what another system keeps")
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
    for name in ("imdb/imdb.mat", "labels/train1.txt", "labels/labels_joint_anno.txt"):
        (tmp_path / "dtd" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dtd" / name).write_text("banded/banded_0001.jpg banded\n")
    return tmp_path / "dtd"


@pytest.mark.parametrize("below", ["", "images"])
def test_dtd_as_it_is_published(dtd: Path, below: str) -> None:
    files = pictures(str(dtd / below))
    assert [Path(file).name for file in files] == [
        f"{kind}_{number:04}.jpg"
        for kind in ("banded", "blotchy", "zigzagged")
        for number in range(1, 4)
    ]
    assert read_image(files[3]).shape[2] == 1
    for channels in (1, 3):
        seen = set()
        for seed in range(60):
            light = texture((64, 80), channels, np.random.default_rng(seed), str(dtd / below))
            assert light.shape == (64, 80, channels)
            assert light.dtype == np.float32
            assert 0 <= light.min() < light.max() <= 1
            seen.add(light.tobytes())
        assert len(seen) == 9  # every picture has its turn


def test_perlin_takes_textures_from_dtd(dtd: Path) -> None:
    config = Perlin(own_texture=0, textures=str(dtd))
    for channels in (1, 3):
        image = np.full((96, 128, channels), 120, np.uint8)
        first, again, drawn = (
            perlin(image, None, np.random.default_rng(3), config=one).image
            for one in (config, config, Perlin(own_texture=0))
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, drawn)


def test_a_broken_picture_of_dtd_is_named(
    dtd: Path, tmp_path: Path, demo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = dtd / "images" / "banded" / "banded_0002.jpg"
    broken.write_bytes(broken.read_bytes()[:3000])
    words = ["--kind", "perlin", "--set", "perlin.own_texture=0", "--set", f"perlin.textures={dtd}"]
    done = run(capfd, "synth", demo, "-o", tmp_path / "set", "--count", 30, *words)
    assert done.code == 3
    assert done.err.startswith(f"blemish: '{broken}' must be a whole image")
    assert not (tmp_path / "set").exists()
    broken.unlink()
    pictures.cache_clear()  # they are looked up once in a process
    assert run(capfd, "synth", demo, "-o", tmp_path / "set", "--count", 3, *words)[0] == 0
    assert len(list((tmp_path / "set" / "test" / "perlin").iterdir())) == 3


def test_what_is_no_folder_of_textures_is_told(dtd: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"dtdd must be a file or a folder, but it does not exist"):
        texture((9, 9), 3, rng, str(tmp_path / "dtdd"))
    with pytest.raises(DataError, match=r"must be a folder of images, but it is a file"):
        texture((9, 9), 3, rng, str(dtd / "images" / "banded" / "banded_0001.jpg"))
    with pytest.raises(DataError, match=r"such as DTD's images, but there is no file of"):
        texture((9, 9), 3, rng, str(dtd / "labels"))


def test_folders_without_pictures_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder with pictures of textures"):
        texture((9, 9), 3, np.random.default_rng(0), str(tmp_path))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").write_bytes(b"\x89PNG damaged")
    with pytest.raises(ImageError):
        texture((9, 9), 3, np.random.default_rng(0), str(tmp_path / "more"))
