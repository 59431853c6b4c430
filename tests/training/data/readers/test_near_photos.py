"""Files that resemble photos are counted and named with their kind in every layout."""

import pytest

from tests.support.tiny_data_sets import photo, write
from training.data.readers.near_photos import skip_reason
from training.data.records import read_records


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.CR2", "raw photo, which is not read: develop it in a photo editor and export it as JPEG"),
        ("a.mp4", "a video, which is not read: save one of its frames as JPEG"),
        ("a.MOV", "a video"),
        ("a.pdf", "in PDF, which is not read: export it as JPEG or PNG"),
        ("a.svg", "in SVG, which is not read"),
        ("a.psd", "in PSD, which is not read"),
    ],
)
def test_a_file_similar_to_a_photo_is_named_with_its_kind_and_advice(name, reason):
    assert reason in skip_reason(name)


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.webp", "a.txt", "a.json", "a.csv", "a.caption", "a", "Thumbs.db", "a.npy"]
)
def test_photos_and_texts_are_not_reported(name):
    assert skip_reason(name) is None


@pytest.mark.parametrize("layout", ["table", "folder"])
def test_such_files_are_counted_in_every_layout(tmp_path, layout):
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.jpg")
        if layout == "folder":
            write(tmp_path / "images" / f"{name}.txt", "a dog on the beach")
    if layout == "table":
        write(tmp_path / "captions.csv", "image,caption\na.jpg,a dog\nb.jpg,a cat\n")
    for name in ("images/c.NEF", "images/d.mp4", "e.psd"):
        write(tmp_path / name, b"x")
    data = read_records(tmp_path)
    messages = {problem.file: problem.message for problem in data.problems if problem.kind == "unused_file"}
    assert data.format == layout and set(messages) == {"images/c.NEF", "images/d.mp4", "e.psd"}
    assert all("not read" in message for message in messages.values())
