"""Words that must not come next: repeats of runs of words, of a word, and of nouns; the end before the first word."""

import numpy as np
import pytest

from captioner.config import DecodingOptions
from captioner.forbidden_words import NEVER_GENERATED, forbidden_words, repeated_ngram_endings
from captioner.text.vocabulary import END, PAD

NOUNS = np.array([False] * 4 + [True, False, True, False])


def forbidden(words: list[int], **options: object) -> set[int]:
    """Return what must not follow the words, besides what is never generated."""
    ids = forbidden_words(np.array([[words]], int), DecodingOptions(**options), NOUNS)
    assert ids.shape[:2] == (1, 1) and ids.max() < len(NOUNS)
    assert set(NEVER_GENERATED) <= set(ids.flatten().tolist())
    return set(ids.flatten().tolist()) - set(NEVER_GENERATED)


def test_a_caption_does_not_begin_with_its_end():
    assert forbidden([], block_repeats=2, repeat_nouns=False) == {END}
    assert forbidden([4], block_repeats=0) == set()


@pytest.mark.parametrize(("size", "expected"), [(0, set()), (1, {4, 5, 7}), (2, {4, 5}), (3, {4})])
def test_runs_and_single_words_do_not_repeat(size, expected):
    assert forbidden([4, 5, 7, 4], block_repeats=size) == expected


def test_nouns_do_not_repeat_unless_they_may():
    assert forbidden([4, 5, 6, 7], block_repeats=0, repeat_nouns=False) == {4, 6}
    assert forbidden([4, 5, 6, 7], block_repeats=0, repeat_nouns=True) == set()


def test_repeated_ngram_endings_lists_the_words_that_would_repeat_a_run():
    words = np.array([[[4, 5, 4, 6, 4], [7, 7, 7, 7, 7]]])
    blocked = {
        size: [set(row.tolist()) - {PAD} for row in repeated_ngram_endings(words, size)[0]] for size in (1, 2, 3, 5, 6)
    }
    assert blocked[1] == [{4, 5, 6}, {7}]
    assert blocked[2] == [{5, 6}, {7}]  # 4 5 and 4 6 occurred
    assert blocked[3] == [set(), {7}]  # 6 4 has not occurred before
    assert blocked[5] == [set(), {7}]
    assert blocked[6] == [set(), set()]


def test_the_end_is_never_blocked():
    words = np.array([[[4, END, PAD, 4]]])
    assert (repeated_ngram_endings(words, 2) == PAD).all()
