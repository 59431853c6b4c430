"""The languages of parallel text follow from the names in its files, or the message says what to name."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import write
from training.translation.languages import choose_languages, languages_in

TMX = '<tmx version="1.4"><body>{}</body></tmx>'
UNIT = '<tu><tuv xml:lang="en-GB"><seg>A dog.</seg></tuv><tuv xml:lang="fr"><seg>Un chien.</seg></tuv></tu>'
LINES = {"train.en": "A dog.\n", "train.de": "Ein Hund.\n"}


def folder_of(tmp_path, files):
    for name, text in files.items():
        write(tmp_path / "text" / name, text)
    return tmp_path / "text"


@pytest.mark.parametrize(
    "files, found",
    [
        (LINES, ["de", "en"]),
        ({"a/train.en.txt": "A dog.\n", "a/train.pt_BR.txt": "Um cão.\n"}, ["en", "pt-br"]),
        (LINES | {"README.md": "Text.\n", ".git/x.cs": "x", "__MACOSX/._train.fr": "x"}, ["de", "en"]),
        ({"train.tsv": "en\tde\tlicence\nA dog.\tEin Hund.\tx\n"}, ["de", "en"]),
        ({"train.jsonl": json.dumps({"translation": {"en": "A dog.", "cs": "Pes."}})}, ["cs", "en"]),
        ({"train.jsonl": "[1]\n"}, []),
        ({"train.tmx": TMX.format(UNIT)}, ["en-gb", "fr"]),
        ({"train.en": "A dog.\n"}, ["en"]),
        ({"train.csv": "A dog.,Ein Hund.\n"}, []),
    ],
)
def test_languages_are_found_by_endings_columns_keys_and_codes(tmp_path, files, found):
    assert languages_in(folder_of(tmp_path, files)) == found


@pytest.mark.parametrize(
    "files, given, chosen",
    [
        (LINES, {}, ("en", "de")),
        (LINES, {"source": "de"}, ("de", "en")),
        (LINES, {"target": "DE"}, ("en", "DE")),
        (LINES | {"train.fr": "Un chien.\n"}, {"target": "fr"}, ("en", "fr")),
        ({"train.fr": "Un chien.\n", "train.de": "Ein Hund.\n"}, {"target": "de"}, ("fr", "de")),
        ({"train.tmx": TMX.format(UNIT)}, {}, ("en-gb", "fr")),
        ({"train.tmx": TMX.format(UNIT)}, {"target": "fr"}, ("en-gb", "fr")),
        (LINES | {"train.en-GB": "A dog.\n"}, {"target": "de"}, ("en", "de")),
        ({"train.csv": "A dog.,Ein Hund.\n"}, {"source": "eng", "target": "deu"}, ("eng", "deu")),
    ],
)
def test_english_is_the_source_and_the_other_language_the_target(tmp_path, files, given, chosen):
    assert choose_languages(folder_of(tmp_path, files), **given) == chosen


@pytest.mark.parametrize(
    "files, given, message",
    [
        ({"train.en": "A dog.\n"}, {}, "holds text in one language, en: add its translations"),
        ({"train.en": "A dog.\n"}, {"source": "en"}, "in one language, en"),
        ({"train.csv": "A dog.,Ein Hund.\n"}, {}, "names no languages: name two as source and target"),
        (LINES | {"train.fr": "Un chien.\n"}, {}, "in 3 languages, de, en, fr: name two"),
        (LINES | {"train.fr": "Un chien.\n"}, {"source": "en"}, "in 3 languages, de, en, fr: name two"),
        ({"train.en-GB": "A dog.\n", "train.en-US": "A dog.\n"}, {}, "in en-gb and en-us: name the language to read"),
        ({"train.fr": "Un chien.\n", "train.de": "Ein Hund.\n"}, {}, "in de and fr: name the language to read"),
    ],
)
def test_what_the_files_leave_open_is_asked_for(tmp_path, files, given, message):
    with pytest.raises(DataError, match=message):
        choose_languages(folder_of(tmp_path, files), **given)


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        choose_languages(tmp_path / "nothing")
