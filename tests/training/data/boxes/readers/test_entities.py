"""Flickr30k Entities in one JSON: phrases are placed among the words, and everything left out is counted."""

import pytest

from tests.support.box_files import entities_file, entry, sentence
from training.data.boxes.box_set import Phrase, phrases_named, phrases_of
from training.data.boxes.readers import entities
from training.data.boxes.readers.formats import read_boxes

LEFT, RIGHT = [0, 0, 50, 50], [50, 0, 100, 50]
HALF, REST = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def read(tmp_path, **photos):
    return read_boxes(entities_file(tmp_path / "a.json", {f"{name}.jpg": photo for name, photo in photos.items()}))


def spans(boxes, *words):
    return [(phrase.first, phrase.last) for phrase in phrases_of(boxes.photos["a.jpg"], words)]


def test_phrases_are_placed_at_their_words_in_order(tmp_path):
    text = "A big man , or so , holds a dog ."
    photo = entry({"1": [LEFT], "2": [RIGHT, LEFT]}, sentence(text, ("2", 8, "a dog"), ("1", 0, "A big man")))
    boxes = read(tmp_path, a=photo)
    assert phrases_of(boxes.photos["a.jpg"], "a big man or so holds a dog".split()) == [
        Phrase(0, 2, (HALF,), ("people",)),
        Phrase(6, 7, (REST, HALF), ("people",)),
    ]
    assert boxes.counts == {"photos": 1, "captions": 1, "boxes": 3, "phrases with boxes": 2}


@pytest.mark.parametrize(
    ("text", "first", "phrase", "span"),
    [
        ('" Hi , " says the dog \'s owner', 5, "the dog 's", (2, 3)),
        ("The man's hat", 0, "The man's", (0, 1)),
        ("The man's hat", 2, "hat", (3, 3)),
        ("The man\u2019s red hat", 2, "red hat", (3, 4)),
        ("A t-shirt on a 3-legged dog", 3, "a 3-legged dog", (3, 5)),
        ("One , two ( red ) cats", 2, "two ( red ) cats", (1, 3)),
        ("A black/white cat", 2, "cat", (3, 3)),
        ("A E\u0301clair", 1, "\u00c9clair", (1, 1)),  # NFD in the text, NFC in the phrase
        ("Its 's", 1, "'s", (1, 1)),
    ],
)
def test_tokens_become_words(tmp_path, text, first, phrase, span):
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, sentence(text, ("1", first, phrase))))
    ((placed,),) = boxes.photos["a.jpg"].phrases.values()
    assert (placed.first, placed.last) == span


@pytest.mark.parametrize(
    ("first", "phrase"),
    [
        (1, "A man"),
        (-3, "A man"),
        (9, "man"),
        (None, "A man"),
        (0.0, "A man"),
        (True, "man"),
        (2, "runs far"),
        (0, "?"),
    ],
)
def test_phrases_that_are_not_in_their_sentence_are_counted(tmp_path, first, phrase):
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, sentence("A man runs", ("1", first, phrase))))
    assert spans(boxes, "a", "man", "runs") == [] and not boxes.photos["a.jpg"].things
    assert boxes.counts["phrases that do not match their sentence"] == 1 and not boxes.counts["phrases with boxes"]
    assert boxes.examples == {"phrases that do not match their sentence": f"a.jpg: A man runs: {phrase!r}"}


def test_sentences_whose_words_depend_on_their_neighbours_have_no_phrases(tmp_path, monkeypatch):
    monkeypatch.setattr(entities, "_token_words", lambda token: (token.lower(), "more"))
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, sentence("A man", ("1", 0, "A man"))))
    assert spans(boxes, "a", "man") == [] and boxes.counts["phrases that do not match their sentence"] == 1


def test_phrases_without_boxes_are_counted_by_kind(tmp_path):
    text = sentence("w w w w w w", *[(chain, 0, "w") for chain in ("1", "2", "3", "4", "5", "0")])
    unseen = sentence("v", ("6", 0, "v"))
    unseen["phrases"][0]["types"] = ["notvisual"]
    photo = entry({"1": [LEFT], "2": [], "3": [[9, 9, 9, 9]]}, text, unseen, scene=["4"], nobox=["4", 5])
    boxes = read(tmp_path, a=photo)
    phrases = {kind: count for kind, count in boxes.counts.items() if "phrases" in kind or kind == "scenes"}
    assert phrases == {
        "phrases with boxes": 1,
        "phrases whose boxes cannot be used": 2,
        "scenes": 1,
        "phrases without boxes": 1,
        "phrases of nothing visible": 2,
    }
    assert boxes.examples["scenes"] == "a.jpg: w w w w w w: 'w'"
    assert set(phrases) - {"phrases with boxes"} < set(boxes.examples)


def test_a_phrase_of_an_unknown_chain_is_counted(tmp_path):
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, sentence("A man", ("7", 0, "A man"))))
    assert boxes.counts["phrases of no chain"] == 1 and spans(boxes, "a", "man") == []


