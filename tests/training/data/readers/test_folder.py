"""Folders of photos with sidecar files become usable records, and every refusal names its position."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.records import read_records


def test_sidecars_and_split_folders_are_read(tmp_path):
    for name in ("train/a.jpg", "train/deep/b.PNG", "valid/a.jpg", "c.jpg"):
        photo(tmp_path / name)
    write(tmp_path / "train/a.txt", "A dog.\r\n\r\nA brown dog.\r\n")
    write(tmp_path / "train/deep/b.PNG.txt", "A cat.")
    write(tmp_path / "valid/a.txt", "Another dog.")
    write(tmp_path / "c.txt", "Left out.")
    data = read_records(tmp_path)
    assert data.format == "folder" and not data.problems
    assert {record.image_id: (record.split, record.captions) for record in data.records} == {
        "train/a.jpg": ("train", ("A dog.", "A brown dog.")),
        "train/deep/b.PNG": ("train", ("A cat.",)),
        "valid/a.jpg": ("val", ("Another dog.",)),
        "c.jpg": (None, ("Left out.",)),
    }


def test_bad_sidecars_are_refused_with_their_position(tmp_path):
    for name in ("a.jpg", "b.jpg", "two.jpg", "two.png", "empty.jpg"):
        photo(tmp_path / name)
    write(tmp_path / "a.txt", b"A dog.\nA dog.\n?!\n\xe9t\xe9\n")
    write(tmp_path / "two.txt", "Twins.")
    write(tmp_path / "empty.txt", "\n")
    write(tmp_path / "ghost.txt", "Nobody.")
    write(tmp_path / "notes.pdf", b"x")
    write(tmp_path / ".DS_Store", b"x")
    data = read_records(tmp_path)
    assert {record.image_id: record.captions for record in data.records} == {
        "a.jpg": ("A dog.",),
        "two.jpg": ("Twins.",),
    }
    assert positions(data, "repeated_entry") == ["a.txt:2"]
    assert positions(data, "empty_caption") == ["a.txt:3"]
    assert positions(data, "bad_entry") == ["a.txt:4"]
    assert positions(data, "stray_sidecar") == ["ghost.txt", "two.txt"]
    assert positions(data, "uncaptioned_image") == ["b.jpg", "empty.jpg", "two.png"]
    assert positions(data, "unused_file") == ["notes.pdf"]


def test_photos_of_one_name_have_the_shared_text_and_texts_of_their_whole_names(tmp_path):
    for name in ("a.jpg", "a.png", "b.jpg", "b.png", "b.webp"):
        photo(tmp_path / name)
    for name in ("a.txt", "a.png.txt", "b.txt", "b.jpg.txt", "b.webp.txt"):
        write(tmp_path / name, f"The text of {name.removesuffix('.txt')}.")
    data = read_records(tmp_path)
    assert {name: record.captions for name, record in by_name(data).items()} == {
        "a.jpg": ("The text of a.",), "a.png": ("The text of a.png.",),
        "b.jpg": ("The text of b.jpg.",), "b.png": ("The text of b.",), "b.webp": ("The text of b.webp.",),
    }  # fmt: skip
    assert not data.problems


def test_the_images_option_names_another_folder(tmp_path):
    photo(tmp_path / "photos" / "train" / "a.jpg")
    write(tmp_path / "labels" / "train" / "a.txt", "A dog.")
    data = read_records(tmp_path / "labels", format="folder", images=tmp_path / "photos")
    assert [(record.split, record.captions) for record in data.records] == [("train", ("A dog.",))]


@pytest.mark.parametrize("ending", [".caption", ".captions", ".cap", ".text", ".tags", ".TXT"])
def test_sidecars_with_other_suffixes_are_read(tmp_path, ending):
    photo(tmp_path / "a.jpg")
    write(tmp_path / f"a{ending}", "A dog.\n")
    data = read_records(tmp_path)
    assert data.format == "folder" and by_name(data)["a.jpg"].captions == ("A dog.",) and not data.problems


def test_the_likeliest_of_several_sidecars_is_read(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / name)
        write(tmp_path / name.replace("jpg", "tags"), "1dog, solo")
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, "A dog.")
    write(tmp_path / "a.caption", "One dog runs.")
    write(tmp_path / "b.caption", "")
    data = read_records(tmp_path)
    assert {name: record.captions for name, record in by_name(data).items()} == {
        "a.jpg": ("One dog runs.",), "b.jpg": ("A dog.",), "c.jpg": ("1dog, solo",),
    }  # fmt: skip
    messages = sorted(str(problem) for problem in data.problems)
    assert messages[0] == "a.tags: is not used: for a photo with both, .caption is read before .tags"
    assert [problem.kind for problem in data.problems] == ["unused_file"] * 3


def test_many_unused_sidecars_are_reported_in_one_line(tmp_path):
    for name in "abc":
        photo(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.txt", "A dog.")
        write(tmp_path / f"{name}.json", '{"caption": "A dog.", "url": "https://example.org"}')
    (problem,) = read_records(tmp_path).problems
    assert str(problem).startswith("a.json: is not used, nor are 2 more .json: for a photo with both")


def test_json_sidecars_are_read(tmp_path):
    for name in "ab":
        photo(tmp_path / f"{name}.jpg")
    write(tmp_path / "a.json", '{"caption": "A dog."}')
    write(tmp_path / "b.json", '{"camera": "x"}')
    data = read_records(tmp_path)
    assert data.format == "folder" and by_name(data)["a.jpg"].captions == ("A dog.",)
    assert positions(data, "unused_file") == ["b.json"]


def test_texts_in_a_separate_folder_are_read(tmp_path):
    for name in ("images/train/a.jpg", "images/b.jpg", "images/c.jpg", "images/x/c.jpg"):
        photo(tmp_path / name)
    for name in "abcd":
        write(tmp_path / "text" / f"{name}.txt", f"Caption {name}.")
    data = read_records(tmp_path)
    assert data.format == "folder"
    assert {name: record.captions for name, record in by_name(data).items()} == {
        "a.jpg": ("Caption a.",), "b.jpg": ("Caption b.",),
    }  # fmt: skip
    assert positions(data, "stray_sidecar") == ["text/c.txt", "text/d.txt"]  # two photos c.jpg: ambiguous


@pytest.mark.parametrize("texts", ["labels", "images"])
def test_yolo_boxes_are_not_captions(tmp_path, texts):
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.jpg")
        write(tmp_path / texts / f"{name}.txt", "0 0.5 0.5 0.25 0.125\n17 0.5 1e-3 1 1\n")
    with pytest.raises(DataError, match="2 photos, none with a text .* boxes in YOLO's format instead of captions: 2"):
        read_records(tmp_path)
    write(tmp_path / "images" / "a.caption", "A dog.")
    write(tmp_path / "images" / "b.caption", "2 dogs 3 cats 4 cows 5 hens")
    data = read_records(tmp_path)
    assert by_name(data)["a.jpg"].captions == ("A dog.",) and len(data.records) == 2


def test_a_table_is_found_among_many_sidecars(tmp_path):
    for number in range(60):
        write(tmp_path / f"{number}.txt", "A dog.")
    photo(tmp_path / "0.jpg")
    write(tmp_path / "captions.txt", "image,caption\n0.jpg,A cat.\n")
    assert read_records(tmp_path).format == "table"


def test_names_match_despite_case_and_unicode_form(tmp_path):
    """Windows and macOS consider such names equal, and archives carry them to systems that do not."""
    for name, text in (("IMG_1.JPG", "img_1.TXT"), ("u\u0308ber.jpg", "über.txt"), ("B.jpg", "b.jpg.txt")):
        photo(tmp_path / name)
        write(tmp_path / text, f"A dog {name[0]}.")
    data = read_records(tmp_path)
    assert data.format == "folder" and not data.problems
    assert by_name(data)["IMG_1.JPG"].captions == ("A dog I.",) and len(data.records) == 3


def test_a_sidecar_in_another_case_never_adds_to_a_photo_with_its_own(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / name)
        write(tmp_path / f"{name[0]}.txt", "A dog.")
    write(tmp_path / "A.TXT", "A cat.")
    data = read_records(tmp_path)
    assert by_name(data)["a.jpg"].captions == ("A dog.",) and positions(data, "stray_sidecar") == ["A.TXT"]


def test_texts_about_the_data_set_do_not_count_as_lost_captions(tmp_path):
    photo(tmp_path / "a.jpg")
    for name in ("a.txt", "README.txt", "license.txt", "lost.txt"):
        write(tmp_path / name, "A dog.")
    data = read_records(tmp_path)
    assert positions(data, "unused_file") == ["README.txt", "license.txt"] and positions(data, "stray_sidecar") == [
        "lost.txt"
    ]


@pytest.mark.parametrize("ending", ["docx", "md", "xmp"])
def test_files_of_other_kinds_beside_the_photos_are_named(tmp_path, ending):
    for name in "ab":
        photo(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.{ending}", "A dog.")
    with pytest.raises(DataError, match=rf"files of the same names that are not read: 2 \.{ending}; save .* as \.txt"):
        read_records(tmp_path)


def test_the_text_of_one_photo_is_refused_as_a_data_set(tmp_path):
    photo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="is the text of one photo, a.jpg: give the folder"):
        read_records(write(tmp_path / "a.txt", "A dog."))


def test_google_takeout_sidecars_are_read(tmp_path):
    for name, ending in (("a.jpg", "json"), ("b.jpg", "supplemental-metadata.json")):
        photo(tmp_path / name)
        write(tmp_path / f"{name}.{ending}", json.dumps({"title": name, "description": "A dog.", "imageViews": "3"}))
    data = read_records(tmp_path)
    assert [record.captions for record in data.records] == [("A dog.",)] * 2 and not data.problems
