"""AUROC, average precision, F1-max and ROC: against scikit-learn, by hand, by property."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from blemish.errors import DataError, ShapeError
from blemish.metrics import auroc, average_precision, f1_max, roc_curve

Cases = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


@st.composite
def cases(draw: st.DrawFn) -> Cases:
    """Few distinct scores, so that ties are common, and both kinds."""
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-6, 6), min_size=n, max_size=n))
    labels = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    labels[:2] = [True, False]
    return np.array(scores, dtype=np.float64), np.array(labels)


def reference_f1(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> float:
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


@given(cases())
def test_agrees_with_scikit_learn(case: Cases) -> None:
    scores, labels = case
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores))
    expected = reference.average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected)
    assert f1_max(scores, labels)[0] == pytest.approx(reference_f1(scores, labels))


@given(cases())
def test_f1_is_what_its_threshold_gives(case: Cases) -> None:
    scores, labels = case
    f1, threshold = f1_max(scores, labels)
    assert f1 == pytest.approx(reference.f1_score(labels, scores >= threshold))


@given(cases())
def test_roc_curve_has_every_distinct_score_and_the_area(case: Cases) -> None:
    scores, labels = case
    fpr, tpr = roc_curve(scores, labels)
    expected_fpr, expected_tpr, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr, expected_fpr)
    np.testing.assert_allclose(tpr, expected_tpr)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_images_does_not_matter(case: Cases, random: object) -> None:
    scores, labels = case
    order = np.arange(scores.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert auroc(scores[order], labels[order]) == auroc(scores, labels)
    assert average_precision(scores[order], labels[order]) == average_precision(scores, labels)
    assert f1_max(scores[order], labels[order]) == f1_max(scores, labels)


@given(cases(), st.sampled_from([np.exp, np.cbrt, lambda x: x * 1e30, lambda x: x * 1e-30]))
def test_only_the_order_of_scores_matters(case: Cases, rising: np.ufunc) -> None:
    scores, labels = case
    moved = rising(scores).astype(np.float32)
    assert auroc(moved, labels) == auroc(scores, labels)
    assert average_precision(moved, labels) == average_precision(scores, labels)
    assert f1_max(moved, labels)[0] == f1_max(scores, labels)[0]


@given(cases())
def test_swapped_labels_give_the_rest_of_the_area(case: Cases) -> None:
    scores, labels = case
    assert auroc(scores, ~labels) == pytest.approx(1 - auroc(scores, labels))
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))


@pytest.mark.parametrize(
    ("scores", "labels", "area", "precision", "f1"),
    [
        # perfect; reversed; all equal (half the images are defects)
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0, 1.0, 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0, 1 / 2 * 1 / 3 + 1 / 2 * 2 / 4, 2 / 3),
        ([7, 7, 7, 7], [0, 0, 1, 1], 0.5, 0.5, 2 / 3),
        # pairs won: 4 beats 3 and 1; 2 beats 1; so 3 of 4
        ([1, 3, 2, 4], [0, 0, 1, 1], 0.75, 1 / 2 * 1 + 1 / 2 * 2 / 3, 0.8),
        # one pair won, one tied
        ([1, 2, 2], [0, 0, 1], 0.75, 0.5, 2 / 3),
        # scores that float32 rounding or fixed bins would merge
        ([98.0, 98.00001, 99.0], [0, 1, 0], 0.5, 0.5, 2 / 3),
    ],
)
def test_by_hand(
    scores: list[float], labels: list[int], area: float, precision: float, f1: float
) -> None:
    values = np.array(scores, dtype=np.float32)
    assert auroc(values, labels) == pytest.approx(area)
    assert average_precision(values, labels) == pytest.approx(precision)
    assert f1_max(values, labels)[0] == pytest.approx(f1)


def test_infinite_scores_keep_their_place() -> None:
    assert auroc([-np.inf, 0.0, np.inf], [0, 0, 1]) == 1.0
    assert f1_max([-np.inf, 0.0, np.inf], [0, 0, 1]) == (1.0, np.inf)


def test_any_shape_and_read_only_arrays_work() -> None:
    scores, labels = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 1], [0, 1]])
    scores.flags.writeable = labels.flags.writeable = False
    assert auroc(scores, labels) == 0.75


@pytest.mark.parametrize("figure", [auroc, average_precision, f1_max, roc_curve])
def test_refuses_what_has_no_answer(figure: object) -> None:
    assert callable(figure)
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        figure([1, 2, 3], [0, 1])
    with pytest.raises(DataError, match="1 of 2 are NaN"):
        figure([1, np.nan], [0, 1])
    with pytest.raises(DataError, match="2 good and 0 defective"):
        figure([1, 2], [0, 0])
    with pytest.raises(DataError, match="0 good and 2 defective"):
        figure([1, 2], [1, 1])
    with pytest.raises(DataError, match="0 good and 0 defective"):
        figure([], [])
    with pytest.raises(DataError, match="0 \\(good\\) or 1 \\(defect\\)"):
        figure([1, 2], [-1, 1])
