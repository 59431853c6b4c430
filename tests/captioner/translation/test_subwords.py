"""Text becomes subwords and ids and back, and subwords become whole words for people."""

import json

import pytest

from captioner.errors import BundleError, DataError
from captioner.text.vocabulary import END, PAD, SPECIAL_WORDS, START, UNKNOWN
from captioner.translation.subwords import SPACE, Subwords, normalise

TEXTS = [
    "A dog runs over the green grass.",
    "Two dogs run over the grass, and a man in a t-shirt watches.",
    'The man\'s dog (a small one) barks: "woof"!',
    "Ein Hund läuft über die grüne Wiese.",
] * 3


@pytest.fixture(scope="module")
def subwords():
    return Subwords.learn(TEXTS, 120)


@pytest.mark.parametrize("text", TEXTS[:4] + ["grass t-shirt dogs", "green man, over."])
def test_decoding_gives_the_text_back(subwords, text):
    assert subwords.decode(subwords.encode(text)) == text


def test_the_first_ids_are_those_of_the_captioner(subwords):
    assert subwords.vocabulary.words[:4] == SPECIAL_WORDS
    assert {PAD, START, END, UNKNOWN}.isdisjoint(subwords.encode(TEXTS[1]))


def test_frequent_words_are_one_piece_and_rare_ones_several(subwords):
    assert len(subwords.encode("the")) == 1
    assert len(subwords.encode("watchdog")) > 1 and subwords.decode(subwords.encode("watchdog")) == "watchdog"


def test_at_most_that_many_pieces_are_learned(subwords):
    assert len(subwords) == 120
    assert len(Subwords.learn(TEXTS, 60)) == 60


def test_the_names_of_special_pieces_in_a_text_are_plain_text(subwords):
    assert END not in subwords.encode("<end> <pad>") and PAD not in subwords.encode("<end> <pad>")


def test_characters_that_are_no_piece_are_unknown_and_shown_as_they_are(subwords):
    ids = subwords.encode("the щ dog")
    assert ids.count(UNKNOWN) == 1
    assert [word for word, _ in subwords.words(ids, "the щ dog")] == ["the", "щ", "dog"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs.", ["A", "dog", "runs", "."]),
        ("a t-shirt, a dog", ["a", "t-shirt", ",", "a", "dog"]),
        ("the man's dog", ["the", "man's", "dog"]),
        ('(a "dog")!', ["(", "a", '"', "dog", '"', ")", "!"]),
        ("dog . . .", ["dog", ".", ".", "."]),
        ("watchdog", ["watchdog"]),
        ("- a", ["-", "a"]),
        ("", []),
    ],
)
def test_pieces_are_grouped_into_words(subwords, text, words):
    ids = subwords.encode(text)
    groups = subwords.words(ids, text)
    assert [word for word, _ in groups] == words
    assert [index for _, group in groups for index in range(len(ids))[group]] == list(range(len(ids)))  # no gap


@pytest.mark.parametrize("text", ["\x07 a dog runs", "a \x01 dog\ud800 runs \x02", "\x00a dog \n\x07\truns"])
def test_control_characters_shift_no_word(subwords, text):
    ids = subwords.encode(text)
    assert ids == subwords.encode("a dog runs")
    assert [word for word, _ in subwords.words(ids, text)] == ["a", "dog", "runs"]


def test_in_scripts_without_spaces_each_piece_is_a_word():
    japanese = Subwords.learn(["犬が走る。", "犬が草の上を走る。"] * 3, 30)
    ids = japanese.encode("犬が走る。")
    assert len(japanese.words(ids)) == len(ids) - (japanese.vocabulary.words[ids[0]] == SPACE) > 1


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  a \t dog\n", "a dog"),
        ("a\x00dog\x07", "adog"),
        ("l\u2019eau", "l'eau"),
        ("u\u0308ber", "\u00fcber"),
        (f"a{SPACE}b", "a_b"),
        ("\ud800 dog", "dog"),
        ("\x07 a \x01 dog \x02", "a dog"),
        ("u\x07\u0308ber", "\u00fcber"),
        (" \x00\n", ""),
    ],
)
def test_normalising_a_text(text, normal):
    assert normalise(text) == normal


def test_json_holds_everything(subwords):
    again = Subwords.from_json(json.loads(json.dumps(subwords.to_json())))
    assert [again.encode(text) for text in TEXTS] == [subwords.encode(text) for text in TEXTS]
    assert again.vocabulary.words == subwords.vocabulary.words


@pytest.mark.parametrize(
    "change",
    [
        lambda values: None,
        lambda values: [],
        lambda values: values | {"pieces": values["pieces"][1:]},
        lambda values: values | {"pieces": values["pieces"] + [values["pieces"][-1]]},
        lambda values: values | {"pieces": values["pieces"][:-1]},
        lambda values: values | {"pieces": [*values["pieces"], 3]},
        lambda values: values | {"merges": [["a"]]},
        lambda values: values | {"merges": [["a", "b", "c"]]},
        lambda values: values | {"merges": [["q", "zz"]]},
        lambda values: values | {"merges": 3},
        lambda values: {"pieces": values["pieces"]},
    ],
)
def test_damaged_json_is_refused(subwords, change):
    with pytest.raises(BundleError, match="damaged"):
        Subwords.from_json(change(subwords.to_json()))


def test_texts_without_words_are_refused():
    with pytest.raises(DataError, match="hold no word"):
        Subwords.learn(["", "  "], 100)
