"""Doubtful captions of photos that are unlike each other come first."""

import numpy as np
import pytest

from captioner.confidence.correction_order import correction_order

SURE, DOUBTFUL = 0.9, 0.2


def test_with_photos_all_alike_in_kind_the_least_sure_come_first():
    assert correction_order(np.eye(4), np.array([0.5, 0.1, 0.9, 0.3]), 4) == [1, 3, 0, 2]


def test_a_photo_like_one_before_it_comes_last():
    features = np.array([[1, 0], [2, 0.01], [0, 1]])  # the second one is the first one, brighter
    assert correction_order(features, np.array([0.1, 0.1, 0.6]), 3) == [0, 2, 1]


def test_a_group_of_photos_gives_one_before_any_gives_two():
    random = np.random.default_rng(0)
    groups = np.repeat(np.eye(5), 20, axis=0)
    order = correction_order(groups + random.normal(0, 0.01, groups.shape), np.full(100, 0.5), 10)
    assert len({index // 20 for index in order[:5]}) == 5 and len(set(order)) == 10


def test_an_unknown_confidence_is_between_doubtful_and_sure():
    assert correction_order(np.eye(3), np.array([SURE, np.nan, DOUBTFUL]), 3) == [2, 1, 0]


@pytest.mark.parametrize(("photos", "count"), [(0, 3), (2, 5), (3, 0)])
def test_there_are_no_more_photos_than_exist_or_are_asked_for(photos, count):
    order = correction_order(np.zeros((photos, 4)), np.ones(photos), count)
    assert sorted(order) == list(range(min(photos, count)))
