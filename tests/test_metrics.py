"""Measures of classifiers, by numbers worked out by hand."""

import math

import numpy as np
import pytest

import cconv
from cconv import SoftmaxWithLoss, metrics

# Classes 0 1 2 3: 3, 2, 3 and 0 samples; predicted 2, 4, 1 and 1 times.
T = np.array([0, 0, 0, 1, 1, 2, 2, 2])
Y = np.array([0, 0, 1, 1, 1, 1, 2, 3])
PRECISION, RECALL, F1 = [1, 2 / 4, 1, 0], [2 / 3, 1, 1 / 3, 0], [4 / 5, 4 / 6, 2 / 4, 0]


def scores_of(y, classes=4):
    """Scores whose highest is that of a class, or NaN for -1."""
    return np.where(y[:, None] < 0, np.nan, np.eye(classes)[y])


def answers(classes=4):
    """The same answers in every form: (t, y)."""
    for t in (T, T[:, None], T.astype(np.uint8), T.tolist()):
        yield t, Y
    for t in (T, T[:, None], np.eye(classes, dtype=int)[T], np.eye(classes)[T] == 1, np.eye(classes)[T] * 0.5 + 0.1):
        for dtype in (np.float32, np.float64):
            yield t, scores_of(Y, classes).astype(dtype)
    yield T, np.asfortranarray(scores_of(Y, classes))


def test_reachable_from_the_package():
    assert cconv.metrics is metrics


def test_measures_worked_out_by_hand():
    for t, y in answers():
        assert metrics.accuracy(t, y) == 5 / 8
        expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]
        counts = metrics.confusion_matrix(t, y)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, expected)
        for measure, each in ((metrics.precision, PRECISION), (metrics.recall, RECALL), (metrics.f1, F1)):
            np.testing.assert_allclose(measure(t, y, average=None), each, rtol=1e-15)
            assert measure(t, y) == measure(t, y, average="macro") == pytest.approx(sum(each) / 4)
            weighted = (3 * each[0] + 2 * each[1] + 3 * each[2]) / 8
            assert measure(t, y, average="weighted") == pytest.approx(weighted)
            assert measure(t, y, average="micro") == 5 / 8
            assert type(measure(t, y)) is float


def test_a_class_that_does_not_occur_and_is_not_predicted_is_not_in_a_mean():
    for t, y in ((T, Y), (T, scores_of(Y, 6))):
        options = {"num_classes": 6}
        assert metrics.confusion_matrix(t, y, **options).shape == (6, 6)
        for measure, each in ((metrics.precision, PRECISION), (metrics.recall, RECALL), (metrics.f1, F1)):
            np.testing.assert_allclose(measure(t, y, average=None, **options), [*each, 0, 0])
            assert measure(t, y, **options) == pytest.approx(sum(each) / 4)
            assert measure(t, y, average="micro", **options) == 5 / 8


def test_answers_of_yes_and_no():
    t, scores = np.array([True, True, False, False]), np.array([0.5, -1.0, -2.0, -0.5])
    assert metrics.accuracy(t, scores > 0) == 3 / 4
    np.testing.assert_array_equal(metrics.recall(t, scores > 0, average=None), [1, 0.5])
    np.testing.assert_array_equal(metrics.precision(t, scores > 0, average=None), [2 / 3, 1])
    both = np.stack([-scores, scores], axis=1)
    assert metrics.accuracy(t, both) == metrics.top_k_accuracy(t, both, 1) == 3 / 4
    assert metrics.log_loss(t, both) == metrics.log_loss(t.astype(int), both)


@pytest.mark.parametrize("column", [0, 2])
def test_scores_that_are_no_number_are_never_right(column):
    t, scores = np.array([0, 0, 1, 2]), np.eye(3)[[0, 0, 1, 1]]
    scores[0, column] = np.nan
    assert metrics.accuracy(t, scores) == 2 / 4
    assert metrics.top_k_accuracy(t, scores, 3) == 3 / 4
    np.testing.assert_array_equal(metrics.confusion_matrix(t, scores), [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(metrics.precision(t, scores, average=None), [1, 0.5, 0])
    np.testing.assert_array_equal(metrics.recall(t, scores, average=None), [0.5, 1, 0])
    assert metrics.precision(t, scores, average="micro") == 2 / 3
    assert metrics.recall(t, scores, average="micro") == 2 / 4
    assert math.isnan(metrics.log_loss(t, scores))
    nothing = np.full((4, 3), np.nan)
    assert metrics.accuracy(t, nothing) == metrics.top_k_accuracy(t, nothing, 3) == metrics.f1(t, nothing) == 0
    assert metrics.precision(t, nothing, average="micro") == 0


def test_top_k():
    t = np.array([0, 1, 2, 2])
    scores = np.array([[0.9, 0.5, 0.1, 0.0], [0.9, 0.5, 0.1, 0.0], [0.9, 0.5, 0.1, 0.0], [0, 0, 1.0, 0]])
    assert [metrics.top_k_accuracy(t, scores, k) for k in (1, 2, 3, 4)] == [2 / 4, 3 / 4, 1, 1]
    assert metrics.top_k_accuracy(t, scores) == 3 / 4
    assert metrics.top_k_accuracy(np.eye(4)[t], -scores.astype(np.float32), 1) == 0


def test_of_equal_scores_the_first_is_the_highest():
    scores = np.array([[1.0, 1.0, 1.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, np.inf]])
    for c in range(3):
        assert metrics.accuracy([c] * 3, scores) == metrics.top_k_accuracy([c] * 3, scores, 1) == (c == 0)
    assert metrics.top_k_accuracy([2, 2, 2], scores) == 1 / 3
    assert metrics.top_k_accuracy([1, 1, 1], scores) == 2 / 3


def test_log_loss_is_that_of_the_layer():
    scores = np.array([[0.0, math.log(3)], [math.log(4), 0.0], [800.0, 0.0]])
    assert metrics.log_loss([1, 1], scores[:2]) == pytest.approx((math.log(4 / 3) + math.log(5)) / 2)
    assert metrics.log_loss([1], scores[2:]) == 800  # of probabilities, clipped ones, it would be 36
    rows = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])
    for t in ([1, 0, 0], np.eye(2, dtype=int)[[1, 0, 0]], rows):
        for x in (scores, scores.astype(np.float32)):
            assert metrics.log_loss(t, x) == SoftmaxWithLoss().forward(x, t)
    p = np.array([[0.25, 0.75], [0.1, 0.9]])
    assert metrics.log_loss([0, 1], np.log(p)) == pytest.approx(-(math.log(0.25) + math.log(0.9)) / 2)


