"""Class names are read and checked, and words of the vocabulary are matched to classes."""

import json

import pytest

from captioner.errors import ConfigError
from captioner.labels.names import LabelNames, imagenet_names, read_label_names
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary


def vocabulary_of(*words):
    return Vocabulary([*SPECIAL_WORDS, *words])


def test_imagenet_has_a_name_for_each_of_its_classes():
    names = imagenet_names()
    assert len(names) == 1000
    assert [names.name(number) for number in (0, 340, 967)] == ["tench", "zebra", "espresso"]
    assert {"coffee", "cup"} <= set(names.words[967])


def test_the_last_word_of_a_name_weighs_most_and_unknown_words_nothing():
    names = LabelNames.from_json([{"names": ["traffic light", "stoplight"], "words": ["street"]}, "Tinca tinca"])
    light, unknown = names.words_of(vocabulary_of("light", "traffic", "street"))
    assert light == pytest.approx({4: 1 / 1.8, 5: 0.3 / 1.8, 6: 0.5 / 1.8})
    assert unknown == {}


def test_a_word_that_names_a_class_twice_counts_once_with_the_larger_weight():
    (cat,) = LabelNames.from_json([["cat food", "cat"]]).words_of(vocabulary_of("cat", "food"))
    assert cat == pytest.approx({4: 0.5, 5: 0.5})


def test_written_names_are_read_back(tmp_path):
    names = LabelNames.from_json(["hammer", ["screw driver", "tool"], {"names": ["naïve"], "words": ["x"]}])
    (tmp_path / "names.json").write_text(json.dumps(names.to_json()))
    assert read_label_names(tmp_path / "names.json") == names


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "a list with an entry for each class"),
        ([], "a list with an entry for each class"),
        (["cat", 7], "class 1 of the list of names is 7"),
        (["cat", ""], "class 1 of the list of names"),
        (["cat", []], "class 1 of the list of names has no name"),
        ([{"words": ["cat"]}], "class 0 of the list of names"),
        ([{"names": ["cat"], "words": "dog"}], "class 0 of the list of names"),
        (["cat", "dog", "cat", "cat"], "the class 'cat' is in the list of names 3 times"),
    ],
)
def test_invalid_names_are_refused_with_their_position(tmp_path, values, problem):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=problem) as refusal:
        read_label_names(path)
    assert str(refusal.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"[", b"\xff\xfe", b'["\\ud800"]'])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "names.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"names\.json cannot be read as JSON"):
        read_label_names(tmp_path / "names.json")
