"""An epoch shows every image once, in a repeatable order, with captions cut and padded correctly."""

import numpy as np
import pytest
import torch

from captioner.text.vocabulary import END, PAD, SPECIAL_WORDS, START, UNKNOWN, Vocabulary
from training.data import dataset
from training.data.dataset import MAX_TRAINING_WORDS, CaptionDataset, pad_captions
from training.data.features import FeatureCache
from training.data.records import ImageRecord
from training.random_streams import stream

VOCABULARY = Vocabulary((*SPECIAL_WORDS, *(f"w{number}" for number in range(20))))


class Rows:
    """A cache whose rows name their photo and view."""

    shape = (2,)

    def __init__(self, view=0):
        self.view = view

    def read(self, photos):
        return np.array([[int(photo), self.view] for photo in photos], np.float16)


def data_set(images=50, views=1):
    """Image n has 1 to 7 captions of 1 to 12 words, all beginning with the word that names the image, up to 20."""
    rng = np.random.default_rng(5)
    records = []
    for image in range(images):
        captions = [
            " ".join([f"w{image % 20}", *(f"w{rng.integers(20)}" for _ in range(rng.integers(0, 12)))])
            for _ in range(1 + image % 7)
        ]
        records.append(ImageRecord(f"image {image}", image, tuple(captions), "train"))
    return CaptionDataset(records, VOCABULARY, [Rows(view) for view in range(views)])


def are_equal(first, second):
    return first.images == second.images and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in ("features", "inputs", "targets")
    )


