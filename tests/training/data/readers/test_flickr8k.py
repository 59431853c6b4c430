"""Flickr8k token files become usable records, and every refusal names its position."""

import pytest

from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.records import read_records


@pytest.fixture
def folder(tmp_path):
    tokens = [f"{name}.jpg#{number}\t{name} {number} ." for name in "abcd" for number in range(2)]
    write(tmp_path / "Flickr8k.token.txt", "\n".join(tokens) + "\n")
    for split, names in (("train", "a"), ("dev", "b"), ("test", "c")):
        write(tmp_path / f"Flickr_8k.{split}Images.txt", "".join(f"{name}.jpg\n" for name in names))
    for photo_name in ("sample-images/train/a", "sample-images/dev/b", "Flicker8k_Dataset/c", "d"):
        photo(tmp_path / f"{photo_name}.jpg")
    return tmp_path


def test_official_splits_leave_other_photos_out(folder):
    data = read_records(folder)
    assert data.format == "flickr8k" and not data.problems and not data.drawn_splits
    splits = {record.image_id: record.split for record in data.records}
    assert splits == {"a.jpg": "train", "b.jpg": "val", "c.jpg": "test", "d.jpg": None}
    assert by_name(data)["a.jpg"].captions == ("a 0 .", "a 1 .")


def test_lists_of_missing_photos_still_count_as_splits(folder):
    for name in ("sample-images/train/a", "sample-images/dev/b", "Flicker8k_Dataset/c"):
        (folder / f"{name}.jpg").unlink()
    data = read_records(folder)
    assert [record.split for record in data.records] == [None] and not data.drawn_splits


def test_bad_lines_are_refused_with_their_position(folder):
    with open(folder / "Flickr8k.token.txt", "ab") as file:
        file.write(b"no tab here\na.jpg.1#0\todd name\na.jpg#0\ta 0 .\na.jpg#9\t .\nb.jpg#7\t\xff\xfe\ne.jpg#0\tlost\n")
    write(folder / "Flickr_8k.devImages.txt", "b.jpg\nb.jpg\nghost.jpg\n")
    write(folder / "Flickr_8k.testImages.txt", "c.jpg\nb.jpg\n")
    write(folder / "boxes.json.gz", b"x")
    photo(folder / "extra.jpg")
    data = read_records(folder)
    assert len(data.records) == 4 and by_name(data)["b.jpg"].split == "val"
    assert set(positions(data, "bad_entry")) == {f"Flickr8k.token.txt:{line}" for line in (9, 10, 13)}
    assert positions(data, "repeated_entry") == ["Flickr_8k.devImages.txt:2", "Flickr8k.token.txt:11"]
    assert positions(data, "empty_caption") == ["Flickr8k.token.txt:12"]
    assert positions(data, "unknown_image") == ["Flickr_8k.devImages.txt:3"]
    assert positions(data, "two_splits") == ["Flickr_8k.testImages.txt:2"]
    assert positions(data, "missing_image") == ["Flickr8k.token.txt:14"]
    assert positions(data, "uncaptioned_image") == ["extra.jpg"]
    assert positions(data, "unused_file") == ["boxes.json.gz"]


def test_flickr30k_without_lists_gets_drawn_splits(tmp_path):
    write(tmp_path / "results_20130124.token", "1.jpg#0\tTwo men .\n2.jpg#0\tA dog .\n")
    for name in "12":
        photo(tmp_path / "flickr30k-images" / f"{name}.jpg")
    data = read_records(tmp_path)
    assert data.format == "flickr8k" and data.drawn_splits
    assert sorted(record.split for record in data.records) == ["train", "val"]


def test_the_first_of_several_photos_with_one_name_is_used_and_the_others_are_reported(folder):
    photo(folder / "resized" / "d.jpg")
    data = read_records(folder)
    (problem,) = [problem for problem in data.problems if problem.kind == "same_name"]
    assert by_name(data)["d.jpg"].path == folder / "d.jpg"
    assert "d.jpg is used, and not resized/d.jpg of the same name" in problem.message


def test_texts_and_photos_unpacked_side_by_side_are_read(tmp_path):
    """Flickr8k_text.zip and Flickr8k_Dataset.zip, with everything that the release holds."""
    for name in "abc":
        photo(tmp_path / "Flicker8k_Dataset" / f"{name}.jpg")
    texts = tmp_path / "Flickr8k_text"
    for kind in ("token", "lemma.token"):
        write(texts / f"Flickr8k.{kind}.txt", "".join(f"{name}.jpg#0\tA {kind} runs .\n" for name in "abc"))
    for split, name in (("train", "a"), ("dev", "b"), ("test", "c")):
        write(texts / f"Flickr_8k.{split}Images.txt", f"{name}.jpg\n")
    write(texts / "readme.txt", "Read me.\n")
    data = read_records(tmp_path)
    assert data.format == "flickr8k" and data.root == tmp_path
    assert {record.image_id: record.split for record in data.records} == {
        "a.jpg": "train",
        "b.jpg": "val",
        "c.jpg": "test",
    }
    assert by_name(data)["a.jpg"].captions == ("A token runs .",)
    lemmas, readme = sorted(problem.message for problem in data.problems)[::-1]
    assert sorted(positions(data, "unused_file")) == [
        "Flickr8k_text/Flickr8k.lemma.token.txt",
        "Flickr8k_text/readme.txt",
    ]
    assert "basic forms" in lemmas + readme
