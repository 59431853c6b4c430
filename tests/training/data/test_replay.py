"""An epoch shows every new photo once, and a share of earlier photos in every batch."""

from pathlib import Path

import numpy as np
import pytest

from captioner.text.vocabulary import Vocabulary
from training.data.readers.listing import ImageRecord
from training.data.replay import ReplayDataset


def records(name, count):
    return [ImageRecord(f"{name}{n}", Path(f"{name}{n}.jpg"), ("a word",), "train") for n in range(count)]


def mixed(new=10, earlier=30, share=0.5):
    return ReplayDataset(
        records("new", new), records("earlier", earlier), share, Vocabulary.build(["a word"], 1), caches=[]
    )


@pytest.mark.parametrize("share, new_in_batch", [(0.0, 8), (0.25, 6), (0.5, 4), (0.99, 1)])
def test_each_batch_has_the_share_of_earlier_photos(share, new_in_batch):
    data = mixed(new=24, share=share)
    batches = data.order(0, 8, 0)
    assert len(batches) == data.batch_count(8)
    for batch in batches:
        assert np.sum(batch < 24) == new_in_batch and len(batch) == 8


def test_an_epoch_has_every_new_photo_once_and_different_earlier_ones_each_time():
    data = mixed()
    earlier_sets = []
    for epoch in range(3):
        batches = data.order(epoch, 8, 0)
        images = np.concatenate(batches)
        assert sorted(images[images < 10]) == list(range(10))
        assert all(len(set(batch)) == len(batch) for batch in batches)
        earlier_sets.append(frozenset(images[images >= 10]))
    assert len(set(earlier_sets)) == 3


def test_the_last_batch_keeps_the_share():
    assert [len(batch) for batch in mixed(new=10).order(0, 8, 0)] == [8, 8, 4]


def test_the_same_epoch_is_repeatable():
    for first, second in zip(mixed().order(2, 8, 5), mixed().order(2, 8, 5), strict=True):
        assert np.array_equal(first, second)


def test_few_earlier_photos_do_not_repeat_within_a_batch():
    assert [len(batch) for batch in mixed(new=8, earlier=2).order(0, 8, 0)] == [6, 6]
