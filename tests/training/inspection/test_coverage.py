"""The words that a vocabulary leaves out, and the warning if they are too many."""

import pytest

from captioner.text.vocabulary import UNKNOWN, Vocabulary
from training.inspection.coverage import rare_words, vocabulary_lines, vocabulary_warning

CAPTIONS = ["a dog runs", "a dog sits", "a cat sits", "the bird"]
COUNTS = {"a": 3, "dog": 2, "sits": 2, "runs": 1, "cat": 1, "the": 1, "bird": 1}


@pytest.mark.parametrize(("min_count", "words", "kept_words"), [(1, 0, 7), (2, 4, 3), (3, 6, 1), (4, 7, 0)])
def test_words_below_the_minimum_count_are_rare(min_count, words, kept_words):
    rare = rare_words(COUNTS, min_count)
    vocabulary = Vocabulary.build(CAPTIONS, min_count)
    encoded = [token for caption in CAPTIONS for token in vocabulary.encode(caption)]
    assert (rare.words, rare.kept, rare.min_count) == (words, kept_words, min_count)
    assert rare.share == pytest.approx(encoded.count(UNKNOWN) / len(encoded))


def test_words_that_the_start_captioner_knows_are_never_rare():
    rare = rare_words(COUNTS, 2, known_words={"bird", "cat", "zebra"})
    assert (rare.words, rare.kept) == (2, 5) and rare.share == pytest.approx(2 / 11)


def test_a_vocabulary_that_covers_too_little_gives_a_warning():
    assert vocabulary_warning(rare_words(COUNTS | {"a": 100}, 2)) is None
    assert vocabulary_warning(rare_words(COUNTS, 1)) is None
    lines = vocabulary_lines(rare_words(COUNTS, 3))
    assert lines[0] == (
        "vocabulary: 6 of 7 words unknown with --min-count 3, 72.7 % of all running words in the training captions"
    )
    assert lines[1].startswith("warning: Too many words will be unknown: --min-count 3 keeps 1 of 7 words")
    assert "Lower --min-count" in lines[1]


def test_no_captions_give_no_warning():
    assert vocabulary_lines(rare_words({}, 5)) == [
        "vocabulary: 0 words in the training captions, none of them unknown with --min-count 5"
    ]
