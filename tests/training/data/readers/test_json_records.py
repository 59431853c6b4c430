"""JSON records are read in the forms that other programs write."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.records import read_records

TWO = {"a.jpg": ("A dog.",), "b.jpg": ("A cat.", "Two cats.")}


def captions(data):
    return {name: record.captions for name, record in by_name(data).items()}


FORMS = {
    "list": [
        {"image": "images/a.jpg", "caption": "A dog.", "image_id": "x_0"},
        {"image": "images/b.jpg", "caption": "A cat."},
        {"image": "images/b.jpg", "caption": "Two cats."},
    ],
    "several captions": [
        {"image": "a.jpg", "caption": ["A dog."]},
        {"file_name": "b.jpg", "texts": ["A cat.", "Two cats."]},
    ],
    "TextCaps": {
        "dataset_name": "textcaps",
        "data": [
            {"image_id": "a", "image_name": "a", "image_path": "a.jpg", "caption_str": "A dog.", "caption_id": 0},
            {"image_id": "b", "image_name": "b", "image_path": "b.jpg", "caption_str": "A cat.", "caption_id": 1},
            {"image_id": "b", "image_name": "b", "image_path": "b.jpg", "caption_str": "Two cats.", "caption_id": 2},
        ],
    },
    "names": {"a.jpg": "A dog.", "b.jpg": ["A cat.", "Two cats."]},
    "names without extension": {"a": "A dog.", "b": ["A cat.", "Two cats."]},
    "kohya": {"images/a.jpg": {"caption": "A dog."}, "images/b.jpg": {"caption": ["A cat.", "Two cats."]}},
    "sentences": [
        {"filename": "a.jpg", "sentences": [{"raw": "A dog.", "sentid": 1}]},
        {"filename": "b.jpg", "sentences": [{"raw": "A cat.", "sentid": 2}, {"raw": "Two cats.", "sentid": 3}]},
    ],
    "Label Studio": [
        {
            "id": 1,
            "data": {"image": name},
            "annotations": [{"result": [{"type": "textarea", "from_name": "caption", "value": {"text": list(texts)}}]}],
        }
        for name, texts in TWO.items()
    ],
    "pandas": {
        "image": {"0": "a.jpg", "1": "b.jpg", "2": "b.jpg"},
        "caption": {"0": "A dog.", "1": "A cat.", "2": "Two cats."},
    },
    "pandas, by row": {
        str(number): {"image": name, "caption": list(texts)} for number, (name, texts) in enumerate(TWO.items())
    },
    "pandas, split": {
        "columns": ["image", "caption"],
        "data": [["a.jpg", "A dog."], ["b.jpg", "A cat."], ["b.jpg", "Two cats."]],
    },
    "columns": {"image": ["a.jpg", "b.jpg", "b.jpg"], "caption": ["A dog.", "A cat.", "Two cats."]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_file", [False, True])
def test_every_form_is_read(tmp_path, form, as_file):
    for name in TWO:
        photo(tmp_path / "images" / name)
    file = write(tmp_path / "some.json", json.dumps(FORMS[form]))
    data = read_records(file if as_file else tmp_path)
    assert data.format == "json" and captions(data) == TWO and data.drawn_splits
    assert {problem.kind for problem in data.problems} <= {"found_elsewhere"}


def test_splits_of_lists_and_files_are_read(tmp_path):
    for name in TWO:
        photo(tmp_path / name)
    lists = {"train": [{"image": "a.jpg", "caption": "A dog."}], "dev": [{"image": "b.jpg", "caption": "A cat."}]}
    write(tmp_path / "all.json", json.dumps(lists))
    data = read_records(tmp_path)
    assert {name: record.split for name, record in by_name(data).items()} == {"a.jpg": "train", "b.jpg": "val"}
    (tmp_path / "all.json").unlink()
    write(tmp_path / "annotations" / "coco_karpathy_train.json", json.dumps([{"image": "a.jpg", "caption": "A dog."}]))
    write(tmp_path / "annotations" / "coco_karpathy_val.json", json.dumps([{"image": "b.jpg", "caption": "A cat."}]))
    data = read_records(tmp_path)
    assert {name: record.split for name, record in by_name(data).items()} == {"a.jpg": "train", "b.jpg": "val"}
    assert not data.problems


def test_bad_entries_are_refused_with_their_position(tmp_path):
    photo(tmp_path / "a.jpg")
    entries = [
        {"image": "a.jpg", "caption": "A dog."},
        {"image": "a.jpg"},
        "a.jpg",
        {"caption": "x", "image": 7},
        {"image": "a.jpg", "caption": "Too dark.", "is_rejected": True},
        {"image": "a.jpg", "caption": "Bad photo.", "is_precanned": True, "is_rejected": True},
        {"image": "gone.jpg", "caption": "Nobody."},
        {"image": "a.jpg", "caption": "A big dog.", "split": "holdout"},
    ]
    data = read_records(write(tmp_path / "x.json", json.dumps(entries)))
    assert captions(data) == {"a.jpg": ("A dog.",)}
    assert positions(data, "bad_entry") == [f"x.json [{index}]" for index in (1, 2, 3, 7)]
    assert positions(data, "rejected_caption") == ["x.json [4]"] and positions(data, "precanned_caption") == [
        "x.json [5]"
    ]
    assert positions(data, "missing_image") == ["x.json [6]"]


def test_unused_keys_are_reported(tmp_path):
    photo(tmp_path / "a.jpg")
    entry = {"caption": "A dog.", "tags": "1dog, solo"}
    data = read_records(write(tmp_path / "meta.json", json.dumps({"a.jpg": entry})))
    assert captions(data) == {"a.jpg": ("A dog.",)}
    assert [str(problem) for problem in data.problems] == ["meta.json: captions are taken from caption, not from tags"]


def test_results_beside_a_data_set_are_not_a_second_one(tmp_path):
    """Captions by image id alone, as captioners write them, count only where nothing else exists."""
    photo(tmp_path / "a.jpg")
    write(tmp_path / "results.json", json.dumps([{"image_id": "a", "caption": "A wolf."}]))
    write(tmp_path / "captions.csv", "image,caption\na.jpg,A dog.\n")
    data = read_records(tmp_path)
    assert data.format == "table" and positions(data, "unused_file") == ["results.json"]
    (tmp_path / "captions.csv").unlink()
    assert read_records(tmp_path).format == "json"


def test_boxes_of_entities_are_not_a_second_data_set(tmp_path):
    photo(tmp_path / "a.jpg")
    entry = {"width": 8, "height": 6, "boxes": {}, "sentences": [{"sentence": "A dog.", "phrases": []}]}
    write(tmp_path / "entities.json", json.dumps({"a.jpg": entry}))
    write(tmp_path / "results.token", "a.jpg#0\tA dog .\n")
    assert read_records(tmp_path).format == "flickr8k"


def test_urls_are_not_fetched(tmp_path):
    file = write(tmp_path / "x.json", json.dumps([{"url": "https://example.org/a.jpg", "caption": "A dog."}]))
    for path in (file, tmp_path):
        with pytest.raises(DataError, match="addresses .https://example.org/a.jpg.*not fetched.*download"):
            read_records(path)
    photo(tmp_path / "photos" / "a.jpg")
    assert captions(read_records(file)) == {"a.jpg": ("A dog.",)}


@pytest.mark.parametrize(
    "content, reason",
    [
        ('[{"image": "a.jpg",\n', "is not JSON .* line 2"),
        ('[{"picture_of": "a.jpg", "words": "A dog."}]', "keys picture_of, words; no image key .* and no caption key"),
        ("[1, 2]", "a list of int"),
        ('{"lr": 1, "epochs": 3}', "an object with the keys lr, epochs"),
    ],
)
def test_the_reason_for_a_refusal_is_given(tmp_path, content, reason):
    file = write(tmp_path / "x.json", content)
    for path in (file, tmp_path):
        with pytest.raises(DataError, match=f"x.json: .*{reason}"):
            read_records(path)


def test_photo_names_without_captions_are_reported_with_their_keys(tmp_path):
    photo(tmp_path / "a.png")
    file = write(tmp_path / "x.json", json.dumps({"a.png": {"p": "A dog.", "se": 3}}))
    for path in (tmp_path, file):
        with pytest.raises(DataError, match="names photos .a.png.*keys p, se, image; no caption key"):
            read_records(path)


def test_the_captioning_key_of_label_studio_names_the_photo(tmp_path):
    photo(tmp_path / "1f-a.jpg")
    records = [{"captioning": "/data/upload/1/1f-a.jpg", "id": 7, "caption": "A dog.", "annotator": 1}]
    write(tmp_path / "p.json", json.dumps(records))
    assert captions(read_records(tmp_path)) == {"1f-a.jpg": ("A dog.",)}
    full = [
        {
            "id": 7,
            "data": {"captioning": "/data/upload/1/1f-a.jpg"},
            "annotations": [{"result": [{"value": {"text": ["A cat."]}}]}],
        }
    ]
    write(tmp_path / "p.json", json.dumps(full))
    assert captions(read_records(tmp_path)) == {"1f-a.jpg": ("A cat.",)}


def test_kohya_metadata_of_windows_is_read(tmp_path):
    photo(tmp_path / "a.png")
    write(
        tmp_path / "meta_lat.json", json.dumps({"C:\\train\\a": {"caption": "A dog.", "train_resolution": [512, 512]}})
    )
    data = read_records(tmp_path)
    assert captions(data) == {"a.png": ("A dog.",)} and len(positions(data, "found_elsewhere")) == 1


def nested(levels):
    value = "A dog."
    for _ in range(levels):
        value = [{"caption": value}]
    return value


@pytest.mark.parametrize(
    "content",
    [
        {"info": {}, "images": [{"id": 1, "file_name": "a.jpg"}], "annotations": {"a": 1}},
        {"info": {}, "images": [{"id": 1, "file_name": "a.jpg"}], "annotations": 5},
        [{"data": {"image": "a.jpg"}, "annotations": [{"result": 5}]}],
        {"columns": [["image"], "caption"], "data": [["a.jpg", "A dog."]]},
        {"image": "a.jpg", "caption": nested(100)},
        [{"image": "a.jpg", "caption": nested(100)}],
    ],
)
def test_odd_values_are_refused_without_a_crash(tmp_path, content):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / "x.json", json.dumps(content))
    for path in (file, tmp_path):
        try:
            assert not read_records(path).records
        except DataError as error:
            assert "x.json" in str(error)


def test_deeply_nested_captions_are_refused(tmp_path):
    photo(tmp_path / "a.jpg")
    line = '{"image": "a.jpg", "caption": ' + '[{"caption": ' * 490 + '"A dog."' + "}]" * 490 + "}\n"
    with pytest.raises(DataError):
        read_records(write(tmp_path / "x.jsonl", line)).split("train")


def test_a_file_of_two_forms_is_read_as_the_first(tmp_path):
    content = {"images": [5], "annotations": [{"image_id": 1, "caption": "A dog."}]}
    assert read_records(write(tmp_path / "captions_train.json", json.dumps(content))).format == "coco"
