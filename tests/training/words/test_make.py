"""The list of English words is made from a WordNet of a few synsets."""

import gzip

import pytest

from captioner.labels.names import LabelNames
from training.words import make as word_list
from training.words.make import lines, make_entries, read_captions
from training.words.wordnet import NOUN, VERB, WordNet

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
NOUNS = """\
00000001 03 n 01 entity 0 000 | what is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living thing
00000003 05 n 01 dog 0 001 @ 00000002 n 0000 | it barks
00000004 05 n 01 spaniel 0 001 @ 00000003 n 0000 | a dog with long ears
00000005 15 n 01 park 0 001 @ 00000001 n 0000 | a piece of open land
00000006 18 n 01 setter 0 001 @ 00000001 n 0000 | a person who sets
00000007 05 n 01 setter 1 001 @ 00000003 n 0000 | a dog with long hair
00000008 05 n 02 English_setter 0 English_Setter 0 001 @ 00000007 n 0000 | a setter
00000009 18 n 01 diver 0 002 @ 00000001 n 0000 + 00000013 v 0101 | someone who dives
"""
VERBS = """\
00000011 38 v 02 run 0 sprint 0 000 01 + 02 00 | move fast
00000012 38 v 01 park 0 000 01 + 02 00 | leave a car
00000013 38 v 01 dive 0 000 01 + 02 00 | jump into water
"""
INDEX = {
    "noun": """\
animal n 1 1 @ 1 1 00000002
beast n 1 1 @ 1 1 00000002
dog n 1 1 @ 1 1 00000003
english_setter n 1 1 @ 1 1 00000008
entity n 1 0 1 1 00000001
park n 1 1 @ 1 1 00000005
setter n 2 1 @ 2 1 00000006 00000007
spaniel n 1 1 @ 1 1 00000004
diver n 1 2 @ + 1 1 00000009
""",
    "verb": """\
park v 1 0 1 1 00000012
run v 1 0 1 1 00000011
sprint v 1 0 1 1 00000011
dive v 1 1 + 1 1 00000013
""",
    "adj": "",
    "adv": "",
}
CAPTIONS = [
    "a spaniel runs in the park",
    "two dogs ran past a parked car",
    "people dive",
    "a diver is running with an animal entity",
] * 3
LABELS = LabelNames((("English setter",), ("xyzzy",)), ((), ()))


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory) -> WordNet:
    folder = tmp_path_factory.mktemp("wordnet")
    for name, data in (("noun", NOUNS), ("verb", VERBS), ("adj", ""), ("adv", "")):
        (folder / f"data.{name}").write_text(LICENCE + data)
        (folder / f"index.{name}").write_text(LICENCE + INDEX[name])
        (folder / f"{name}.exc").write_text("ran run\n" if name == "verb" else "")
    (folder / "cntlist.rev").write_text("dog%1:05:00:: 1 42\npark%1:15:00:: 1 9\npark%2:38:00:: 1 2\n")
    return WordNet(folder)


@pytest.fixture(scope="module")
def entries(wordnet) -> dict[str, tuple[str, str, str, str]]:
    """Return word -> its line."""
    file_lines = lines(make_entries(wordnet, [caption.split() for caption in CAPTIONS], LABELS))
    rows = [(line.split("\t") + [""] * 3)[:5] for line in file_lines if not line.startswith("#")]
    return {word: tuple(rest) for word, *rest in rows}


@pytest.mark.parametrize(
    ("word", "kind", "bases"),
    [("dogs", NOUN, ["dog"]), ("dog", NOUN, ["dog"]), ("ran", VERB, ["run"]), ("running", VERB, ["run"]),
     ("parks", NOUN, ["park"]), ("xyzzies", NOUN, [])],
)  # fmt: skip
def test_wordnet_gives_base_forms(wordnet, word, kind, bases):
    assert wordnet.bases(word, kind) == bases


def test_an_image_class_selects_the_sense_of_its_word(wordnet):
    word, sense = wordnet.class_sense(["English setter"])
    assert word == "setter" and sense is wordnet.synsets[NOUN][7]
    assert wordnet.class_sense(["setter"]) == (word, sense)  # not a person
    assert wordnet.class_sense(["xyzzy"]) is None


def test_words_have_kind_base_synonyms_and_hypernyms(entries):
    assert entries["dogs"] == ("n", "dog", "", "")
    assert entries["spaniel"][3].split() == ["animal", "dog"]  # not entity, which is too general
    assert "dog" in entries["setter"][3].split()
    assert entries["ran"][:2] == entries["runs"][:2] == ("v", "run")
    assert entries["two"][0] == "d" and entries["the"][0] == "-" and entries["front"][0] == "*"
    assert "xyzzy" not in entries and "beast" not in entries  # unknown, and in no caption


def test_an_agent_noun_is_linked_to_its_verb(entries):
    assert "dive" in entries["diver"][3].split()


def test_a_verb_and_a_noun_of_different_meanings_have_different_base_forms(entries):
    assert entries["park"][:2] == ("n", "")
    assert entries["parked"][0] == "v" and entries["parked"][1] != "park"


def test_rare_words_are_left_out(wordnet):
    assert "animal" not in make_entries(wordnet, [["an", "animal"]], LabelNames((("dog",),), ((),)))


def test_captions_are_read_from_plain_gzipped_and_listed_files(tmp_path):
    (tmp_path / "plain.txt").write_text("A dog.\n")
    (tmp_path / "listed.txt").write_text("1.jpg#0\tTwo dogs\n")
    with gzip.open(tmp_path / "packed.txt.gz", "wt") as file:
        file.write("A park\n")
    files = [tmp_path / name for name in ("plain.txt", "listed.txt", "packed.txt.gz")]
    assert list(read_captions(files)) == [["a", "dog"], ["two", "dogs"], ["a", "park"]]


def test_the_command_prints_the_list(wordnet, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(word_list, "WordNet", lambda folder: wordnet)
    (tmp_path / "captions.txt").write_text("a spaniel\n" * 3)
    word_list.main(["wordnet", str(tmp_path / "captions.txt")])
    printed = capsys.readouterr().out
    assert printed.startswith("# English words") and "\nspaniel\tn\t" in printed
