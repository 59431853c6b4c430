"""COCO captions become usable records, and every refusal names its position."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import photo, positions, write
from training.data.records import read_records


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


def test_the_official_folder_gives_splits_and_ids(tmp_path):
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
    assert len(positions(data, "repeated_id")) == 1


def test_a_photo_missing_from_its_folder_is_not_taken_from_another_split(tmp_path):
    photo(tmp_path / "val2017" / "1.jpg")
    for split in ("train", "val"):
        coco_file(tmp_path / "annotations" / f"captions_{split}2017.json", [(1, "1.jpg")], [(1, f"in {split}")])
    data = read_records(tmp_path)
    assert [(record.split, record.captions) for record in data.records] == [("val", ("in val",))]


def test_a_single_file_finds_its_photos_beside_the_annotations_folder(tmp_path):
    photo(tmp_path / "val2014" / "COCO_7.jpg")
    file = coco_file(tmp_path / "annotations" / "captions_val2014.json", [(7, "COCO_7.jpg")], [(7, "A dog.")])
    assert [record.split for record in read_records(file).records] == ["val"]


def test_the_images_option_names_another_folder(tmp_path):
    photo(tmp_path / "elsewhere" / "a.jpg")
    file = coco_file(tmp_path / "set" / "captions.json", [(7, "a.jpg")], [(7, "A dog.")])
    assert not read_records(file).records
    data = read_records(file, images=tmp_path / "elsewhere")
    assert data.records[0].captions == ("A dog.",) and data.drawn_splits


def test_bad_entries_are_refused_with_their_position(tmp_path):
    for name in ("1.jpg", "2.jpg", "unlisted.jpg"):
        photo(tmp_path / "val2017" / name)
    images = [(1, "1.jpg"), (2, "2.jpg"), (3, "gone.jpg"), (1, "again.jpg"), (None, "no-id.jpg")]
    annotations = [(1, "A dog."), (3, "lost"), (99, "whose?"), (1, "  "), (1, 5), (1, "A dog."), (None, "x")]
    coco_file(tmp_path / "annotations" / "captions_val2017.json", images, annotations)
    write(tmp_path / "annotations" / "instances_val2017.json", "{}")
    data = read_records(tmp_path)
    # Two annotators may write the same: captions have ids, so the second "A dog." is no repetition.
    assert [record.captions for record in data.records] == [("A dog.", "A dog.")]
    file = "annotations/captions_val2017.json"
    assert positions(data, "missing_image") == [f"{file} image 3"]
    assert positions(data, "unknown_image") == [f"{file} annotations[2]"]
    assert positions(data, "empty_caption") == [f"{file} annotations[3]"]
    assert positions(data, "bad_entry") == [f"{file} {e}" for e in ("images[4]", "annotations[4]", "annotations[6]")]
    assert positions(data, "repeated_entry") == [f"{file} images[3]"]
    assert positions(data, "uncaptioned_image") == [f"{file} image 2", "val2017/unlisted.jpg"]
    assert positions(data, "unused_file") == ["annotations/instances_val2017.json"]


def test_lone_surrogates_are_reported_by_their_codes(tmp_path):
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
    assert positions(data, "unused_file") == ["annotations/captions_train2014.json"]


@pytest.mark.parametrize("text, message", [('{"images": [\n!', ":2: is not JSON"), ("[]", "no lists named images")])
def test_a_broken_file_is_named(tmp_path, text, message):
    file = write(tmp_path / "captions_val2017.json", text)
    with pytest.raises(DataError, match=message) as error:
        read_records(file, format="coco")
    assert "captions_val2017.json" in str(error.value)


def test_a_path_out_of_the_data_set_is_refused(tmp_path):
    photo(tmp_path / "secret.jpg")
    names = ["../../secret.jpg", "../secret.jpg", str(tmp_path / "secret.jpg")]
    file = tmp_path / "set" / "annotations" / "captions_val2017.json"
    coco_file(file, list(enumerate(names)), [(number, "a secret") for number in range(len(names))])
    data = read_records(tmp_path / "set")
    assert not data.records and len(positions(data, "missing_image")) == len(names)


@pytest.mark.parametrize(
    "layout",
    [
        {"annotations/train.json": "train", "annotations/val.json": "val"},
        {"stair_captions_v1.2_train.json": "train2014", "stair_captions_v1.2_val.json": "val2014"},
        {"train/_annotations.coco.json": "train", "valid/_annotations.coco.json": "valid"},
        {"annotations/nocaps_train_4500_captions.json": "images", "annotations/nocaps_val_captions.json": "images"},
        {"Annotations/train.json": "images/train_images", "Annotations/val.json": "images/val_images"},
    ],
)
def test_files_are_recognised_by_their_content(tmp_path, layout):
    for number, (name, folder) in enumerate(layout.items()):
        photo(tmp_path / folder / f"{number}.jpg")
        coco_file(tmp_path / name, [(number, f"{number}.jpg")], [(number, f"caption {number}")])
    write(tmp_path / "info.json", "{}")
    data = read_records(tmp_path)
    assert data.format == "coco" and not positions(data, "missing_image")
    assert [(record.split, record.captions) for record in data.records] == [
        ("train", ("caption 0",)), ("val", ("caption 1",)),
    ]  # fmt: skip
    assert len(read_records(tmp_path / next(iter(layout))).records) == 1


def test_backslashes_in_paths_are_accepted(tmp_path):
    photo(tmp_path / "images" / "1.jpg")
    coco_file(tmp_path / "result.json", [(1, "images\\1.jpg")], [(1, "A dog.")])
    data = read_records(tmp_path)
    assert data.format == "coco" and len(data.records) == 1 and data.drawn_splits


def instances(path):
    box = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}
    content = {"info": {}, "images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [box], "categories": []}
    return write(path, json.dumps(content))


def test_instances_are_not_taken_for_captions(tmp_path):
    photo(tmp_path / "1.jpg")
    file = instances(tmp_path / "annotations" / "instances_val2017.json")
    write(tmp_path / "test.json", json.dumps({"info": {}, "images": [{"id": 1, "file_name": "1.jpg"}]}))
    for path in (tmp_path, file):
        with pytest.raises(DataError, match="instances_val2017.json: .*hold no captions .bbox, category_id."):
            read_records(path)
    with pytest.raises(DataError, match="test.json: .*images without annotations"):
        read_records(tmp_path)
    coco_file(tmp_path / "annotations" / "captions_val2017.json", [(1, "1.jpg")], [(1, "A dog.")])
    data = read_records(tmp_path)
    assert len(data.records) == 1 and "hold no captions" in next(
        problem.message for problem in data.problems if problem.file == "annotations/instances_val2017.json"
    )


@pytest.mark.parametrize("names", [("train.json", "train_tokenized.json"), ("result.json", "result (1).json")])
def test_two_files_of_the_same_photos_are_refused(tmp_path, names):
    photo(tmp_path / "1.jpg")
    for name in names:
        coco_file(tmp_path / name, [(1, "1.jpg")], [(1, "A dog.")])
    with pytest.raises(DataError) as error:
        read_records(tmp_path)
    assert all(name in str(error.value) for name in names) and "give the path of one" in str(error.value)
    assert len(read_records(tmp_path / names[0]).records) == 1


@pytest.mark.parametrize("of_images, of_annotations", [("1", 1), (1, "1"), (1, 1.0), ("001", 1)])
def test_ids_that_differ_only_in_type_are_matched(tmp_path, of_images, of_annotations):
    photo(tmp_path / "a.jpg")
    file = coco_file(tmp_path / "captions.json", [(of_images, "a.jpg")], [(of_annotations, "A dog."), (2, "Whose?")])
    data = read_records(file)
    assert [(record.image_id, record.captions) for record in data.records] == [(of_images, ("A dog.",))]
    assert positions(data, "unknown_image") == ["captions.json annotations[1]"]
    assert positions(data, "other_id_type") == ([] if type(of_annotations) is float else ["captions.json"])


def test_ids_that_match_two_images_are_unknown(tmp_path):
    photo(tmp_path / "a.jpg")
    file = coco_file(tmp_path / "captions.json", [("1", "a.jpg"), ("01", "b.jpg")], [(1, "Whose?")])
    assert positions(read_records(file), "unknown_image") == ["captions.json annotations[0]"]


def test_rejected_and_precanned_captions_are_left_out(tmp_path):
    photo(tmp_path / "a.jpg")
    flags = [{}, {"is_rejected": True}, {"is_precanned": True}, {"is_precanned": True, "is_rejected": True}]
    flags += [{"is_precanned": False, "is_rejected": False}]
    annotations = [{"id": n, "image_id": 1, "caption": f"caption {n}", **flag} for n, flag in enumerate(flags)]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    data = read_records(write(tmp_path / "train.json", json.dumps(content)))
    assert data.records[0].captions == ("caption 0", "caption 4")
    assert positions(data, "rejected_caption") == ["train.json annotations[1]"]
    assert positions(data, "precanned_caption") == ["train.json annotations[2]", "train.json annotations[3]"]


def test_a_damaged_captions_file_is_not_skipped(tmp_path):
    photo(tmp_path / "val2017" / "1.jpg")
    coco_file(tmp_path / "annotations" / "captions_val2017.json", [(1, "1.jpg")], [(1, "A dog.")])
    for text in ('{"images": [{"id": 1', '{"images": 5}'):
        write(tmp_path / "annotations" / "captions_train2017.json", text)
        with pytest.raises(DataError, match="captions_train2017.json"):
            read_records(tmp_path)


def test_images_without_names_are_found_by_their_ids(tmp_path):
    photo(tmp_path / "val2014/COCO_val2014_000000000007.jpg")
    annotations = [
        {"id": 1, "image_id": 7, "caption": "A dog."},
        {"id": 2, "image_id": 7, "caption": ["Dogs.", "Pets."]},
    ]
    write(tmp_path / "captions.json", json.dumps({"images": [{"id": 7}, {"id": 8}], "annotations": annotations}))
    data = read_records(tmp_path)
    (record,) = data.records
    assert record.captions == ("A dog.", "Dogs.", "Pets.")
    assert positions(data, "missing_image") == ["captions.json image 8"]