@pytest.mark.parametrize(("images", "batch_size"), [(50, 8), (50, 50), (50, 64), (1, 4), (300, 2)])
def test_an_epoch_uses_every_image_once(images, batch_size):
    batches = data_set(images).order(epoch=3, batch_size=batch_size, seed=1)
    assert sorted(np.concatenate(batches)) == list(range(images))
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == -(-images // batch_size)


def test_the_order_depends_only_on_seed_and_epoch():
    data = data_set()

    def order(epoch, seed, data=data):
        return [batch.tolist() for batch in data.order(epoch, 8, seed)]

    assert order(2, 7) == order(2, 7) == order(2, 7, data_set())
    assert order(2, 7) != order(3, 7)
    assert order(2, 7) != order(2, 8)
    assert order(2, 7) != order(7, 2)


def test_batches_from_the_nth_on_equal_those_of_the_whole_epoch():
    batches = list(data_set(views=2).batches(4, 8, 3, seed=2))
    for first in range(len(batches) + 1):
        rest = list(data_set(views=2).batches(4, 8, 3, seed=2, first=first))
        assert len(rest) == len(batches) - first
        assert all(are_equal(resumed, batch) for resumed, batch in zip(rest, batches[first:], strict=True))


def test_epochs_draw_different_captions_and_views():
    by_epoch = []
    for epoch in range(2):
        batches = list(data_set(views=2).batches(epoch, 50, 2, seed=0))
        assert len(batches) == 1
        rows = torch.argsort(torch.tensor(batches[0].images))
        by_epoch.append((batches[0].features[rows], batches[0].targets[rows]))
    (features, targets), (other_features, other_targets) = by_epoch
    assert not torch.equal(features, other_features)
    assert targets.shape != other_targets.shape or not torch.equal(targets, other_targets)
    assert 5 < int(features[:, 1].sum()) < 45  # both views occur


def test_images_of_a_batch_have_captions_of_similar_length():
    data = data_set(300)
    longest = [data._longest[batch] for batch in data.order(0, 10, 0)]
    spread = np.mean([lengths.max() - lengths.min() for lengths in longest])
    shuffled = np.random.default_rng(0).permutation(data._longest).reshape(-1, 10)
    assert spread < 0.4 * np.mean(np.ptp(shuffled, axis=1))


def test_features_and_captions_of_a_batch_belong_to_its_images():
    data = data_set()
    for batch in data.batches(0, 8, 3, seed=0):
        assert batch.features[:, 0].tolist() == list(batch.images)
        for row, image in enumerate(batch.images):
            assert batch.inputs[row, 0, 1] == VOCABULARY.encode(f"w{image % 20}")[0]


def test_captions_are_sampled_only_from_more_than_the_wanted_number():
    data = data_set()
    for batch in data.batches(0, 8, 3, seed=0):
        for row, image in enumerate(batch.images):
            sampled = [targets[targets != PAD].tolist() for targets in batch.targets[row]]
            sampled = [words for words in sampled if words]
            own = [[*words, END] for words in data.tokens[image]]
            assert len(sampled) == min(3, len(own))
            assert all(own.count(words) >= sampled.count(words) for words in sampled)
            empty = batch.inputs[row, len(sampled) :]
            assert bool((empty == PAD).all())


def test_rare_words_become_unknown():
    record = ImageRecord("image", 0, ("w1 zebra w2",), "train")
    assert CaptionDataset([record], VOCABULARY, [Rows()]).tokens == [[[5, UNKNOWN, 6]]]


def test_captions_are_padded_after_start_and_end():
    inputs, targets = pad_captions([[[7, 8], [9]], [[4, 5, 6]]])
    assert inputs.tolist() == [
        [[START, 7, 8, PAD], [START, 9, PAD, PAD]],
        [[START, 4, 5, 6], [PAD, PAD, PAD, PAD]],
    ]
    assert targets.tolist() == [[[7, 8, END, PAD], [9, END, PAD, PAD]], [[4, 5, 6, END], [PAD, PAD, PAD, PAD]]]


def test_a_caption_without_words_has_only_its_end():
    inputs, targets = pad_captions([[[]]])
    assert inputs.tolist() == [[[START]]] and targets.tolist() == [[[END]]]


def test_a_cut_caption_has_no_end():
    longest = [4 + number % 9 for number in range(MAX_TRAINING_WORDS)]
    inputs, targets = pad_captions([[longest, [*longest, 5]]])
    assert inputs.shape == (1, 2, MAX_TRAINING_WORDS + 1)
    assert targets[0, 0].tolist() == [*longest, END]
    assert targets[0, 1].tolist() == [*longest, PAD]


def test_features_come_from_the_first_view_by_default():
    data = data_set(views=2)
    assert data.features([4, 2]).tolist() == [[4, 0], [2, 0]]
    assert data.features([4, 2, 7], np.array([1, 0, 1])).tolist() == [[4, 1], [2, 0], [7, 1]]


def test_epochs_read_only_the_cache_and_no_photos(tmp_path):
    photos = [tmp_path / f"{number}.jpg" for number in range(4)]
    for photo in photos:
        photo.touch()
    cache = FeatureCache(tmp_path / "cache", (3,))
    cache.append(photos, np.arange(12).reshape(4, 3))
    for photo in photos:
        photo.unlink()
    records = [ImageRecord(photo.name, photo, ("w1 w2",), "train") for photo in photos]
    data = CaptionDataset(records, VOCABULARY, [cache])
    for epoch in range(2):
        for batch in data.batches(epoch, 2, 1, seed=0):
            assert batch.features[:, 0].tolist() == [3 * image for image in batch.images]


def test_passes_and_batches_use_different_random_streams(monkeypatch):
    few, keys = CaptionDataset(data_set(5).records, VOCABULARY, [Rows()], least_batches=12), []

    def record_key(*key):
        keys.append(stream(*key).bytes(16))
        return stream(*key)

    monkeypatch.setattr(dataset, "stream", record_key)
    for epoch in range(3):
        list(few.batches(epoch, 2, 1, seed=0))
    assert len(keys) == 3 * (4 + 12) == len(set(keys))


def test_a_small_data_set_is_passed_several_times_per_epoch():
    few = CaptionDataset(data_set(5).records, VOCABULARY, [Rows()], least_batches=7)
    batches = few.order(epoch=1, batch_size=2, seed=0)
    assert len(batches) == few.batch_count(2) == 9, "three batches per pass, three passes"
    for start in (0, 3, 6):
        assert sorted(np.concatenate(batches[start : start + 3])) == list(range(5))
    passes = [[batch.tolist() for batch in batches[start : start + 3]] for start in (0, 3, 6)]
    assert passes[0] == [batch.tolist() for batch in data_set(5).order(1, 2, 0)], "as without further passes"
    assert passes[0] != passes[1] != passes[2]
    assert [batch.tolist() for batch in few.order(1, 2, 0)] == [batch.tolist() for batch in batches]
