"""AUPRO and the pixel figures: against the definition done slowly, by hand, by property."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from sklearn import metrics as reference

from blemish.errors import ConfigError, DataError, ShapeError
from blemish.metrics import (
    aupro,
    components,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
    pro_curve,
)
from blemish.metrics.ranking import Floats
from blemish.metrics.regions import PLOT_POINTS
from blemish.records import Map, Mask

Case = tuple[list[Map], list[Mask]]
LIMITS = (0.05, 0.3, 1.0)


def brute_pro(
    maps: list[Map], masks: list[Mask]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(fpr, pro) at a threshold above all scores, then at every distinct score, falling.

    From the definition in Bergmann et al., IJCV 2021, section 5.1: the share found of each
    connected defect, averaged over all of them; against the share of good pixels that are found.
    """
    regions = []
    for map, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [map[labels == label] for label in range(1, count + 1)]
    good = np.concatenate([map[~mask] for map, mask in zip(maps, masks, strict=True)])
    levels = np.unique(np.concatenate([map.ravel() for map in maps]))[::-1]
    fpr = [0.0] + [float((good >= level).mean()) for level in levels]
    pro = [0.0] + [float(np.mean([(r >= level).mean() for r in regions])) for level in levels]
    return np.array(fpr), np.array(pro)


def brute_aupro(maps: list[Map], masks: list[Mask], limit: float) -> float:
    return brute_area(*brute_pro(maps, masks), limit)


def brute_area(fpr: Floats, pro: Floats, limit: float) -> float:
    """Trapezoids up to limit; the last one is cut on its straight line."""
    area = 0.0
    for k in range(1, fpr.size):
        if fpr[k] > limit:
            rise = (pro[k] - pro[k - 1]) * (limit - fpr[k - 1]) / (fpr[k] - fpr[k - 1])
            return (area + (limit - fpr[k - 1]) * (2 * pro[k - 1] + rise) / 2) / limit
        area += (fpr[k] - fpr[k - 1]) * (pro[k] + pro[k - 1]) / 2
    return area / limit


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to three small images of several sizes with few distinct scores and random defects."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 3, 10, 1000]))
    maps, masks = [], []
    for _ in range(draw(st.integers(1, 3))):
        size = tuple(rng.integers(2, 9, 2))
        maps.append(rng.integers(0, levels, size).astype(np.float32))
        masks.append(rng.random(size) < rng.choice([0.0, 0.1, 0.4]))
    masks[0].flat[0], masks[0].flat[-1] = True, False
    return maps, masks


@given(cases(), st.sampled_from(LIMITS))
def test_aupro_agrees_with_its_definition(case: Case, limit: float) -> None:
    assert aupro(*case, limit) == pytest.approx(brute_aupro(*case, limit), abs=1e-12)


@given(cases())
def test_pixel_figures_agree_with_scikit_learn(case: Case) -> None:
    scores = np.concatenate([map.ravel() for map in case[0]])
    labels = np.concatenate([mask.ravel() for mask in case[1]])
    assert pixel_auroc(*case) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert pixel_ap(*case) == pytest.approx(reference.average_precision_score(labels, scores))
    f1, threshold = pixel_f1_max(*case)
    assert f1 == pytest.approx(reference.f1_score(labels, scores >= threshold))
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    assert f1 == pytest.approx(np.max(2 * precision * recall / (precision + recall + 1e-12)))


@given(cases(), st.sampled_from(LIMITS))
def test_area_under_the_drawn_curve_is_aupro(case: Case, limit: float) -> None:
    fpr, pro = pro_curve(*case, limit)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(pro) >= 0).all()
    assert (fpr[0], fpr[-1]) == (0, limit)
    area = np.diff(fpr) @ (pro[1:] + pro[:-1]) / 2
    assert area / limit == pytest.approx(aupro(*case, limit))


def test_a_long_curve_is_thinned_without_changing_its_shape() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((300, 300), dtype=bool)
    mask[50:200, 80:200] = True
    map = (rng.normal(size=mask.shape) + mask).astype(np.float32)
    for limit in LIMITS:
        fpr, pro = pro_curve([map], [mask], limit)
        assert fpr.size <= PLOT_POINTS
        assert (fpr[0], fpr[-1]) == (0, limit)
        exact_fpr, exact_pro = brute_levels(map, mask)
        expected = np.interp(exact_fpr[exact_fpr <= limit], fpr, pro)
        np.testing.assert_allclose(expected, exact_pro[exact_fpr <= limit], atol=2e-3)


