"""Training pairs for rare words: right forms on both sides, and words of one class alone."""

import re

import numpy as np
import pytest

from captioner.errors import ConfigError
from training.translation.substitution import SUBSTITUTES, Word, read_words, substitute_words

DOG = Word("animal-m", "dog", "Hund", True)
CHIEN = Word("animal-m", "dog", "chien", True)


def substitute(pair, model, english, translation, count=9):
    word = Word(model.kind, english, translation, False)
    return substitute_words([pair], [model, word], count, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("pair", "english", "translation", "made"),
    [
        (("A dog runs.", "Ein Hund rennt."), "zebra", "Esel", ("A zebra runs.", "Ein Esel rennt.")),
        (("A dog runs.", "Ein Hund rennt."), "eagle", "Adler", ("An eagle runs.", "Ein Adler rennt.")),
        (("I see a dog", "Ich sehe einen Hund"), "unicorn", "Esel", ("I see a unicorn", "Ich sehe einen Esel")),
        (("A big dog", "Ein großer Hund"), "eagle", "Adler", ("A big eagle", "Ein großer Adler")),
        (("dog, cat", "Hund, Katze"), "cell phone", "Adler", ("cell phone, cat", "Adler, Katze")),
        (("A man\tand dog", "Ein Mann und Hund"), "ox", "Ochse", ("A man\tand ox", "Ein Mann und Ochse")),
    ],
)
def test_a_frequent_word_is_replaced_on_both_sides(pair, english, translation, made):
    assert substitute(pair, DOG, english, translation) == [made]


@pytest.mark.parametrize(
    "pair",
    [
        ("A dog and a dog.", "Ein Hund und ein Tier."),  # which of them is the translation?
        ("A dog.", "Ein Hund und noch ein Hund."),
        ("A dog.", "Eine Hündin."),
        ("A hot-dog.", "Ein Hund."),
        ("A dogma.", "Ein Hund."),
        ("A dog's bone.", "Ein Hund."),
        ("A dog.", "Ein Hunde-Hund-Spiel."),
    ],
)
def test_a_pair_serves_if_each_side_has_the_word_once_and_whole(pair):
    assert substitute(pair, DOG, "zebra", "Esel") == []


@pytest.mark.parametrize(
    ("french", "made"),
    [
        ("Un chien court.", "Un âne court."),
        ("Le chien court.", None),  # L'âne
        ("Il voit le gros chien.", "Il voit le gros âne."),
        ("La queue du chien.", None),
    ],
)
def test_french_words_that_would_be_elided_are_left_out(french, made):
    assert [pair[1] for pair in substitute(("A dog", french), CHIEN, "donkey", "âne")] == ([made] if made else [])


def test_each_word_gets_at_most_so_many_pairs_of_its_class_alone():
    pairs = [(f"A dog number {number}", f"Hund Nummer {number}") for number in range(20)]
    words = [DOG, Word("animal-m", "donkey", "Esel", False), Word("thing-f", "vase", "Vase", False)]
    made = substitute_words(pairs, words, 5, np.random.default_rng(0))
    assert len(set(made)) == 5 and all("donkey" in english and "Esel" in german for english, german in made)
    again, other = (substitute_words(pairs, words, 5, np.random.default_rng(seed)) for seed in (0, 1))
    assert made == again != other


@pytest.mark.parametrize("language", sorted(file.stem for file in SUBSTITUTES.glob("*.tsv")))
def test_the_words_that_ship_have_a_model_and_no_stray_form(language):
    words = read_words(language)
    models = {word.kind for word in words if word.is_model}
    rare = [word for word in words if not word.is_model]
    assert len(rare) >= 150 and {word.kind for word in rare} <= models
    assert len({(word.kind, word.english) for word in rare}) == len(rare)
    for word in words:
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", word.english) and word.translation.strip() == word.translation != ""


def test_a_language_without_words_is_an_error_that_lists_the_others():
    with pytest.raises(ConfigError, match="'cs', only for de, fr"):
        read_words("cs")
