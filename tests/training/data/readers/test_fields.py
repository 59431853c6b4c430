"""The keys of photos and captions in a record are recognised, and captions are read from any value."""

import pytest

from training.data.readers.fields import captions_of, explain_missing, find_fields, flagged_problem, photo_names


@pytest.mark.parametrize(
    "keys, image, captions",
    [
        (["image", "caption"], "image", ["caption"]),
        (["filepath", "title"], "filepath", ["title"]),
        (["Image Path", "Alt-Text"], "Image Path", ["Alt-Text"]),
        (["fileName", "prompt"], "fileName", ["prompt"]),
        (["img", "description"], "img", ["description"]),
        (["image_name", "comment_number", "comment"], "image_name", ["comment"]),
        (["filename", "caption_10", "caption_2", "caption_0"], "filename", ["caption_0", "caption_2", "caption_10"]),
        (["image", "caption", "caption_2"], "image", ["caption", "caption_2"]),
        (["image", "text1", "text2"], "image", ["text1", "text2"]),
        (["image", "caption_id", "caption_en"], "image", ["caption_en"]),
        (["image_id", "image_path", "caption_str", "reference_strs"], "image_path", ["caption_str"]),
        (["raw", "sentids", "split", "filename", "img_id"], "filename", ["raw"]),
        (["image", "alt", "title"], "image", ["title"]),
    ],
)
def test_key_names_in_use_are_recognised(keys, image, captions):
    fields = find_fields(keys)
    assert fields.image[0] == image and list(fields.captions) == captions and not fields.weak


@pytest.mark.parametrize(
    "keys, reason",
    [
        (["filepath", "size"], "columns filepath, size; no caption column (caption, title, text, ...)"),
        (["colour", "caption"], "columns colour, caption; no image column (image, file_name, path, ...)"),
        (["url", "size"], "the photos are addresses (url), which are not fetched"),
        (["image", "caption_en", "caption_de"], "no caption column is certain: of caption_en, caption_de, call"),
        ([], "no columns"),
    ],
)
def test_missing_keys_are_explained(keys, reason):
    assert find_fields(keys) is None and reason in explain_missing(keys)


@pytest.mark.parametrize("keys", [["image_id", "caption"], ["url", "caption"], ["id", "text"]])
def test_ids_and_urls_are_weak_signs(keys):
    assert find_fields(keys).weak


@pytest.mark.parametrize(
    "record, captions",
    [
        ({"caption": "A dog."}, ["A dog."]),
        ({"caption": ["A dog.", "A cat."]}, ["A dog.", "A cat."]),
        ({"caption": '["A dog.", "A \\"cat\\"."]'}, ["A dog.", 'A "cat".']),
        ({"caption": "['A dog.', \"A cat's.\"]"}, ["A dog.", "A cat's."]),
        ({"caption": "[unclear] a dog"}, ["[unclear] a dog"]),
        ({"caption": [{"raw": "A dog."}, {"raw": "A cat."}]}, ["A dog.", "A cat."]),
        ({"caption": {"text": ["A dog."]}}, ["A dog."]),
        ({"caption": 7}, [7]),
        ({"caption_0": "A dog.", "caption_1": "", "caption_2": None, "caption_3": "A cat."}, ["A dog.", "A cat."]),
    ],
)
def test_captions_are_read_from_any_value(record, captions):
    assert captions_of(record, find_fields(["image", *record])) == captions


@pytest.mark.parametrize(
    "record, names",
    [
        ({"image": " a.jpg "}, ["a.jpg"]),
        ({"image": ["a.jpg"]}, ["a.jpg"]),
        ({"image": {"bytes": None, "path": "a.jpg"}}, ["a.jpg"]),
        ({"image": "/data/local-files/?d=holiday/a%20b.jpg"}, ["holiday/a b.jpg"]),
        ({"image": "https://example.org/x/a.jpg?size=9"}, ["https://example.org/x/a.jpg?size=9"]),
        ({"filename": "a.jpg", "filepath": "val2014"}, ["val2014/a.jpg", "a.jpg", "val2014"]),
        ({"image_id": 42}, ["42", "000000000042"]),
        ({"image": 42}, []),
        ({"image": None}, []),
    ],
)
def test_photo_names_are_read(record, names):
    assert photo_names(record, find_fields([*record, "caption"])) == names


@pytest.mark.parametrize("value", [True, "True", "1", 1, False, "false", "", None, 0])
def test_flags_mark_rejected_captions(value):
    record = {"image": "a.jpg", "caption": "x", "is_rejected": value}
    rejected = value in (True, "True", "1")
    assert flagged_problem(record, find_fields(record).flags) == ("rejected_caption" if rejected else None)
