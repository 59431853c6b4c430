"""Folders of photos and sidecars that the tests draw: usable records, and every refusal with its place."""

from training.records import read_records

from .drawing import photo, places, write


def test_sidecars_and_split_folders(tmp_path):
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


def test_what_is_refused(tmp_path):
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
    assert places(data, "repeated_entry") == ["a.txt:2"]
    assert places(data, "empty_caption") == ["a.txt:3"]
    assert places(data, "bad_entry") == ["a.txt:4"]
    assert places(data, "stray_sidecar") == ["ghost.txt", "two.txt"]
    assert places(data, "uncaptioned_image") == ["b.jpg", "empty.jpg", "two.png"]
    assert places(data, "unused_file") == ["notes.pdf"]


def test_photos_in_another_folder(tmp_path):
    photo(tmp_path / "photos" / "train" / "a.jpg")
    write(tmp_path / "labels" / "train" / "a.txt", "A dog.")
    data = read_records(tmp_path / "labels", format="folder", images=tmp_path / "photos")
    assert [(record.split, record.captions) for record in data.records] == [("train", ("A dog.",))]
