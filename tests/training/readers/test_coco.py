"""COCO captions that the tests draw: usable records, and every refusal with its place."""

import json

import pytest

from captioner.errors import DataError
from training.records import read_records

from .drawing import photo, places, write


def coco_file(path, images, annotations):
    return write(
        path,
        json.dumps(
            {
                "images": [{"id": key, "file_name": name} for key, name in images],
                "annotations": [
                    {"id": number, "image_id": key, "caption": text} for number, (key, text) in enumerate(annotations)
                ],
            }
        ),
    )


def test_official_folder_gives_splits_and_ids(tmp_path):
    for split, image_id in (("train", 1), ("val", 2)):
        photo(tmp_path / f"{split}2017" / f"00{image_id}.jpg")
        file = tmp_path / "annotations" / f"captions_{split}2017.json"
        coco_file(file, [(image_id, f"00{image_id}.jpg")], [(image_id, f"caption {n} \n") for n in range(5)])
    data = read_records(tmp_path)
    assert data.format == "coco" and not data.drawn_splits and not data.problems
    assert [(record.image_id, record.split) for record in data.records] == [(1, "train"), (2, "val")]
    assert data.records[1].path == tmp_path / "val2017" / "002.jpg"
    assert data.records[0].captions == tuple(f"caption {n}" for n in range(5))


def test_equal_file_names_in_two_folders_stay_two_photos(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / f"{split}2017" / "1.jpg")
        coco_file(tmp_path / "annotations" / f"captions_{split}2017.json", [(1, "1.jpg")], [(1, f"in {split}")])
    photo(tmp_path / "1.jpg")
    data = read_records(tmp_path)
    assert [record.path.parent.name for record in data.records] == ["train2017", "val2017"]
    assert len({record.image_id for record in data.records}) == 2
    assert len(places(data, "repeated_id")) == 1


def test_a_photo_missing_from_its_folder_is_not_taken_from_the_other_split(tmp_path):
    photo(tmp_path / "val2017" / "1.jpg")
    for split in ("train", "val"):
        coco_file(tmp_path / "annotations" / f"captions_{split}2017.json", [(1, "1.jpg")], [(1, f"in {split}")])
    data = read_records(tmp_path)
    assert [(record.split, record.captions) for record in data.records] == [("val", ("in val",))]


def test_one_file_finds_its_folder_beside_annotations(tmp_path):
    photo(tmp_path / "val2014" / "COCO_7.jpg")
    file = coco_file(tmp_path / "annotations" / "captions_val2014.json", [(7, "COCO_7.jpg")], [(7, "A dog.")])
    assert [record.split for record in read_records(file).records] == ["val"]


def test_an_image_folder_elsewhere(tmp_path):
    photo(tmp_path / "elsewhere" / "a.jpg")
    file = coco_file(tmp_path / "set" / "captions.json", [(7, "a.jpg")], [(7, "A dog.")])
    assert not read_records(file).records
    data = read_records(file, images=tmp_path / "elsewhere")
    assert data.records[0].captions == ("A dog.",) and data.drawn_splits


def test_what_is_refused(tmp_path):
    for name in ("1.jpg", "2.jpg", "unlisted.jpg"):
        photo(tmp_path / "val2017" / name)
    images = [(1, "1.jpg"), (2, "2.jpg"), (3, "gone.jpg"), (1, "again.jpg"), (None, "no-id.jpg")]
    annotations = [(1, "A dog."), (3, "lost"), (99, "whose?"), (1, "  "), (1, 5), (1, "A dog."), (None, "x")]
    coco_file(tmp_path / "annotations" / "captions_val2017.json", images, annotations)
    write(tmp_path / "annotations" / "instances_val2017.json", "{}")
    data = read_records(tmp_path)
    # Two people may write the same: captions have ids, so the second "A dog." is no repetition.
    assert [record.captions for record in data.records] == [("A dog.", "A dog.")]
    file = "annotations/captions_val2017.json"
    assert places(data, "missing_image") == [f"{file} image 3"]
    assert places(data, "unknown_image") == [f"{file} annotations[2]"]
    assert places(data, "empty_caption") == [f"{file} annotations[3]"]
    assert places(data, "bad_entry") == [f"{file} {e}" for e in ("images[4]", "annotations[4]", "annotations[6]")]
    assert places(data, "repeated_entry") == [f"{file} images[3]"]
    assert places(data, "uncaptioned_image") == [f"{file} image 2", "val2017/unlisted.jpg"]
    assert places(data, "unused_file") == ["annotations/instances_val2017.json"]


def test_half_characters_are_told_by_their_codes(tmp_path):
    file = coco_file(tmp_path / "captions.json", [("\ud800", "gone\udc00.jpg")], [("\ud800", "A dog.")])
    (problem,) = read_records(file).problems
    assert str(problem).encode().startswith(b"captions.json image \\ud800: captions/gone\\udc00.jpg is not in")


def test_two_years_are_not_mixed(tmp_path):
    for split, year in (("train", 2014), ("val", 2017)):
        photo(tmp_path / f"{split}{year}" / "1.jpg")
        file = tmp_path / "annotations" / f"captions_{split}{year}.json"
        coco_file(file, [(1, "1.jpg")], [(1, "the same photo")])
    data = read_records(tmp_path)
    assert [record.split for record in data.records] == ["val"]
    assert places(data, "unused_file") == ["annotations/captions_train2014.json"]


@pytest.mark.parametrize("text, told", [('{"images": [\n!', ":2: is not JSON"), ("[]", "no lists named images")])
def test_a_broken_file_is_named(tmp_path, text, told):
    file = write(tmp_path / "captions_val2017.json", text)
    with pytest.raises(DataError, match=told) as error:
        read_records(file, format="coco")
    assert "captions_val2017.json" in str(error.value)


def test_a_name_cannot_reach_out_of_the_data_set(tmp_path):
    photo(tmp_path / "secret.jpg")
    names = ["../../secret.jpg", "../secret.jpg", str(tmp_path / "secret.jpg")]
    file = tmp_path / "set" / "annotations" / "captions_val2017.json"
    coco_file(file, list(enumerate(names)), [(number, "a secret") for number in range(len(names))])
    data = read_records(tmp_path / "set")
    assert not data.records and len(places(data, "missing_image")) == len(names)
