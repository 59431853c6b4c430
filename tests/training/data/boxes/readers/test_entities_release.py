"""Flickr30k Entities as released, with one XML and one text per photo: read, and broken files counted."""

import pytest

from tests.support.box_files import bounded, release
from tests.support.tiny_data_sets import write
from training.data.boxes.box_set import Phrase, phrases_of
from training.data.boxes.readers.entities_release import parse_sentence
from training.data.boxes.readers.formats import read_boxes

HALF, REST = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
MAN = "[/EN#1/people A man] .\n"


def with_a_whole_photo(tmp_path):
    return release(tmp_path, "whole", bounded((0, 0, 50, 50), 1), MAN)


def test_chains_share_boxes_and_marks_become_phrases(tmp_path):
    objects = bounded((0, 0, 50, 50), 1, 2) + bounded((50, 0, 100, 50), 2)
    objects += "<object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object>"
    objects += "<object><name>4</name><scene>0</scene><nobndbox>1</nobndbox></object>"
    text = "[/EN#1/people/other A man ] , in [/EN#2/clothing a hat]'s brim , on [/EN#3/scene a road] .\n\n"
    text += "[/EN#4/other Nobody] sees [/EN#0/notvisual each other]\r\n"
    boxes = read_boxes(release(tmp_path, "7", objects, text))
    photo = boxes.photos["7.jpg"]
    assert phrases_of(photo, "a man in a hat 's brim on a road".split()) == [
        Phrase(0, 1, (HALF,), ("people", "other")),
        Phrase(3, 4, (HALF, REST), ("clothing",)),
    ]
    assert phrases_of(photo, "nobody sees each other".split()) == []
    assert boxes.counts == {
        "photos": 1,
        "captions": 2,
        "boxes": 3,
        "phrases with boxes": 2,
        "scenes": 1,
        "phrases without boxes": 1,
        "phrases of nothing visible": 1,
    }


def test_a_sentence_is_parsed_into_the_form_of_the_json():
    assert parse_sentence("Red [/EN#1/people/other men] , [/EN#2/clothing a hat] .") == {
        "sentence": "Red men , a hat .",
        "phrases": [
            {"id": "1", "types": ["people", "other"], "first_word_index": 1, "phrase": "men"},
            {"id": "2", "types": ["clothing"], "first_word_index": 3, "phrase": "a hat"},
        ],
    }


def test_a_missing_file_name_is_taken_from_the_annotation(tmp_path):
    with_a_whole_photo(tmp_path)
    file = tmp_path / "Annotations" / "whole.xml"
    write(file, file.read_text().replace("<filename>whole.jpg</filename>", "<filename/>"))
    assert list(read_boxes(tmp_path).photos) == ["whole.jpg"]


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "50"><!ENTITY c "&b;">]>'
    "<annotation><size><width>100</width><height>&c;</height></size></annotation>"
)


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("", "annotations that are not XML"),
        ("<annotation><size>", "annotations that are not XML"),
        ("A man .", "annotations that are not XML"),
        ('<?xml version="1.0" encoding="none-such"?><annotation/>', "annotations that are not XML"),
        (b"<annotation>\xff</annotation>", "annotations that are not XML"),
        (BOMB, "annotations with a DOCTYPE, which is not read"),
        (BOMB.encode("utf-16"), "annotations with a DOCTYPE, which is not read"),
        ("<annotation/>", "photos without a size"),
        ("<annotation><size><width>0</width><height>5</height></size></annotation>", "photos without a size"),
        ("<annotation><size><width>wide</width><height>5</height></size></annotation>", "photos without a size"),
    ],
)
def test_broken_annotations_are_counted(tmp_path, xml, kind):
    with_a_whole_photo(tmp_path)
    write(tmp_path / "Annotations" / "broken.xml", xml)
    write(tmp_path / "Sentences" / "broken.txt", MAN)
    boxes = read_boxes(tmp_path)
    assert list(boxes.photos) == ["whole.jpg"] and list(boxes.examples) == [kind] and boxes.counts[kind] == 1
    assert boxes.examples[kind].startswith("broken")


def test_photos_with_only_one_of_two_files_are_counted(tmp_path):
    with_a_whole_photo(tmp_path)
    release(tmp_path, "silent", bounded((0, 0, 50, 50), 1), MAN)
    (tmp_path / "Sentences" / "silent.txt").unlink()
    write(tmp_path / "Sentences" / "unboxed.txt", MAN)
    boxes = read_boxes(tmp_path)
    assert list(boxes.photos) == ["whole.jpg"]
    assert boxes.examples == {
        "photos whose annotation is missing": "unboxed.txt",
        "photos whose sentences are missing": "silent.xml",
    }


def test_two_annotations_of_one_photo_are_counted(tmp_path):
    with_a_whole_photo(tmp_path)
    write(tmp_path / "Annotations" / "x.xml", (tmp_path / "Annotations" / "whole.xml").read_text())
    write(tmp_path / "Sentences" / "x.txt", "Other words\n")
    boxes = read_boxes(tmp_path)
    assert phrases_of(boxes.photos["whole.jpg"], ("other", "words")) is None
    assert boxes.examples == {"photos that are listed twice": "whole.jpg"}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"[/EN#1/people A man in a hat .", "sentences with a broken mark"),
        (b"[/EN#1/people A [/EN#2/other big] man] .", "sentences with a broken mark"),
        (b"A m\xffn .", "sentences that are not UTF-8 text"),
    ],
)
def test_broken_sentences_are_counted(tmp_path, line, kind):
    folder = release(tmp_path, "a", bounded((0, 0, 50, 50), 1), line + b"\n" + MAN.encode())
    boxes = read_boxes(folder)
    assert list(boxes.photos["a.jpg"].phrases) == [("a", "man")]
    assert list(boxes.examples) == [kind] and boxes.examples[kind].startswith("a.txt:1")


def test_broken_boxes_are_counted(tmp_path):
    objects = bounded((0, 0, "far", 50), 1) + bounded((0, 0, "nan", 50), 1) + "<object><name>1</name><bndbox/></object>"
    objects += "<object><name/><bndbox/></object><object/>" + bounded((50, 0, 150, 50), 1)
    boxes = read_boxes(release(tmp_path, "a", objects, MAN))
    (phrase,) = phrases_of(boxes.photos["a.jpg"], ("a", "man"))
    assert phrase.boxes == (REST,)
    assert boxes.counts["boxes that are not four numbers"] == 4 and boxes.counts["boxes clipped to the photo"] == 1
    assert "far" in boxes.examples["boxes that are not four numbers"]
