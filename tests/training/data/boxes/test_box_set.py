"""Boxes are matched to photos by name."""

import shutil

import pytest

from training.data.boxes.box_set import (
    SAME_NAME,
    BoxSet,
    PhotoBoxes,
    Phrase,
    Thing,
    phrases_of,
    without_ambiguous_names,
)

BOX = (0.1, 0.1, 0.5, 0.5)
THING = Thing(frozenset({"dog"}), (BOX,), ("animal",))
LISTED = PhotoBoxes({}, [THING], has_sentences=False)
CAPTIONED = PhotoBoxes({("a", "dog"): [Phrase(0, 1, (BOX,), ("animal",))]}, [THING])


@pytest.fixture
def photos(tmp_path):
    """Three photos, two of which have the same name."""
    paths = [tmp_path / name for name in ("new/1.jpg", "earlier/1.jpg", "new/2.jpg")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
    return paths


def test_the_longest_name_that_a_path_ends_with_matches(photos):
    earlier = PhotoBoxes({}, [], has_sentences=False)
    boxes = BoxSet("boxes", {"1.jpg": LISTED, "earlier/1.jpg": earlier})
    assert boxes.of(photos[0]) is LISTED and boxes.of(photos[1]) is earlier and boxes.of(photos[2]) is None


def test_boxes_of_a_name_shared_by_two_photos_are_left_out(photos):
    boxes = without_ambiguous_names(BoxSet("boxes", {"1.jpg": LISTED, "2.jpg": LISTED}), photos)
    assert [boxes.of(photo) for photo in photos] == [None, None, LISTED]
    assert boxes.counts[SAME_NAME] == 1 and boxes.examples[SAME_NAME] == f"1.jpg: {photos[1]}"


def test_sentences_distinguish_photos_of_one_name(photos):
    boxes = without_ambiguous_names(BoxSet("boxes", {"1.jpg": CAPTIONED}), photos)
    assert len(phrases_of(boxes.of(photos[0]), ["a", "dog"])) == 1
    assert phrases_of(boxes.of(photos[0]), ["the", "dog"]) is None and not boxes.of(photos[0]).things


def test_copies_of_one_photo_keep_its_boxes(photos):
    shutil.copy(photos[0], photos[1])
    boxes = BoxSet("boxes", {"1.jpg": LISTED})
    assert without_ambiguous_names(boxes, [*photos, photos[0]]) is boxes
