"""Measures of classifiers against scikit-learn."""

import numpy as np
import parity
import pytest

from cconv import functional, metrics

parity.require("sklearn", "scikit-learn")
from sklearn import metrics as theirs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error")


def drawn(seed):
    """True classes, scores and how many classes there are; some classes may not occur, or not be predicted."""
    rng = np.random.default_rng(seed)
    classes, samples = int(rng.integers(2, 9)), int(rng.integers(1, 60))
    t = rng.choice(rng.choice(classes, int(rng.integers(1, classes + 1)), replace=False), samples)
    scores = rng.standard_normal((samples, classes)) + 2 * rng.random() * np.eye(classes)[t]
    return t, scores.astype(rng.choice([np.float32, np.float64])), classes


@pytest.mark.parametrize("seed", range(40))
def test_measures(seed):
    t, scores, classes = drawn(seed)
    y, labels = scores.argmax(axis=1), np.arange(classes)
    for answers, options in ((scores, {}), (y, {"num_classes": classes})):
        assert metrics.accuracy(t, answers) == pytest.approx(theirs.accuracy_score(t, y))
        np.testing.assert_array_equal(
            metrics.confusion_matrix(t, answers, **options), theirs.confusion_matrix(t, y, labels=labels)
        )
        for name in ("precision", "recall", "f1"):
            ours, score = getattr(metrics, name), getattr(theirs, f"{name}_score")
            each = score(t, y, labels=labels, average=None, zero_division=0)
            np.testing.assert_allclose(ours(t, answers, average=None, **options), each, rtol=1e-14)
            for average in ("macro", "weighted", "micro"):
                expected = score(t, y, average=average, zero_division=0)
                assert ours(t, answers, average=average, **options) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("seed", range(40))
def test_measures_of_scores(seed):
    t, scores, classes = drawn(seed)
    labels = np.arange(classes)
    if classes > 2:  # of two classes scikit-learn takes one score, that of the second
        for k in range(1, classes):
            expected = theirs.top_k_accuracy_score(t, scores, k=k, labels=labels)
            assert metrics.top_k_accuracy(t, scores, k) == pytest.approx(expected)
    probabilities = functional.softmax(scores.astype(np.float64))
    expected = theirs.log_loss(t, probabilities, labels=labels)
    assert metrics.log_loss(t, scores) == pytest.approx(expected, rel=1e-5 if scores.dtype == np.float32 else 1e-12)
