"""Several data sets in one epoch: their names, parts and shares."""

from pathlib import Path

import numpy as np
import pytest

from captioner.errors import ConfigError
from captioner.text.vocabulary import Vocabulary
from training.data.dataset import CaptionDataset
from training.data.mixing import Balance, check_different, names_of, parts_of, spread
from training.data.readers.listing import ImageRecord
from training.data.records import DataSet
from training.data.replay import ReplayDataset


def data_set(name, count=1, folder="a"):
    return DataSet(name, "table", Path(folder), records(folder, count), [], False)


def records(name, count):
    return [ImageRecord(number, Path(f"{name}/{number}.jpg"), ("a word",), "train") for number in range(count)]


def balance(sizes, exponent):
    return Balance(parts_of([str(number) for number in range(len(sizes))], sizes), exponent)


@pytest.mark.parametrize(
    ("sizes", "exponent", "counts"),
    [
        ((6000, 1722), 1.0, (6000, 1722)),
        ((6000, 1722), 0.0, (3861, 3861)),
        ((6000, 1722), 0.7, (5448, 2274)),
        ((1000, 1, 1), 0.0, (334, 334, 334)),
        ((7, 5, 3), 1.0, (7, 5, 3)),
        ((1, 1), 0.5, (1, 1)),
    ],
)
def test_the_share_of_a_data_set_is_its_size_to_the_power_of_the_exponent(sizes, exponent, counts):
    assert balance(sizes, exponent).counts == counts
    assert sum(counts) == sum(sizes)


def test_within_a_data_set_photos_are_seen_equally_often_up_to_one():
    mixed = balance((20, 6), 0.5)
    counts = np.zeros(26, int)
    for number in range(9):
        positions = mixed.positions(3, number)
        assert len(positions) == 26 and np.sum(positions < 20) == mixed.counts[0] < 20
        counts += np.bincount(positions, minlength=26)
        for part in mixed.parts:
            part_counts = counts[part.first : part.first + part.count]
            assert part_counts.max() - part_counts.min() <= 1
    assert not np.array_equal(mixed.positions(3, 0), mixed.positions(3, 1))
    assert not np.array_equal(mixed.positions(3, 0), mixed.positions(4, 0))
    assert np.array_equal(mixed.positions(3, 5), balance((20, 6), 0.5).positions(3, 5))


@pytest.mark.parametrize("least_batches", [0, 20])
def test_epochs_of_several_data_sets_are_repeatable_and_have_the_announced_number_of_batches(least_batches):
    def order(epoch):
        mixed = balance((20, 6), 0.0)
        everything = [*records("a", 20), *records("b", 6)]
        data = CaptionDataset(everything, Vocabulary.build(["a word"], 1), [], least_batches, balance=mixed)
        batches = data.order(epoch, 4, 5)
        assert len(batches) == data.batch_count(4)
        return np.concatenate(batches)

    assert np.array_equal(order(2), order(2)) and not np.array_equal(order(2), order(3))
    passes = 3 if least_batches else 1
    assert np.sum(order(2) >= 20) == 13 * passes


def test_replayed_photos_are_mixed_into_balanced_batches():
    mixed, everything = balance((20, 6), 0.0), [*records("a", 20), *records("b", 6)]
    data = ReplayDataset(everything, records("c", 9), 0.5, Vocabulary.build(["a word"], 1), [], balance=mixed)
    images = np.concatenate(data.order(0, 4, 0))
    assert [np.sum((images >= low) & (images < high)) for low, high in ((0, 20), (20, 26), (26, 35))] == [13, 13, 26]


def test_names_are_unique():
    assert names_of(data_set(name) for name in ("a", "b", "a", "a 2", "a")) == ("a", "b", "a 2", "a 2 2", "a 3")


def test_a_data_set_named_twice_is_refused():
    check_different([data_set("a"), data_set("b", folder="b"), data_set("none", 0), data_set("nothing", 0)])
    with pytest.raises(ConfigError, match="--also names a a second time: name each data set once"):
        check_different([data_set("a"), data_set("b", folder="b"), data_set("again")])


def test_examples_are_spread_over_each_data_set():
    assert spread(parts_of(["a"], [20]), 6) == [0, 3, 6, 10, 13, 16]
    assert spread(parts_of(["a", "b"], [20, 4]), 5) == [0, 6, 13, 20, 22]
    assert spread(parts_of(["a", "b", "c"], [2, 1, 1]), 6) == [0, 1, 2, 3]
    assert spread(parts_of(["a", "b"], [9, 9]), 1) == [0, 9]


def test_a_sentence_gives_the_share_of_each_data_set():
    parts = parts_of(["flickr8k", "coco"], [6000, 1722])
    assert Balance(parts, 0.7).sentence() == (
        "data: flickr8k 6,000 photos, 70.6% of an epoch; coco 1,722 photos, 29.4% of an epoch"
    )
