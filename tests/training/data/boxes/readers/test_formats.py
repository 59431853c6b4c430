"""The form of box files is recognised, boxes become shares of their photo, and broken files are refused."""

import gzip
import json

import pytest

from captioner.errors import DataError
from tests.support.box_files import bounded, entities_file, entry, instances_file, release, sentence
from tests.support.tiny_data_sets import write
from training.data.boxes.box_set import PhotoBoxes, Phrase, Thing, phrases_named, phrases_of
from training.data.boxes.readers.formats import read_boxes
from training.data.boxes.readers.shares import Tally, box_share

HALF = (0.0, 0.0, 0.5, 1.0)
REST = (0.5, 0.0, 1.0, 1.0)


def test_every_form_is_recognised(tmp_path):
    photos = {"a.jpg": entry({"1": [[0, 0, 50, 50]]}, sentence("A man .", ("1", 0, "A man")))}
    release(tmp_path / "release", "a", bounded((0, 0, 50, 50), 1), "[/EN#1/people A man] .\n")
    files = [
        entities_file(tmp_path / "plain.json", photos),
        entities_file(tmp_path / "packed.json.gz", photos),
        tmp_path / "release",
        instances_file(tmp_path / "coco.json", [(1, "a.jpg")], [(1, "person", "person")], [(1, 1, [0, 0, 50, 50])]),
    ]
    box_sets = [read_boxes(file) for file in files]
    assert [boxes.name for boxes in box_sets] == ["plain", "packed", "release", "coco"]
    for boxes in box_sets:
        (phrase,) = phrases_of(boxes.photos["a.jpg"], ("a", "man"))
        assert phrase.last == 1 and phrase.boxes == (HALF,)
        assert boxes.counts["photos"] == boxes.counts["boxes"] == 1 and not boxes.examples


def test_gzip_is_recognised_by_its_content(tmp_path):
    file = write(tmp_path / "a.json", gzip.compress(json.dumps({"a.jpg": entry({})}).encode()))
    assert list(read_boxes(str(file)).photos) == ["a.jpg"]


PACKED = gzip.compress(json.dumps({f"{n}.jpg": entry({"1": [[n, 0, 50, 50]]}) for n in range(40)}).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"a.jpg": ', "a.json:1: is not JSON"),
        (b"\xff\xd8\xff\xe0 a photo", "is not JSON"),
        (gzip.compress(b"a text", mtime=0), "unpacks to something that is not JSON"),
        (gzip.compress(b"\xff\xff", mtime=0), "unpacks to something that is not JSON"),
        (gzip.compress(b"[" * 100_000), "unpacks to something that is not JSON"),
        (PACKED[: len(PACKED) // 2], "damaged .gz file.*fetch it again"),
        (PACKED[:20] + b"\xff" * 30 + PACKED[50:], "damaged .gz file"),
        (PACKED[:-8] + b"\0" * 8, "damaged .gz file"),
        (b"[]", "holds no boxes in a known format"),
        (b"{}", "holds no boxes"),
        (b"3", "holds no boxes"),
        (b'{"a.jpg": {"width": 3}}', "holds no boxes"),
        (b'{"images": [], "annotations": []}', "holds no boxes"),  # COCO's captions
        (b'{"images": [], "annotations": [], "categories": {}}', "holds no boxes"),
    ],
)
def test_broken_files_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path / "a.json", content))


def test_refusals_name_the_known_forms(tmp_path):
    (tmp_path / "Annotations").mkdir()
    for path, message in (
        (tmp_path / "none", "does not exist"),
        (tmp_path, "without Annotations/ and Sentences/"),
        (write(tmp_path / "a.json", "{}"), "holds no boxes"),
    ):
        with pytest.raises(DataError, match=message) as refusal:
            read_boxes(path)
        for form in (".json.gz", "Annotations/NAME.xml", "images, annotations and categories"):
            assert form in str(refusal.value)


def test_a_release_without_annotations_is_refused(tmp_path):
    for folder in ("Annotations", "Sentences"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match="holds no .xml: unpack annotations.zip"):
        read_boxes(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    file = entities_file(tmp_path / "a.json", {})

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="a.json cannot be read: Permission denied"):
        read_boxes(file)


