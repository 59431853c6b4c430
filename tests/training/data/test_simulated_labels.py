"""Simulated labels: those that a classifier might give to the photo of a sentence."""

import time

import numpy as np
import pytest

from training.data import simulated_labels
from training.data.simulated_labels import LabelSimulator

CLASSES = [{5: 0.6, 9: 0.4}, {6: 0.6, 9: 0.4}, {7: 1.0}, {}, *({number: 1.0} for number in range(20, 60))]
"""Words 5 and 6 name classes 0 and 1, which are related by word 9; 7 names class 2; nothing names class 3."""


def draw(tokens, labels=4, times=4000, classes=CLASSES, seed=0):
    tokens = np.tile(np.array(tokens, np.int64), (times, 1))
    return LabelSimulator(classes, labels)(tokens, np.random.default_rng(seed))


def share(classes, number):
    """Return the share of sentences with this class among their labels."""
    return (classes == number).any(axis=1).mean()


def test_words_of_a_sentence_mostly_lead_to_their_labels():
    classes, _ = draw([4, 7, 11, 0, 0])
    elsewhere, _ = draw([4, 11, 11, 0, 0])
    assert simulated_labels.LABEL_PROBABILITY < share(classes, 2) < simulated_labels.LABEL_PROBABILITY + 0.1
    assert share(elsewhere, 2) == pytest.approx(4 / len(CLASSES), abs=0.02)


def test_labels_named_by_a_word_mostly_come_first():
    classes, _ = draw([7])
    has = (classes == 2).any(axis=1)
    first = (classes[has] == 2).argmax(axis=1)
    counts = np.bincount(first, minlength=4)
    assert counts[0] > 2 * counts[1] > 2 * counts[3] > 0


def test_wrong_labels_are_more_often_related_to_right_ones():
    classes, _ = draw([5])
    assert share(classes, 1) > 2 * share(classes, 2)
    assert share(draw([7])[0], 1) == pytest.approx(share(draw([7])[0], 3), abs=0.03)


def test_a_word_that_names_several_classes_leads_to_one_by_weight():
    classes, _ = draw([8], labels=1, classes=[{8: 0.9}, {8: 0.3}, {8: 0.3}])
    shares = np.bincount(classes[:, 0], minlength=3) / len(classes)
    assert shares[0] > 1.8 * shares[1] and shares[1] == pytest.approx(shares[2], abs=0.05)


def test_the_first_word_of_a_compound_name_rarely_leads_to_its_label():
    classes = [{8: 1.0, 9: 0.3}, *({number: 1.0} for number in range(20, 100))]
    seldom, often, never = (share(draw([word], classes=classes)[0], 0) for word in (9, 8, 10))
    assert never < seldom < never + 0.1 < often - 0.3


@pytest.mark.parametrize(("count", "labels"), [(1, 1), (2, 8), (8, 8), (9, 8), (25, 8), (300, 8), (30, 30)])
def test_the_labels_of_a_sentence_differ(count, labels):
    classes, probabilities = draw([1, 2, 3, 0], labels, classes=[{number % 4: 1.0} for number in range(count)])
    assert classes.shape == probabilities.shape == (4000, min(count, labels))
    assert classes.min() >= 0 and classes.max() < count
    assert (np.diff(np.sort(classes, axis=1), axis=1) > 0).all()


def test_probabilities_decrease_and_sum_to_at_most_one():
    _, probabilities = draw([5, 7], labels=8)
    assert (np.diff(probabilities, axis=1) <= 0).all() and (probabilities > 0).all()
    assert probabilities.sum(axis=1).max() <= 1 + 1e-5 and probabilities.dtype == np.float32
    assert 0.1 < np.median(probabilities[:, 0]) < 0.3


def test_a_right_first_label_has_a_higher_probability():
    classes, probabilities = draw([7])
    right = classes[:, 0] == 2
    assert np.median(probabilities[right, 0]) > 1.5 * np.median(probabilities[~right, 0])


def test_sentences_that_name_nothing_get_random_labels():
    for classes in (CLASSES, [{}] * 10):
        labels, _ = draw([0, 0], classes=classes)
        assert labels.shape == (4000, 4) and len(np.unique(labels)) == len(classes)
    assert draw([90_000])[0].shape == (4000, 4)


def test_the_same_random_stream_gives_the_same_labels():
    labels, repeated, other_seed = (draw([5, 7], seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(left, right) for left, right in zip(labels, repeated, strict=True))
    assert not np.array_equal(labels[0], other_seed[0])


def test_a_batch_of_160_takes_milliseconds():
    rng = np.random.default_rng(0)
    classes = [{int(word): 0.5 for word in rng.integers(4, 5000, 3)} for _ in range(1000)]
    simulate = LabelSimulator(classes, 8)
    tokens = rng.integers(4, 5000, (160, 30))
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        simulate(tokens, rng)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.01  # 3 ms on an idle machine
