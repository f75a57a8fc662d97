"""How large, how strong and which way round: strokes, stains, missing pieces, relief."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_makers import made, textured, tilted

from blemish.errors import SynthError
from blemish.records import Mask
from blemish.synth import maker, settings_of
from blemish.synth.base import TRIES, VISIBLE, Altered, greatest, merged, own_range, white
from blemish.synth.brush import attempt, drawn, settle, window
from blemish.synth.part import find_part
from blemish.synth.surface import normals

SIZE = (256, 256)
SEEDS = range(40)
# Share of the image that the mask of one defect covers, for defaults at 256 x 256.
AREAS = {
    "scratch": (0.00005, 0.03), "crack": (0.0003, 0.04), "stain": (0.0005, 0.15),
    "scorch": (0.001, 0.3), "blur": (0.0005, 0.3), "missing": (0.0003, 0.15),
    "dent": (0.0003, 0.1), "bump": (0.0003, 0.1), "hole": (0.0003, 0.05),
    "scratch3d": (0.0002, 0.04),
}  # fmt: skip


@pytest.mark.parametrize("kind", AREAS)
def test_areas(kind: str) -> None:
    image = textured(SIZE, 3, np.uint8, 2)
    shares = [made(kind, image, seed=seed).mask.mean() for seed in SEEDS]
    least, most = AREAS[kind]
    assert least <= min(shares)
    assert max(shares) <= most
    assert max(shares) > 3 * min(shares), "small and large ones"


@pytest.mark.parametrize("kind", ["scratch", "crack"])
def test_every_marked_pixel_of_a_line_has_visibly_changed(kind: str) -> None:
    image = textured(SIZE, 1, np.uint8, 2)
    limit = max(VISIBLE * own_range(image), 0.5)
    for seed in SEEDS:
        altered = made(kind, image, seed=seed)
        change = np.abs(altered.image.astype(float) - image).max(axis=2)
        assert change[altered.mask].min() > limit


@pytest.mark.parametrize("kind", ["stain", "scorch", "missing", "dent", "hole"])
def test_most_of_a_marked_area_has_changed(kind: str) -> None:
    image = textured(SIZE, 3, np.uint8, 2)
    for seed in SEEDS:
        altered = made(kind, image, seed=seed)
        assert (altered.image != image).any(axis=2)[altered.mask].mean() > 0.6


def test_subtle_and_strong_ones_occur() -> None:
    image = textured(SIZE, 1, np.uint8, 2)
    for kind in ("scratch", "crack", "stain", "scorch", "missing"):
        peaks = []
        for seed in SEEDS:
            altered = made(kind, image, seed=seed)
            peaks.append(np.abs(altered.image.astype(float) - image).max() / own_range(image))
        assert np.quantile(peaks, 0.1) < 0.5, kind
        assert np.quantile(peaks, 0.9) > 0.3, kind


@pytest.mark.parametrize("kind", ["scratch", "stain", "missing"])
def test_strength_follows_the_image_s_own_range(kind: str) -> None:
    # Any camera: the same picture in 8 bits and in 12 of 16 gets the same defect.
    small = textured(SIZE, 1, np.uint8, 2)
    large = small.astype(np.uint16) * 16
    one, two = made(kind, small, seed=3), made(kind, large, seed=3)
    assert np.logical_and(one.mask, two.mask).sum() > 0.95 * np.logical_or(one.mask, two.mask).sum()
    assert np.quantile(np.abs(one.image * 16.0 - two.image), 0.999) <= 17


def components(mask: Mask) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


def test_scratches_are_long_and_thin() -> None:
    image = np.full((*SIZE, 1), 128, np.uint8)
    config = replace(settings_of("scratch"), length=(0.4, 0.4), width=(0.008, 0.008), strands=1)
    for seed in SEEDS:
        where = np.zeros(SIZE, np.bool_)
        where[128, 128] = True
        rng = np.random.default_rng(seed)
        altered = maker("scratch")(image, None, rng, where=where, config=config)
        points = np.argwhere(altered.mask).astype(np.float32)
        (_, sides, _) = cv2.minAreaRect(points)
        assert 0.15 * 256 < max(sides) < 0.45 * 256  # faint ends do not show
        assert altered.mask.sum() < 6 * max(sides)


def test_cracks_are_darker_and_branch() -> None:
    image = textured(SIZE, 1, np.uint8, 2)
    config = replace(settings_of("crack"), branching=0.5)
    darker = [made("crack", image, seed=s).image.astype(int) - image for s in SEEDS]
    assert all(change.sum() < 0 for change in darker)
    rng = np.random.default_rng(0)
    forked = maker("crack")(image, None, rng, config=config).mask.sum()
    plain = replace(config, branching=0.0)
    alone = maker("crack")(image, None, np.random.default_rng(0), config=plain).mask.sum()
    assert forked > 1.3 * alone


def test_scorch_browns() -> None:
    image = np.full((*SIZE, 3), 160, np.uint8)
    for seed in SEEDS:
        altered = made("scorch", image, seed=seed)
        red, _, blue = altered.image[altered.mask].mean(axis=0)
        assert blue < red < 160


def test_blur_takes_texture_and_leaves_the_mean() -> None:
    image = textured(SIZE, 1, np.uint8, 2)
    for seed in SEEDS:
        altered = made("blur", image, seed=seed)
        inside = cv2.erode(altered.mask.astype(np.uint8), np.ones((9, 9))) > 0
        if inside.sum() > 50:
            sharp = [cv2.Laplacian(i[..., 0], cv2.CV_64F)[inside].std()
                     for i in (image, altered.image)]  # fmt: skip
            assert sharp[1] < 0.7 * sharp[0]
            assert abs(image[inside].mean() - altered.image[inside].mean()) < 8


def disc() -> tuple[np.ndarray, Mask]:
    v, u = np.indices(SIZE)
    part = np.hypot(u - 128, v - 128) < 80
    noise = np.random.default_rng(0).normal(0, 4, (*SIZE, 3))
    image = np.where(part[..., None], 190, 40) + noise
    return np.clip(image, 0, 255).astype(np.uint8), part


def test_chips_are_filled_with_the_background() -> None:
    image, part = disc()
    config = replace(settings_of("missing"), chips=1.0)
    for seed in SEEDS:
        altered = maker("missing")(image, None, np.random.default_rng(seed), config=config)
        inside = cv2.erode(altered.mask.astype(np.uint8), np.ones((5, 5))) > 0
        assert (altered.mask & part).sum() > 0.8 * altered.mask.sum()
        if inside.any():
            assert np.median(altered.image[inside]) < 80
        touching = cv2.dilate(altered.mask.astype(np.uint8), np.ones((5, 5))) > 0
        assert (touching & ~part).any()


def test_points_of_a_missing_piece_are_missing() -> None:
    image, _ = disc()
    points = tilted(SIZE, 0)
    altered = made("missing", image, points, seed=1)
    assert altered.points is not None
    assert np.array_equal(~altered.points.any(axis=2), altered.mask)


def test_the_part_is_found() -> None:
    image, part = disc()
    found = find_part(image)
    assert found is not None
    assert (found & part).sum() > 0.95 * (found | part).sum()
    assert find_part(255 - image) is not None
    assert find_part(image.astype(np.uint16) * 16) is not None
    assert find_part(textured(SIZE, 1, np.uint8, 0)[:100, :100]) is None
    assert find_part(np.full((40, 40, 1), 7, np.uint8)) is None


# relief


@pytest.mark.parametrize("kind", ["dent", "bump", "scratch3d", "hole"])
@pytest.mark.parametrize("absent", [0.0, 0.05])
def test_relief_agrees(kind: str, absent: float) -> None:
    image = textured(SIZE, 3, np.uint8, 2)
    towards = -1 if kind != "bump" else 1
    for seed in range(10):
        points = tilted(SIZE, seed, absent)
        altered = made(kind, image, points, seed)
        assert altered.points is not None
        before, after = normals(points), normals(altered.points)
        assert np.array_equal(before[~altered.mask], after[~altered.mask]), "normals turn inside"
        there = altered.points.any(axis=2) & points.any(axis=2)
        moved = (altered.points.astype(float) - points)[there]
        up = normals(tilted(SIZE, seed))[there]
        along = (moved * up).sum(axis=1)
        deepest = along[np.abs(along).argmax()]
        assert np.sign(deepest) == towards
        assert np.abs(moved - along[:, None] * up).max() < 0.2 * abs(deepest), "along the normal"
        gone = points.any(axis=2) & ~altered.points.any(axis=2)
        assert gone.any() == (kind == "hole")
        assert not (gone & ~altered.mask).any()


def test_a_dent_is_shaded_like_its_normals() -> None:
    # Brightness follows the slope towards one light: it correlates with a mix of nx and ny.
    image = np.full((*SIZE, 1), 120, np.uint8)
    fits = []
    for seed in range(20):
        points = tilted(SIZE, seed)
        altered = made("dent", image, points, seed)
        assert altered.points is not None
        turned = (normals(altered.points) - normals(points))[altered.mask]
        light = altered.image[altered.mask].astype(float)[:, 0] - 120
        fitted = turned @ np.linalg.lstsq(turned, light, rcond=None)[0]
        fits.append(np.corrcoef(fitted, light)[0, 1])
    assert np.median(fits) > 0.9


def test_holes_are_dark() -> None:
    image = np.full((*SIZE, 1), 120, np.uint8)
    for seed in SEEDS:
        altered = made("hole", image, tilted(SIZE, 0), seed)
        assert altered.points is not None
        assert altered.image[~altered.points.any(axis=2)].mean() < 90


@pytest.mark.parametrize("kind", ["dent", "bump", "hole", "scratch3d"])
def test_relief_needs_points_where_it_may_be(kind: str) -> None:
    image = textured(SIZE, 1, np.uint8, 0)
    with pytest.raises(SynthError, match="where points were measured"):
        made(kind, image, np.zeros((*SIZE, 3), np.float32))
    where = np.zeros(SIZE, np.bool_)
    where[:40] = True
    points = tilted(SIZE, 0)
    points[:60] = 0
    with pytest.raises(SynthError, match="where points were measured"):
        maker(kind)(image, points, np.random.default_rng(0), where=where)


def test_normals_of_a_slope() -> None:
    v, u = np.indices((6, 7)).astype(float)
    found = normals(np.stack([u, v, 5 + u], axis=2))
    assert np.allclose(found, np.array([1, 0, -1]) / np.sqrt(2))
    flat = np.stack([u, v, np.ones_like(u)], axis=2)
    flat[2, 3] = 0
    assert (~normals(flat).any(axis=2)).sum() == 5


# levels


def test_own_range_and_white() -> None:
    assert own_range(np.full((20, 20, 1), 4, np.uint8)) == 8
    assert 100 < own_range(textured(SIZE, 1, np.uint16, 0, 400)) < 400
    tops = [white(np.full((16, 16, 1), top, np.uint16)) for top in (0, 1023, 1024, 5000, 65535)]
    assert tops == [1023, 1023, 4095, 16383, 65535]
    assert white(np.zeros((16, 16, 1), np.uint8)) == 255


def test_draws_stay_in_their_range() -> None:
    rng = np.random.default_rng(0)
    for span in ((0.0, 1.0), (0.01, 2.0), (0.5, 0.5)):
        numbers = [drawn(span, rng) for _ in range(200)]
        assert span[0] - 1e-9 <= min(numbers) <= max(numbers) <= span[1] + 1e-9


def test_what_counts_as_changed_is_a_share_of_the_given_range() -> None:
    image = np.full((40, 40, 1), 100, np.uint8)
    place = window(image.shape, (20, 20), 5)
    painted = np.full((*place.size, 1), 103, np.float32)
    seen = settle(image, None, place, painted, 100)  # 2 % of it are 2 levels
    assert seen is not None
    assert np.array_equal(seen.mask, (seen.image == 103)[..., 0])
    assert seen.mask.sum() == painted.size
    assert settle(image, None, place, painted, 200) is None


def test_the_first_draw_that_can_be_seen_is_taken() -> None:
    one = made("scratch", textured(SIZE, 1, np.uint8, 2))
    drawn_so_far: list[int] = []

    def draw(of: int) -> Altered | None:
        drawn_so_far.append(of)
        return one if len(drawn_so_far) == of else None

    assert attempt("mark", lambda: draw(TRIES)) is one
    assert len(drawn_so_far) == TRIES
    drawn_so_far.clear()
    with pytest.raises(SynthError, match=r"none of 20 draws did on this image and was red\. Take"):
        attempt("mark", lambda: draw(TRIES + 1), " and was red")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_merged_and_greatest_are_numpys(kind: type[np.generic], channels: int) -> None:
    rng = np.random.default_rng(0)
    there, elsewhere = (rng.integers(0, 255, (9, 14, channels)).astype(kind) for _ in range(2))
    mask = rng.random((18, 14)) < 0.5
    for first, second, where in (
        (there, elsewhere, mask[:9]),
        (there[:, ::-1], elsewhere[::-1].astype(np.uint8), mask[::2]),
    ):
        for array in (first, second, where):
            array.flags.writeable = False
        both = merged(where, first, second)
        assert both.dtype == kind
        assert np.array_equal(both, np.where(where[..., None], first, second))
        assert np.array_equal(greatest(both), both.max(axis=2))