def brute_levels(map: Map, mask: Mask) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(fpr, pro) of one image with one defect, at every pixel."""
    order = np.argsort(-map.ravel())
    found = mask.ravel()[order]
    return np.cumsum(~found) / (~mask).sum(), np.cumsum(found) / mask.sum()


@given(cases(), st.sampled_from([np.exp, np.cbrt, lambda x: x * 1e30, lambda x: x * 1e-30]))
def test_only_the_order_of_scores_matters(case: Case, rising: np.ufunc) -> None:
    maps, masks = case
    small = [map / 20 for map in maps]  # exp must stay inside float32
    moved = [rising(map.astype(np.float64)).astype(np.float32) for map in small]
    assert aupro(moved, masks, 0.3) == aupro(small, masks, 0.3)
    assert pixel_auroc(moved, masks) == pixel_auroc(small, masks)
    assert pixel_ap(moved, masks) == pixel_ap(small, masks)


@given(cases(), st.sampled_from(LIMITS))
def test_the_mask_itself_is_perfect_and_its_opposite_useless(case: Case, limit: float) -> None:
    masks = case[1]
    assert aupro([mask.astype(np.float32) for mask in masks], masks, limit) == pytest.approx(1)
    opposite = [(~mask).astype(np.float32) for mask in masks]
    assert aupro(opposite, masks, limit) == pytest.approx(0, abs=1e-12)


@given(cases(), st.integers(2, 3), st.sampled_from(LIMITS))
def test_larger_pixels_change_nothing(case: Case, factor: int, limit: float) -> None:
    maps, masks = case
    larger = [np.kron(map, np.ones((factor, factor), np.float32)) for map in maps]
    larger_masks = [np.kron(mask, np.ones((factor, factor), bool)) for mask in masks]
    assert aupro(larger, larger_masks, limit) == pytest.approx(aupro(maps, masks, limit))
    assert pixel_auroc(larger, larger_masks) == pytest.approx(pixel_auroc(maps, masks))


@given(cases(), st.sampled_from(LIMITS))
def test_order_and_flips_of_images_do_not_matter(case: Case, limit: float) -> None:
    maps, masks = case
    turned = [map[::-1, ::-1].T for map in maps[::-1]], [mask[::-1, ::-1].T for mask in masks[::-1]]
    assert aupro(*turned, limit) == pytest.approx(aupro(maps, masks, limit))


def test_no_mask_means_all_good() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((5, 6), dtype=np.float32) for _ in range(2)]
    mask = np.eye(5, 6, dtype=bool)
    empty = np.zeros((5, 6), dtype=bool)
    assert aupro(maps, [mask, None], 0.3) == aupro(maps, [mask, empty], 0.3)


@pytest.mark.parametrize("limit", LIMITS)
def test_by_hand_all_scores_equal(limit: float) -> None:
    # the curve is the diagonal: area limit² / 2, over limit
    mask = np.array([[True, False, False, False]])
    assert aupro([np.full((1, 4), 7, np.float32)], [mask], limit) == pytest.approx(limit / 2)


def test_by_hand_a_step_inside_the_limit() -> None:
    # Of 10 good pixels 1 lies above the only defect pixel: PRO is 0 up to 0.1, then 1.
    map = np.array([[5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    mask = np.arange(11)[None] == 0
    assert aupro([map], [mask], 0.3) == pytest.approx(0.2 / 0.3)
    assert aupro([map], [mask], 0.05) == 0
    assert aupro([map], [mask], 1.0) == pytest.approx(0.9)


def test_by_hand_the_limit_cuts_a_tie() -> None:
    # The defect ties with all 4 good pixels but one, which is above: a ramp from 0.25 to 1.
    map = np.array([[1, 2, 1, 1, 1]], np.float32)
    mask = np.arange(5)[None] == 0
    # up to 0.5 the ramp has risen to (0.5 - 0.25) / 0.75 = 1 / 3: a triangle of 0.25 x 1/3 / 2
    assert aupro([map], [mask], 0.5) == pytest.approx(0.25 / 3 / 2 / 0.5)


def test_by_hand_every_defect_counts_the_same() -> None:
    # A defect of 4 pixels is found whole before any good pixel, one of 1 pixel never.
    map = np.array([[9, 9, 9, 9, 1, 1, 0]], np.float32)
    mask = np.array([[True, True, True, True, False, False, True]])
    assert aupro([map], [mask], 0.3) == pytest.approx(0.5)
    assert pixel_auroc([map], [mask]) == pytest.approx(0.8)


def test_by_hand_defects_of_two_images_are_averaged_together() -> None:
    # Image one has two defects, image two has one; two of the three are found at once.
    maps = [np.array([[9, 0, 9]], np.float32), np.array([[0, 1, 1]], np.float32)]
    masks = [np.array([[True, False, True]]), np.array([[True, False, False]])]
    # the third ties with 1 of 3 good pixels, the two others are above: a ramp from 2/3 to 1
    assert aupro(maps, masks, 2 / 3) == pytest.approx(2 / 3)
    assert aupro(maps, masks, 1.0) == pytest.approx(2 / 3 + 1 / 3 * 1 / 3 / 2)


def test_by_hand_corners_connect() -> None:
    # One defect of two pixels that is found by half, and one found whole: were corners not
    # connected, two of three defects would be found.
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1]], dtype=bool)
    count, labels = components(mask)
    assert count == 2
    assert labels[0, 0] == labels[1, 1] != labels[1, 3]
    map = np.array([[9, 1, 1, 1], [0, -1, 1, 9]], np.float32)
    assert aupro([map], [mask], 0.3) == pytest.approx((0.5 + 1) / 2)


def test_masks_of_any_memory_layout_work() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3, 1:5] = mask[5, 7] = True
    mask.flags.writeable = False
    for view in (mask, mask.T, mask[::-1, ::2], np.asfortranarray(mask)):
        expected, _ = cv2.connectedComponents(view.astype(np.uint8), connectivity=8)
        assert components(view)[0] == expected - 1


def test_a_map_of_another_size_is_refused_with_both_sizes() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    with pytest.raises(ShapeError, match=r"\(4, 6\).*\(2, 3\)"):
        aupro([np.zeros((2, 3), np.float32)], [mask])
    with pytest.raises(ShapeError, match=r"\(4, 6\).*\(4, 6, 1\)"):
        aupro([np.zeros((4, 6, 1), np.float32)], [mask])


def test_bad_input_is_refused() -> None:
    map = np.zeros((2, 2), np.float32)
    mask = np.array([[True, False], [False, False]])
    with pytest.raises(ShapeError, match="2 maps and 1 masks"):
        aupro([map, map], [mask])
    with pytest.raises(DataError, match="1 of 4 are NaN"):
        aupro([np.array([[0, 0], [0, np.nan]], np.float32)], [mask])
    with pytest.raises(DataError, match=r"must be boolean.*uint8"):
        aupro([map], [mask.astype(np.uint8)])
    with pytest.raises(DataError, match="4 good and 0 defective"):
        aupro([map], [~(mask | True)])
    with pytest.raises(DataError, match="0 good and 4 defective"):
        aupro([map], [mask | True])
    with pytest.raises(DataError, match="0 good and 0 defective"):
        aupro([], [])


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1, float("nan")])
def test_a_limit_outside_is_refused(limit: float) -> None:
    case = [np.zeros((1, 2), np.float32)], [np.array([[True, False]])]
    with pytest.raises(ConfigError, match="limit"):
        aupro(*case, limit)
    with pytest.raises(ConfigError, match="limit"):
        pro_curve(*case, limit)


def brute_coarse(maps: list[Map], masks: list[Mask], limit: float, n_thresholds: int) -> float:
    """As methods that print AUPRO between few thresholds do it: a threshold at each of so many
    equally spaced ranks of the good pixels, a pixel is found if it is above, (1, 1) at the end."""
    good = np.sort(np.concatenate([map[~mask] for map, mask in zip(maps, masks, strict=True)]))
    regions = []
    for map, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [map[labels == label] for label in range(1, count + 1)]
    points = [(1.0, 1.0)]
    for rank in np.linspace(0, good.size - 1, n_thresholds, dtype=int):
        found = [float((region > good[rank]).mean()) for region in regions]
        points.append((1 - (rank + 1) / good.size, float(np.mean(found))))
    fpr, pro = np.array(points[::-1]).T
    inside = fpr < limit
    x = np.append(fpr[inside], limit)
    y = np.append(pro[inside], np.interp(limit, fpr, pro))
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2) / limit


@given(cases(), st.sampled_from([0.01, *LIMITS]), st.sampled_from([2, 5, 99]))
def test_coarse_aupro_agrees_with_its_definition(case: Case, limit: float, n: int) -> None:
    good = np.concatenate([map[~mask] for map, mask in zip(*case, strict=True)])
    if np.unique(good).size < good.size:
        case = [map + np.float32(1e-4) * i_map(map) for map in case[0]], case[1]
    assert aupro(*case, limit, n) == pytest.approx(brute_coarse(*case, limit, n), abs=1e-9)


def i_map(map: Map) -> Map:
    """The number of each pixel: breaks ties within one image."""
    return np.arange(map.size, dtype=np.float32).reshape(map.shape)


def test_few_thresholds_flatter_nobody() -> None:
    """The trap: between 99 thresholds AUPRO at 1 % is a single straight line."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(500, 400)).astype(np.float32) for _ in range(2)]
    masks = [np.zeros((500, 400), dtype=bool) for _ in maps]
    for map, mask in zip(maps, masks, strict=True):
        for y, x in rng.integers(0, 18, (10, 2)) * 20:
            mask[y : y + 15, x : x + 15] = True
        map[mask] += 4
    expected = {0.01: (0.616, 0.901), 0.05: (0.906, 0.964), 0.30: (0.983, 0.992)}
    for limit, (coarse, dense) in expected.items():
        assert aupro(maps, masks, limit, 99) == pytest.approx(coarse, abs=0.05)
        assert aupro(maps, masks, limit) == pytest.approx(dense, abs=0.01)
        assert aupro(maps, masks, limit, 20_000) == pytest.approx(dense, abs=0.01)


@pytest.mark.parametrize("n_thresholds", [1, 0, -5])
def test_too_few_thresholds_are_refused(n_thresholds: int) -> None:
    case = [np.zeros((1, 2), np.float32)], [np.array([[True, False]])]
    with pytest.raises(ConfigError, match="at least 2"):
        aupro(*case, 0.3, n_thresholds)
