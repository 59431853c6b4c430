"""Files, folders and globs are resolved to photos."""

from pathlib import Path

import pytest

from captioner.errors import ImageError
from captioner.images.finding import MAX_NAMED, SkippedFiles, find_images


@pytest.fixture
def album(tmp_path) -> Path:
    names = "b.jpg a.PNG notes.txt ._b.jpg trip/c.webp trip/deep/d.jpeg .cache/e.jpg no/x.md"
    for name in names.split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_folders_give_their_photos_sorted_and_once(album):
    assert find_images([album]) == [album / "a.PNG", album / "b.jpg"]
    assert find_images([album / "b.jpg", album, str(album / "." / "b.jpg")]) == [album / "b.jpg", album / "a.PNG"]
    assert find_images([album], recursive=True) == [
        album / "a.PNG",
        album / "b.jpg",
        album / "trip/c.webp",
        album / "trip/deep/d.jpeg",
    ]


def test_globs_give_their_matches(album):
    assert find_images([str(album / "*")]) == [album / "a.PNG", album / "b.jpg"]
    deep = [album / "b.jpg", album / "trip/c.webp", album / "trip/deep/d.jpeg"]
    assert find_images([str(album / "**" / "*.[jw]*")]) == deep
    (album / "odd[1].jpg").write_bytes(b"x")
    assert find_images([album / "odd[1].jpg"]) == [album / "odd[1].jpg"]
    with pytest.raises(ImageError, match="matches is an image"):
        find_images([str(album / "*.txt")])


def test_an_explicitly_named_file_is_kept(album):
    paths = [album / "missing.jpg", album / "notes.txt", album / "none*.jpg"]
    assert find_images(paths) == paths


def test_a_folder_without_images_is_named(album):
    with pytest.raises(ImageError, match="no holds no images"):
        find_images([album / "no"])
    with pytest.raises(ImageError, match="name a folder with photos"):
        find_images([album / "no"], recursive=True)


@pytest.fixture
def mixed(tmp_path):
    """A folder of one photo and of other files found among photos."""
    folder = tmp_path / "mixed"
    (folder / "trip").mkdir(parents=True)
    files = {
        "a.jpg": b"x", "IMG_1.MOV": b"\0\0\0\x14ftypqt  " + bytes(20), "b.pdf": b"%PDF-1.7", "c.txt": b"a dog",
        "d.CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(9), "e": b"\xff\xd8\xff\xe0" + bytes(9), "f.bin": b"\x01\xff",
        "g.xyz": b"", ".DS_Store": b"x", "._a.jpg": b"x", ".IMG_2.HEIC.icloud": b"bplist00",
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_skipped_files_of_a_folder_are_counted_and_identified(mixed):
    others = SkippedFiles()
    assert find_images([mixed, mixed], skipped=others) == [mixed / "a.jpg"]
    assert others.count == 8, others.summary()
    summary = others.summary()
    assert summary.startswith("8 files were skipped: ")
    for description in (
        "IMG_1.MOV (a video: save one of its frames as JPEG)", "b.pdf (a PDF document: ", "c.txt (a text)",
        "d.CR2 (a camera's raw photo: develop it", "e (a JPEG photo without an image's extension: rename it",
        "f.bin (an unknown type)", "g.xyz (empty)",
        ".IMG_2.HEIC.icloud (a placeholder for a photo that is still in iCloud",
        f"1 folder was not searched ({mixed / 'trip'}): add --recursive",
    ):  # fmt: skip
        assert description in summary, description
    assert ".DS_Store" not in summary and "._a" not in summary
    others = SkippedFiles()
    find_images([mixed], recursive=True, skipped=others)
    assert others.count == 8 and "searched" not in others.summary()
    others = SkippedFiles()
    find_images([str(mixed / "[a-c]*")], skipped=others)
    assert others.count == 2, "for a glob, its matches"


def test_only_some_of_many_skipped_files_are_named_and_opened(tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / f"{number:02d}.txt").write_text("a dog")
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "z.JSON").write_bytes(b"{}")
    others = SkippedFiles()
    find_images([tmp_path], skipped=others)
    summary = others.summary()
    assert others.count == 31 and summary.count("(a text)") == MAX_NAMED
    assert summary.endswith("and 21 more (20 .txt, 1 .json)")


def test_no_skipped_files_give_no_message(album):
    others = SkippedFiles()
    find_images([album / "b.jpg"], skipped=others)
    assert not others


def test_the_error_for_a_folder_without_photos_names_its_content(mixed):
    (mixed / "a.jpg").unlink()
    others = SkippedFiles()
    with pytest.raises(ImageError, match="mixed holds no images.*; 8 files were skipped: .*IMG_1.MOV") as error:
        find_images([mixed], skipped=others)
    assert not others, "the files are reported once"
    assert "\n" not in str(error.value)


def test_files_beyond_the_named_ones_are_counted_by_suffix():
    others, more = SkippedFiles(), SkippedFiles()
    for number in range(MAX_NAMED):
        others.add(f"s3://a/{number}.txt")
        more.add(f"s3://b/{number}.pdf", b"%PDF-1.7" if number else None)
    others.include(more)
    assert others.summary().endswith(f"and {MAX_NAMED} more ({MAX_NAMED} .pdf)")