def test_captions_of_the_same_words_are_merged(tmp_path):
    photo = entry(
        {"1": [LEFT], "2": [RIGHT]},
        sentence("A man and dog .", ("1", 0, "A man")),
        sentence("a man and dog", ("2", 3, "dog"), ("2", 0, "a man"), ("1", 0, "a man")),
    )
    boxes = read(tmp_path, a=photo)
    assert phrases_of(boxes.photos["a.jpg"], ("a", "man", "and", "dog")) == [
        Phrase(0, 1, (HALF, REST), ("people",)),
        Phrase(3, 3, (REST,), ("people",)),
    ]
    assert boxes.counts["captions that repeat another of their photo"] == 1


def test_a_thing_is_a_noun_in_singular_and_plural_with_the_boxes_of_all_chains(tmp_path):
    photo = entry(
        {"1": [LEFT], "2": [RIGHT]},
        sentence("A dog sees a dog", ("1", 0, "A dog"), ("2", 3, "a dog")),
        sentence("Two dogs and it in red", ("1", 0, "Two dogs"), ("2", 3, "it"), ("1", 5, "red")),
        sentence("The animal", ("2", 0, "The animal")),
        sentence("Player 12", ("2", 0, "Player 12")),
    )
    things = read(tmp_path, a=photo).photos["a.jpg"].things
    assert [(thing.names, thing.boxes, thing.types) for thing in things] == [
        ({"dog", "dogs"}, (HALF, REST), ("people",)),
        ({"animal", "animals"}, (REST,), ("people",)),
    ]
    words = "a dog with animals on it".split()
    assert [(phrase.last, phrase.boxes) for phrase in phrases_named(things, words)] == [(1, (HALF, REST)), (3, (REST,))]


def test_broken_boxes_are_counted_and_the_others_kept(tmp_path):
    broken = [[90, 0, 120, 50], [200, 0, 220, 50], [5, 5, 5, 5], [1, 2], "box", RIGHT]
    photo = entry({"1": broken, "2": 7}, sentence("A man", ("1", 0, "A man")))
    boxes = read(tmp_path, a=photo, b=entry({}, sentence("Rain")))
    (phrase,) = phrases_of(boxes.photos["a.jpg"], ("a", "man"))
    assert phrase.boxes == ((0.9, 0.0, 1.0, 1.0), REST)
    assert phrases_of(boxes.photos["b.jpg"], ("rain",)) == []
    assert boxes.counts == {
        "photos": 2,
        "captions": 2,
        "boxes": 2,
        "phrases with boxes": 1,
        "boxes clipped to the photo": 1,
        "boxes outside the photo": 1,
        "empty or reversed boxes": 1,
        "boxes that are not four numbers": 2,
        "photos without boxes": 1,
    }
    assert boxes.examples["boxes outside the photo"] == "a.jpg, chain 1: [200, 0, 220, 50] of 100 x 50 pixels"
    assert boxes.examples["photos without boxes"] == "b.jpg"


@pytest.mark.parametrize("width", [0, -3, None, "100", True, float("nan")])
def test_photos_without_a_size_are_left_out(tmp_path, width):
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, width=width), b=entry({"1": [LEFT]}))
    assert list(boxes.photos) == ["b.jpg"] and boxes.counts["photos without a size"] == boxes.counts["photos"] == 1
    assert boxes.examples["photos without a size"].startswith("a.jpg: ")


@pytest.mark.parametrize("broken", [None, [], {"boxes": {}}, {"boxes": [], "sentences": []}, entry({}, sentences={})])
def test_broken_photos_are_left_out(tmp_path, broken):
    boxes = read(tmp_path, a=broken, b=entry({"1": [LEFT]}))
    assert list(boxes.photos) == ["b.jpg"]
    assert boxes.examples == {"photos that have no boxes and sentences as they should": "a.jpg"}


@pytest.mark.parametrize("broken", [3, "A man", {"sentence": "A man"}, {"sentence": 3, "phrases": []}])
def test_broken_sentences_are_counted(tmp_path, broken):
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, broken, sentence("A man", ("1", 0, "A man"))))
    assert spans(boxes, "a", "man") == [(0, 1)] and len(boxes.photos["a.jpg"].phrases) == 1
    assert boxes.examples == {"broken sentences": f"a.jpg: {broken}"}


@pytest.mark.parametrize("broken", [3, {"id": "1"}, {"phrase": "A man"}, {"id": "1", "phrase": 3}])
def test_broken_phrases_are_counted(tmp_path, broken):
    text = sentence("A man", ("1", 0, "A man"))
    text["phrases"].insert(0, broken)
    boxes = read(tmp_path, a=entry({"1": [LEFT]}, text))
    assert spans(boxes, "a", "man") == [(0, 1)]
    assert boxes.examples == {"broken phrases": f"a.jpg: A man: {broken}"}


def test_types_that_are_no_list_are_ignored(tmp_path):
    text = sentence("A man", ("1", 0, "A man"))
    text["phrases"][0]["types"] = "people"
    assert phrases_of(read(tmp_path, a=entry({"1": [LEFT]}, text)).photos["a.jpg"], ("a", "man"))[0].types == ()
