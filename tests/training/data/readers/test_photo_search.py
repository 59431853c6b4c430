"""Photos missing at their path are found by name, stem or number if the match is unique."""

import json
import os

import pytest

from tests.support.tiny_data_sets import photo, positions, write
from training.data.readers import photos
from training.data.records import read_records


def table(folder, *names):
    rows = "".join(f"{name},a dog on the beach number {number}\n" for number, name in enumerate(names))
    return write(folder / "captions.csv", f"image,caption\n{rows}")


def relocations(data):
    """Return the name in the file -> the path found for it."""
    messages = [problem.message for problem in data.problems if problem.kind == "found_elsewhere"]
    return {
        text.partition(" is found as ")[0]: text.partition(" is found as ")[2].partition(":")[0] for text in messages
    }


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "images/a.jpg"),  # no suffix
        ("a.v2", "images/a.v2.jpg"),  # a dot in the name
        ("a.png", "images/a.jpg"),  # the photos were converted
        ("/home/someone/set/images/a.jpg", "images/a.jpg"),
        ("C:\\Users\\someone\\a.JPG", "pictures of 2019/a.jpg"),
        ("https://example.org/files/a%20b.jpg?size=9", "images/a b.jpg"),
        ("139", "val2017/000000000139.jpg"),  # leading zeros dropped by a spreadsheet
        ("139.0", "val2017/000000000139.jpg"),  # a numeric column with missing values
        ("139.jpg", "COCO_val2014_000000000139.jpg"),
        ("a.jpg", "some/where/deep/a.jpg"),
    ],
)
def test_a_photo_is_found_by_its_name(tmp_path, name, file):
    photo(tmp_path / file)
    photo(tmp_path / "images" / "b.jpg")
    table(tmp_path, name, "b.jpg")
    data = read_records(tmp_path)
    assert [record.path.relative_to(tmp_path).as_posix() for record in data.records] == [file, "images/b.jpg"]
    assert positions(data, "found_elsewhere") == ["captions.csv:2"] and list(relocations(data).values()) == [file]
    assert not positions(data, "missing_image") and not positions(data, "uncaptioned_image")


def test_a_folder_not_named_after_the_json_is_searched(tmp_path):
    photo(tmp_path / "jpegs" / "1.jpg")
    content = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
    write(tmp_path / "annotations" / "captions_train.json", json.dumps(content))
    (record,) = read_records(tmp_path).records
    assert record.path == tmp_path / "jpegs" / "1.jpg"


def test_folders_in_the_name_decide_between_several_photos(tmp_path):
    for folder in ("red/cats", "red/dogs", "blue/dogs"):
        photo(tmp_path / folder / "1.jpg")
    table(tmp_path, "/data/red/dogs/1.jpg")
    assert list(relocations(read_records(tmp_path)).values()) == ["red/dogs/1.jpg"]


def test_an_ambiguous_name_matches_no_photo_and_the_candidates_are_named(tmp_path):
    for folder in ("cats", "dogs"):
        photo(tmp_path / folder / "1.jpg")
    table(tmp_path, "1.jpg")
    data = read_records(tmp_path)
    (problem,) = [problem for problem in data.problems if problem.kind == "missing_image"]
    assert not data.records and problem.lost == 1
    assert "may be cats/1.jpg or dogs/1.jpg" in problem.message and "--images" in problem.message


def test_two_entries_never_share_a_found_photo(tmp_path):
    photo(tmp_path / "images" / "1.jpg")
    photo(tmp_path / "images" / "2.jpg")
    table(tmp_path, "x/1.jpg", "y/1.jpg", "2.jpg", "z/2.jpg")
    data = read_records(tmp_path)
    assert [record.path.name for record in data.records] == ["2.jpg"]
    assert positions(data, "missing_image") == ["captions.csv:2", "captions.csv:3", "captions.csv:5"]


def test_a_photo_in_the_folder_of_another_split_is_reported_and_not_used(tmp_path):
    photo(tmp_path / "val" / "1.jpg")
    photo(tmp_path / "train" / "2.jpg")
    table(tmp_path, "train/1.jpg", "train/2.jpg")
    data = read_records(tmp_path)
    (problem,) = [problem for problem in data.problems if problem.kind == "missing_image"]
    assert len(data.records) == 1 and "val/1.jpg has that name, but lies in the folder of another split" in str(problem)


def test_photos_outside_the_images_folder_are_reported(tmp_path):
    photo(tmp_path / "set" / "jpegs" / "1.jpg")
    photo(tmp_path / "other" / "9.jpg")
    table(tmp_path / "set", "1.jpg")
    data = read_records(tmp_path / "set", images=tmp_path / "other")
    assert not data.records
    assert any(
        "a photo of that name lies in jpegs: name that folder by --images" in str(problem) for problem in data.problems
    )


def test_photos_beside_the_folder_of_a_caption_file_are_reported_and_not_used(tmp_path):
    photo(tmp_path / "photos" / "1.jpg")
    data = read_records(table(tmp_path / "texts", "1"))
    assert not data.records
    (problem,) = [problem for problem in data.problems if problem.kind == "missing_image"]
    assert f"lies in {tmp_path / 'photos'}: name that folder by --images" in problem.message
    assert not any(str(tmp_path / "photos") in str(problem) for problem in read_records(tmp_path / "texts").problems)


def test_nothing_outside_the_data_set_is_ever_used(tmp_path):
    photo(tmp_path / "secret.jpg")
    table(tmp_path / "set", "../secret", str(tmp_path / "secret.jpg"), "secret")
    data = read_records(tmp_path / "set")
    assert not data.records and len(positions(data, "missing_image")) == 3


def test_a_folder_is_searched_once_and_only_if_a_photo_is_missing(tmp_path, monkeypatch):
    walks = []
    real = os.walk
    monkeypatch.setattr(photos.os, "walk", lambda *args, **kwargs: walks.append(args) or real(*args, **kwargs))
    for number in range(30):
        photo(tmp_path / "images" / f"{number}.jpg")
    table(tmp_path, *(f"{number}.jpg" for number in range(30)))
    assert len(read_records(tmp_path).records) == 30 and not walks
    table(tmp_path, *(f"/srv/{number}.jpeg" for number in range(30)))
    assert len(relocations(read_records(tmp_path))) == 30 and len(walks) == 1
