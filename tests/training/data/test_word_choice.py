"""The vocabulary is chosen from captions, sentences and label names, and the choice is reported."""

from collections import Counter

from captioner.labels.names import LabelNames
from training.data.word_choice import chosen_words
from training.inspection.coverage import rare_words
from training.options import FitOptions

OPTIONS = FitOptions(min_count=5, sentence_min_count=20)
CAPTIONS = Counter({"a": 90, "dog": 5, "cat": 4, "espresso": 1})
SENTENCES = Counter({"a": 70, "zebra": 20, "cat": 19, "espresso": 1, "broccoli": 2, "quokka": 1})
NAMES = LabelNames((("espresso",), ("broccoli",), ("quokka", "zebra")), (("hot drink",), (), ()))


def test_words_frequent_in_captions_or_sentences_are_chosen():
    words = chosen_words(CAPTIONS, SENTENCES, None, OPTIONS)
    assert words.chosen == ("a", "zebra", "dog")
    assert words.from_sentences == {"zebra"} and not words.from_labels
    assert words.lines() == ["vocabulary: 1 more word from the sentences"]
    assert words.lines(known_words={"zebra"}) == []


def test_without_sentences_and_labels_frequent_caption_words_are_chosen():
    words = chosen_words(CAPTIONS, {}, None, OPTIONS)
    assert words.chosen == ("a", "dog") and words.lines() == []


def test_words_that_name_a_label_need_two_occurrences_in_all():
    words = chosen_words(CAPTIONS, SENTENCES, NAMES, OPTIONS)
    assert words.chosen == ("a", "zebra", "dog", "broccoli", "espresso")
    assert words.from_labels == {"broccoli", "espresso"}
    assert words.lines() == ["vocabulary: 1 more word from the sentences, 2 more words from the names of labels"]
    assert chosen_words({"hot": 2, "drink": 1}, {}, NAMES, OPTIONS).chosen == ("hot",)


def test_caption_words_frequent_in_sentences_are_not_rare():
    words = chosen_words(CAPTIONS, SENTENCES + Counter(cat=1), NAMES, OPTIONS)
    rare = rare_words(CAPTIONS, OPTIONS.min_count, words.chosen)
    assert (rare.words, rare.kept, rare.share) == (0, 4, 0.0)
    rare = rare_words(CAPTIONS, OPTIONS.min_count, chosen_words(CAPTIONS, SENTENCES, None, OPTIONS).chosen)
    assert (rare.words, rare.kept) == (2, 2)
