"""Advice before training: whether the data is usable, and what to know about it."""

import numpy as np
import pytest
from PIL import Image

from training.data.records import read_records
from training.inspection.advice import advice
from training.inspection.report import inspect_data


@pytest.fixture
def photos(tmp_path):
    """Write photos of noise with captions beside them: `photos(count)`."""
    rng = np.random.default_rng(0)

    def write(count, folder="", captions=("a carpet in the hall", "a carpet")):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(count):
            noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            noise.resize((64, 64)).save(tmp_path / folder / f"{number}.png")
            (tmp_path / folder / f"{number}.txt").write_text("\n".join(captions))
        return tmp_path

    return write


def judged(folder):
    data = read_records(folder)
    return advice(data, inspect_data(data, progress=False))


def test_enough_photos_need_no_advice(photos):
    assert judged(photos(110)) == (True, ())


def test_data_without_a_usable_photo_is_unusable(photos):
    folder = photos(1)
    (folder / "0.png").write_bytes(b"no photo")
    usable, (sentence,) = judged(folder)
    assert not usable and "Nothing here can be used" in sentence


def test_one_photo_is_unusable_as_none_is_left_for_validation(photos):
    usable, (sentence,) = judged(photos(1))
    assert not usable and "one photo to train on" in sentence


def test_identical_photos_are_unusable(photos):
    folder = photos(5)
    for number in range(1, 5):
        (folder / f"{number}.png").write_bytes((folder / "0.png").read_bytes())
    usable, (sentence,) = judged(folder)
    assert not usable and "All 5 photos are the same picture" in sentence


def test_few_photos_single_captions_and_long_ones_are_reported(photos):
    usable, sentences = judged(photos(3, captions=["a b c " * 1700]))
    assert usable
    assert "3 photos are few" in sentences[0]
    assert "3 captions have more than 30 words: the rest of each is not learned." in sentences
    assert "Most photos have one caption" in sentences[-1]


def test_the_same_photo_in_two_splits_is_reported_first(photos):
    photos(110, "train")
    folder = photos(2, "val")
    (folder / "val" / "1.png").write_bytes((folder / "train" / "7.png").read_bytes())
    usable, sentences = judged(folder)
    assert usable and sentences == (
        "2 photos are in two splits: the scores will be too high. Keep each photo in one split.",
    )


def test_several_languages_are_reported(photos):
    photos(60, "train", ["ein Hund springt nach einem Ball", "zwei Hunde laufen über die Wiese"])
    usable, sentences = judged(photos(60, "val", ["a dog jumps after the ball", "two dogs run over the grass"]))
    assert usable
    assert any("several languages (" in sentence and "de 50%" in sentence for sentence in sentences)


def test_a_vocabulary_with_many_unknown_words_is_reported_first(photos):
    many = [f"a dog is number {number} again" for number in range(4000)]
    usable, sentences = judged(photos(2, captions=many))
    assert usable and sentences[0].startswith("Too many words will be unknown: --min-count 2 keeps")


def test_lost_and_doubtful_captions_are_reported(photos):
    usable, sentences = judged(photos(3, captions=["nan", "see https://example.org", "a dog\\non the beach"]))
    assert usable
    assert "3 captions not used: 3 replaced by a placeholder (nan, None, n/a, ...)." in sentences
    assert any(sentence.startswith("3 captions look wrong and will be learned") for sentence in sentences)


def test_unusable_data_gets_advice_without_positions_on_the_page(photos):
    folder = photos(1)
    (folder / "0.png").write_bytes(b"no photo")
    _, (sentence,) = judged(folder)
    assert "below" not in sentence and "The lists of problems say what was refused" in sentence


def test_one_long_caption_is_reported_in_the_singular(photos):
    photos(3)
    folder = photos(1, "more", ["word " * 40, "a carpet"])
    assert "1 caption has more than 30 words: the rest of each is not learned." in judged(folder)[1]


@pytest.mark.parametrize("split", ["test", "val"])
def test_data_without_a_train_split_is_unusable(photos, split):
    usable, (sentence,) = judged(photos(5, folder=split))
    assert not usable and sentence.startswith(f"No photo is in the train split (5 {split}): ")


def test_a_train_split_alone_is_enough(photos):
    """Validation photos are drawn from it."""
    assert judged(photos(5, folder="train"))[0]
