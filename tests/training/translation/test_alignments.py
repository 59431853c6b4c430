"""Alignments are scored on words whose translation is known."""

import re

import numpy as np
import pytest

from captioner.errors import ConfigError
from captioner.translation.translator import Translation
from training.translation.alignments import TEMPLATES, lexicon_sentences, read_lexicon, score_alignments


class WordForWord:
    """Translator of the lexicon's words; `shift` moves every row's weight to another word."""

    def __init__(self, language, shift=0):
        self.forms = {entry.word: entry.beginnings[0] for entry in read_lexicon(language)}
        self.shift = shift

    def translate(self, texts):
        return [self._translation(re.findall(r"\w+|[.,]", text)) for text in texts]

    def _translation(self, source):
        words = [self.forms.get(word.lower(), "x") for word in source]
        weights = np.roll(np.eye(len(source)), self.shift, axis=1)
        return Translation(" ".join(words), tuple(words), tuple(source), weights, np.zeros(len(words)), 0.0, 0.0)


@pytest.mark.parametrize("language", ["de", "fr"])
def test_the_lexicon_has_at_least_150_words_of_each_kind_that_a_sentence_needs(language):
    lexicon = read_lexicon(language)
    assert len(lexicon) >= 150 and len({entry.word for entry in lexicon}) == len(lexicon)
    needed = set(re.findall(r"{(\w+)}", " ".join(TEMPLATES)))
    assert {entry.category for entry in lexicon} == needed
    assert all(form == form.lower() and form for entry in lexicon for form in entry.beginnings)


def test_every_word_of_the_lexicon_is_named():
    lexicon = read_lexicon("de")
    named = {entry.word for _, entries in lexicon_sentences(lexicon) for entry in entries}
    assert named == {entry.word for entry in lexicon}


def test_sentences_hold_the_words_that_they_name():
    for sentence, entries in lexicon_sentences(read_lexicon("fr"), 40):
        assert all(entry.word in sentence.lower() for entry in entries) and sentence[0].isupper()


@pytest.mark.parametrize("language", ["de", "fr"])
def test_right_alignments_score_1_and_those_one_word_behind_0(language):
    right, behind = (score_alignments(WordForWord(language, shift), language, 80) for shift in (0, 1))
    assert right.attention == 1 and right.diagonal == 1 and 0.05 < right.uniform < 0.25
    assert behind.attention == 0 and right.found > 0.9 * right.named


def test_a_language_without_a_lexicon_names_those_that_have_one():
    with pytest.raises(ConfigError, match="de, fr"):
        read_lexicon("xx")