COUNTED = (metrics.precision, metrics.recall, metrics.f1, metrics.confusion_matrix)


@pytest.mark.parametrize(
    ("t", "y", "error", "message"),
    [
        ([0, 1], [0, 1, 2], ValueError, r"t must hold one class index for each of 3 samples, got shape \(2,\)"),
        ([[0, 1], [1, 0]], [0, 1], ValueError, "t must hold one class index for each of 2 samples, got"),
        ([0, -1], [0, 1], ValueError, "t must hold class indices that are not negative, got -1 for sample 1"),
        ([0, 1], [0, -3], ValueError, "y must hold class indices that are not negative, got -3 for sample 1"),
        (np.array([0, 2**63], np.uint64), [0, 1], ValueError, "t must .* got 9223372036854775808 for sample 1"),
        ([0, 1], [0.0, 1.0], TypeError, "y must hold class indices as integers, got float64"),
        ([0.0, 1.0], [0, 1], TypeError, "t must hold class indices as integers, got float64"),
        ([0, 1], [[0, 1], [1, 0]], TypeError, "y must be float32 or float64, got int64"),
        ([0, 1], [[0.5], [0.2]], ValueError, r"y must have a score for each of 2 or more classes, got shape \(2, 1\)"),
        ([0, 1], np.zeros((2, 2, 2)), ValueError, r"y must be scores of shape \(N, classes\) or class indices"),
        ([0, 3], np.zeros((2, 3)), ValueError, "t must hold class indices from 0 to 2, got 3 for sample 1"),
        ([0, 1, 2], np.zeros((2, 3)), ValueError, r"t must be class indices of shape \(2,\)"),
        ([], np.zeros((0, 3)), ValueError, r"a measure of no samples is not defined: y has shape \(0, 3\)"),
        (np.zeros(0, int), np.zeros(0, int), ValueError, "a measure of no samples is not defined"),
        ([], [], ValueError, "a measure of no samples is not defined"),
    ],
)
def test_what_is_refused(t, y, error, message):
    for measure in (metrics.accuracy, *COUNTED):
        with pytest.raises(error, match=message):
            measure(t, y)
    if np.ndim(y) == 2:
        for measure in (metrics.top_k_accuracy, metrics.log_loss):
            with pytest.raises(error, match=message):
                measure(t, y)


def test_options_that_are_refused():
    scores = np.zeros((2, 3))
    for measure in COUNTED:
        for y in (scores, [0, 1]):
            for bad, error in ((0, ValueError), (2.0, TypeError)):
                with pytest.raises(error, match="num_classes must be"):
                    measure([0, 1], y, num_classes=bad)
        for t, options in (([2**63 - 1], {}), ([0], {"num_classes": 2**62})):
            with pytest.raises(ValueError, match="t, y and num_classes must leave room for a count of each class"):
                measure(t, [0], **options)
        with pytest.raises(ValueError, match="num_classes must be 3, as y has so many columns, or None, got 4"):
            measure([0, 1], scores, num_classes=4)
        with pytest.raises(ValueError, match="y must hold class indices from 0 to 1, got 2 for sample 0"):
            measure([0, 1], [2, 1], num_classes=2)
    for measure in COUNTED[:3]:
        for bad in ("binary", 1, ["macro"]):
            with pytest.raises(ValueError, match="average must be 'macro', 'weighted' or 'micro', got"):
                measure([0, 1], [0, 1], average=bad)
    for bad, error in ((0, ValueError), (4, ValueError), (1.0, TypeError), (None, TypeError)):
        with pytest.raises(error, match="k must be"):
            metrics.top_k_accuracy([0, 1], scores, bad)
    for measure in (metrics.top_k_accuracy, metrics.log_loss):
        with pytest.raises(TypeError, match="y must be float32 or float64, got int64"):
            measure([0, 1], [0, 1])
        with pytest.raises(ValueError, match="y must have 2 dimensions"):
            measure([0, 1], np.zeros(2))
