"""The words of a caption are judged by the references."""

from pathlib import Path

import pytest

from captioner.text.lexicon import ENGLISH
from training.confidence.rightness import (
    Judge,
    caption_is_right,
    hallucination,
    judge_nouns,
    right_words,
    summarise_wrong_nouns,
    words_of_references,
)
from training.data.records import ImageRecord

REFERENCES = [
    "a spaniel is chasing a frisbee across the lawn".split(),
    "two boys watch their brown dog".split(),
]


@pytest.mark.parametrize(
    ("caption", "verdicts"),
    [
        ("a dog runs on the grass", [None, True, True, None, None, True]),
        ("a black dog with a ball", [None, False, True, None, None, False]),
        ("a group of people watching dogs", [None, None, None, True, True, True]),
        ("three children and a man", [False, True, None, None, False]),
        ("xyzzy in the background", [None, None, None, None]),
        ("", []),
    ],
)
def test_a_content_word_is_right_if_the_references_use_a_form_synonym_or_hyponym(caption, verdicts):
    assert right_words(caption.split(), REFERENCES) == verdicts


def test_a_caption_is_right_if_all_its_nouns_are():
    assert caption_is_right("three red dogs jump on the grass".split(), REFERENCES)  # only nouns decide
    assert not caption_is_right("a dog on a beach".split(), REFERENCES)
    assert caption_is_right([], REFERENCES)


def test_a_hot_dog_is_no_dog():
    hot_dogs = ["a person sells hot dogs".split()]
    assert right_words(["a", "dog"], hot_dogs) == [None, False]
    assert right_words("a hot dog".split(), hot_dogs) == [None, True, True]
    assert right_words("a hot dog".split(), REFERENCES) == [None, False, False]
    assert judge_nouns("a hot dog".split(), REFERENCES) == [("hot dog", False)]
    assert right_words(["food"], hot_dogs) == [True]


def test_compounds_match_if_written_apart_or_with_a_hyphen():
    apart, together = ["a man with a snow board".split()], ["a man with a snowboard".split()]
    assert right_words(["snowboard"], apart) == [True]
    assert judge_nouns("a snow board".split(), together) == [("snow board", True)]
    assert right_words(["dress"], ["a red-dress lady".split()]) == [True]


def test_the_words_of_a_compound_count_if_no_reference_has_it():
    bird = ["a bird that is black".split()]
    assert right_words("a black bird".split(), bird) == [None, True, True]
    assert judge_nouns("a black bird".split(), bird) == [("bird", True)]
    assert right_words("a black feather bird".split(), ["a black bird".split()]) == [None, True, False, True]


def test_hallucination_counts_captions_and_nouns():
    captions = {
        "right": "a dog on the grass".split(),
        "wrong": "a cat and a dog on a sofa".split(),
        "no noun": "running".split(),
    }
    counts = hallucination(captions, dict.fromkeys([*captions, "not captioned"], REFERENCES))
    assert (counts.captions, counts.captions_with_wrong_noun, counts.nouns, counts.wrong_nouns) == (3, 1, 5, 2)
    assert counts.to_json() == {
        "caption_share": 0.3333,
        "noun_share": 0.4,
        "captions": 3,
        "captions_with_wrong_noun": 1,
        "nouns": 5,
        "wrong_nouns": 2,
        "language": "English",
    }
    assert summarise_wrong_nouns(counts.to_json()) == (
        "1 of 3 captions have a noun that no person used (33.3%); 2 of 5 nouns are wrong"
    )


def test_captions_without_nouns_have_no_share_of_wrong_nouns():
    counts = hallucination({1: ["running"]}, {1: [["a", "dog", "runs"]]})
    assert counts.noun_share is None and counts.caption_share == 0
    assert counts.to_json()["noun_share"] is None


def test_a_judge_holds_the_references_and_their_language():
    records = [
        ImageRecord(1, Path("1.jpg"), ("A spaniel chases a frisbee.",), "test"),
        ImageRecord(2, Path("2.jpg"), ("A red bus", "The street"), "test"),
    ]
    references = words_of_references(records)
    assert references[2] == [["a", "red", "bus"], ["the", "street"]]
    judge = Judge(references)
    assert judge.language is ENGLISH
    assert judge.right_words(1, ["dog"]) == [True] and judge.right_words(2, ["dog"]) == [False]
    assert judge.is_right(2, ["vehicle"]) and not judge.is_right(1, ["vehicle"])
    assert judge.wrong_nouns(2, "a dog in a bus near a fire hydrant".split()) == ("dog", "fire hydrant")


def test_in_another_language_words_must_match_literally():
    often = "der läuft auf die und lacht mit einem in von zu bei nach".split()
    judge = Judge({number: [[*often, f"hund{number}", f"wiese{number}", f"mann{number}"]] for number in range(40)})
    assert judge.language.name == "unlisted"
    assert judge.right_words(0, ["der", "hund0", "hund1", "dogs"]) == [None, True, False, False]
    assert judge.hallucination({0: ["der", "hund1"]}).language == "unlisted"
