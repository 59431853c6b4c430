"""Samples of large JSON files show the same as those of small ones."""

import json

import pytest

from tests.support.tiny_data_sets import write
from training.data.readers import json_peek
from training.data.readers.json_peek import peek

IMAGES = [{"id": number, "file_name": f"{number}.jpg"} for number in range(200)]
CONTENTS = [
    {"info": {"year": 2017}, "images": IMAGES, "annotations": [{"image_id": 1, "caption": 'a "cat", {é}'}] * 200},
    {"annotations": [{"image_id": 1, "caption": '"images": ['}] * 200, "images": IMAGES},
    IMAGES,
    {f"{number}.jpg": ["a", "b"] for number in range(90)},
    {"images": [], "annotations": []},
    {"data": IMAGES, "other": 1},
]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_the_sample_of_a_large_file_looks_like_that_of_a_small_one(tmp_path, monkeypatch, content, indent):
    file = write(tmp_path / "x.json", "\ufeff" + json.dumps(content, indent=indent, ensure_ascii=False))
    full = peek(file)
    for name, value in (("_WHOLE_BYTES", 0), ("_HEAD_BYTES", 1200), ("_WINDOW_BYTES", 400)):
        monkeypatch.setattr(json_peek, name, value)
    sample = peek(file).sample
    assert full.error is None and type(sample) is type(full.sample)
    if isinstance(sample, dict):
        keys = ("images", "annotations", "data")
        assert all(sample[key][:1] == full.sample[key][:1] for key in keys if key in full.sample)
        assert next(iter(sample.items()))[0] == next(iter(full.sample))
    else:
        assert sample[:3] == content[:3]


@pytest.mark.parametrize("text", ["{", "", "no", "\udcff"])
@pytest.mark.parametrize("large", [False, True])
def test_text_that_is_not_json_is_an_error(tmp_path, monkeypatch, text, large):
    if large:
        monkeypatch.setattr(json_peek, "_WHOLE_BYTES", -1)
    file = write(tmp_path / "x.json", text.encode("utf-8", "surrogateescape"))
    sample = peek(file)
    assert sample.sample is None and "is not JSON" in sample.error
    assert "cannot be read" in peek(tmp_path / "gone.json").error
