"""The word list gives the kind of each word and decides which words mean the same."""

import subprocess
import sys

import pytest

from captioner.text.lexicon import (
    ENGLISH,
    WORD_LIST,
    UnlistedLanguage,
    compound,
    is_english,
    kind_of,
    language_of,
    same,
)
from captioner.text.vocabulary import tokenise

GERMAN = "ein Mann mit rotem Hut steht in der Nähe von einem Hund auf einer Wiese und wirft einen Ball"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "noun",
            "man men dog player tennis sidewalk skis glasses people toddler teenager match building clothing sign",
        ),
        ("verb", "running standing sitting plays wearing parked dressed holds jump surfing looks laying"),
        ("adjective", "red orange white young large striped grassy wooden blond"),
        ("number", "two three 2 dozen"),
        (
            None,
            "a the is are has with while behind together one several front top group couple background picture herd",
        ),
        (None, "xyzzy mann"),
    ],
)
def test_words_have_the_kind_that_they_have_in_captions(kind, words):
    assert {word: kind_of(word) for word in words.split()} == dict.fromkeys(words.split(), kind)


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("dog", "dog"),
        ("xyzzy", "xyzzy"),
        ("dogs", "dog"),
        ("child", "children"),
        ("people", "person"),
        ("running", "ran"),
        ("sitting", "seated"),
        ("skiing", "skis"),
        ("couch", "sofa"),
        ("kids", "child"),
        ("gray", "grey"),
        ("big", "large"),
        ("two", "2"),
        ("television", "tv"),
        ("phone", "cellphone"),
        # hypernyms
        ("dog", "spaniel"),
        ("animal", "puppies"),
        ("person", "man"),
        ("people", "girls"),
        ("child", "toddler"),
        ("bird", "seagull"),
        ("food", "pizza"),
        ("vehicle", "bus"),
        ("water", "lake"),
        ("shirt", "t-shirt"),
        ("run", "jogging"),
        ("surfing", "surfer"),
    ],
)
def test_a_word_is_right_if_the_references_use_its_forms_synonyms_or_hyponyms(said, used):
    assert same(said, used)


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("spaniel", "dog"),
        ("man", "person"),
        ("man", "boy"),
        ("pizza", "food"),
        ("dog", "cat"),
        ("park", "parked"),
        ("train", "training"),
        ("walking", "sidewalk"),
        ("two", "three"),
        ("red", "blue"),
        ("dog", "xyzzy"),
        ("xyzzy", "dog"),
    ],
)
def test_a_word_is_wrong_if_the_references_use_a_hypernym_or_another_word(said, used):
    assert not same(said, used)


@pytest.mark.parametrize(
    ("words", "noun"),
    [
        (("hot", "dog"), "hot_dog"),
        (("teddy", "bears"), "teddy_bears"),
        (("snow", "board"), "snowboard"),
        (("cell", "phone"), "cellphone"),
        (("in", "formation"), None),  # not the word "information"
        (("red", "dog"), None),
        (("xyzzy", "board"), None),
    ],
)
def test_two_words_may_form_one_noun(words, noun):
    assert compound(*words) == noun


def test_english_is_distinguished_from_other_languages():
    assert is_english(tokenise("A brown dog chases a frisbee across the grass near xyzzy"))
    for text in (GERMAN, "un homme avec un chapeau rouge marche dans la rue", "两只狗在草地上玩", ""):
        assert not is_english(tokenise(text))
    assert language_of(tokenise("two dogs play in the snow")) is ENGLISH


def test_without_a_word_list_frequent_words_are_function_words_and_only_equal_words_match():
    rare = [f"wort{number}" for number in range(2000)]
    language = language_of(["der", "und"] * 50 + [f"oft{number}" for number in range(98)] * 2 + rare)
    assert language.name == "unlisted"
    assert [language.kind_of(word) for word in ("der", "oft97", "wort0")] == [None, None, "noun"]
    assert (
        language.same("wort0", "wort0") and not language.same("hunde", "hund") and language.same("men", "man") is False
    )
    assert language.compound("hot", "dog") is None


def test_at_most_a_tenth_of_a_small_vocabulary_is_function_words():
    language = language_of(["der", "der", "und", "und", *(f"wort{number}" for number in range(18))])
    assert language == UnlistedLanguage(frozenset({"der", "und"}))


def test_the_word_list_is_small_consistent_and_names_its_license():
    text = WORD_LIST.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert "WordNet" in text.partition("\n")[0]
    assert "Princeton University" in WORD_LIST.with_suffix(".LICENSE").read_text(encoding="utf-8")
    rows = [(line.split("\t") + [""] * 3)[:5] for line in text.splitlines() if not line.startswith("#")]
    words = {row[0] for row in rows}
    assert len(words) == len(rows) > 10_000
    bases = {row[0] for row in rows if not row[2]}
    for word, kind, base, synonyms, broader in rows:
        assert kind in set("nvad*-"), word
        assert not base or base in words, word
        assert {*synonyms.split(), *broader.split()} <= bases, word  # relations hold between base forms


def test_the_lexicon_does_not_import_torch():
    code = "import captioner.text.lexicon, sys; captioner.text.lexicon.kind_of('dog'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