@pytest.mark.parametrize(
    ("corners", "expected", "kind"),
    [
        ([0, 0, 100, 50], (0.0, 0.0, 1.0, 1.0), None),
        ([25.0, 10, 50, 20], (0.25, 0.2, 0.5, 0.4), None),
        ([0, 0, 100.005, 50], (0.0, 0.0, 1.0, 1.0), None),  # rounded
        ([-5, 10, 50, 70], (0.0, 0.2, 0.5, 1.0), "boxes clipped to the photo"),
        ([0, -1, 101, 50], (0.0, 0.0, 1.0, 1.0), "boxes clipped to the photo"),
        ([100, 0, 120, 50], None, "boxes outside the photo"),
        ([0, 50, 100, 60], None, "boxes outside the photo"),
        ([-9, 0, 0, 50], None, "boxes outside the photo"),
        ([0, -9, 50, 0], None, "boxes outside the photo"),
        ([10, 0, 10, 50], None, "empty or reversed boxes"),
        ([0, 20, 10, 20], None, "empty or reversed boxes"),
        ([30, 0, 10, 50], None, "empty or reversed boxes"),
        ([0, 30, 10, 10], None, "empty or reversed boxes"),
        ([0, 0, 5e-324, 50], None, "empty or reversed boxes"),
        ([0, 0, 10], None, "boxes that are not four numbers"),
        ([0, 0, 10, 20, 30], None, "boxes that are not four numbers"),
        ([0, 0, 10, float("nan")], None, "boxes that are not four numbers"),
        ([0, 0, 10, float("inf")], None, "boxes that are not four numbers"),
        ([0, 0, 10, 10**400], None, "boxes that are not four numbers"),
        ([0, 0, True, 10], None, "boxes that are not four numbers"),
        ([0, 0, "10", 10], None, "boxes that are not four numbers"),
        ("0123", None, "boxes that are not four numbers"),
        (None, None, "boxes that are not four numbers"),
    ],
)
def test_boxes_become_shares_of_their_photo(corners, expected, kind):
    tally = Tally()
    assert box_share(corners, 100, 50, tally, "a.jpg") == expected
    assert list(tally.counts) == ([kind] if kind else []) == list(tally.examples)
    assert all(position.startswith("a.jpg: ") for position in tally.examples.values())


def test_a_tally_keeps_the_first_example():
    tally = Tally()
    for position in ("here", "there"):
        tally.add_problem("odd", position)
    tally.add("good", 3)
    assert tally.counts == {"odd": 2, "good": 3} and tally.examples == {"odd": "here"}


def test_phrases_of_distinguishes_an_unknown_caption_from_one_without_boxes():
    phrase = Phrase(1, 1, (HALF,), ("people",))
    photo = PhotoBoxes({("a", "man"): [phrase], ("rain",): []}, [Thing(frozenset(["man"]), (HALF,), ())])
    assert phrases_of(photo, ["a", "man"]) == [phrase]
    assert phrases_of(photo, ("rain",)) == []
    assert phrases_of(photo, ("the", "man")) is None
    assert phrases_of(PhotoBoxes({}, photo.things, has_sentences=False), ("the", "man")) == [Phrase(1, 1, (HALF,), ())]


def test_the_longest_name_matches_and_boxes_of_one_name_are_joined():
    things = [
        Thing(frozenset(["dog", "dogs"]), (HALF,), ("animal",)),
        Thing(frozenset(["hot dog"]), (REST,), ("food",)),
        Thing(frozenset(["bike"]), (HALF, REST), ("vehicle",)),
        Thing(frozenset(["bike", "motor bike"]), (REST,), ("vehicle", "motor")),
    ]
    words = "dog eats hot dog on bike hot".split()
    assert phrases_named(things, words) == [
        Phrase(0, 0, (HALF,), ("animal",)),
        Phrase(2, 3, (REST,), ("food",)),
        Phrase(5, 5, (HALF, REST), ("vehicle", "motor")),
    ]
    assert phrases_named([], words) == phrases_named(things, []) == []
