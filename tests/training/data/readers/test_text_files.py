"""Files named like text or JSON that are something else are identified, with advice."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.lost_captions import lost_captions
from training.data.readers.text_files import why_no_text
from training.data.records import read_records

RTF = "{\\rtf1\\ansi\\ansicpg1252\n{\\fonttbl\\f0\\fswiss Helvetica;}\n\\f0 A dog.}"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (RTF, "rich-text document: save it as plain text"),
        (b"PK\x03\x04\x14\0", "spreadsheet, a document or an archive: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document: save it as CSV"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF document"),
        (b"\x1f\x8b\x08\0", "compressed with gzip: unpack"),
        (LFS, "Git LFS pointer .*run git lfs pull"),
        ("\ufeff\n<!DOCTYPE html>\n<html><body>Sign in</body>", "web page: download the file itself"),
    ],
)
@pytest.mark.parametrize("name", ["captions.csv", "captions.json", "captions.jsonl"])
def test_a_file_that_is_no_text_is_identified(tmp_path, name, content, message):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / name, content)
    for path in (tmp_path, file):
        with pytest.raises(DataError, match=rf"(?s){name}.*{message}"):
            read_records(path)


@pytest.mark.parametrize("content", [RTF, b"PK\x03\x04\x14\0\x06", LFS, "<html>\n404</html>"])
def test_a_file_that_is_no_text_is_no_sidecar(tmp_path, content):
    for name in ("a", "b", "c"):
        photo(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.txt", content if name == "a" else "A cat.")
    data = read_records(tmp_path)
    assert set(by_name(data)) == {"b.jpg", "c.jpg"} and positions(data, "bad_entry") == ["a.txt"]
    assert lost_captions(data.problems) == "1 caption not used: 1 in lines that cannot be read."


@pytest.mark.parametrize("text", ["a dog", "", "PK", "{\\r", "<3 dogs", "version 2 of a dog", "<htmldog"])
def test_text_is_accepted(text):
    assert why_no_text(text.encode()) is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ('[{"image": "a.jpg", "caption": "A dog', "cut short, so fetch or write it again"),
        ('[{"image": "a.jpg", "caption": "A dog"}', "cut short"),
        ('[{"image": "a.jpg", "caption": "A dog."},\n]', "remove the comma before it"),
        ('[{"image": "a.jpg", "caption": "A dog.",}]', "remove the comma before it"),
        ("[{'image': 'a.jpg', 'caption': 'A dog.'}]", "Python syntax.*json.dump"),
        ('[{"image": "a.jpg", "caption": "A dog."}]\n[]', "more follows"),
        ('[{"image": "a.jpg", "caption": "für"}]'.encode("cp1252"), "is not UTF-8 text .byte 34.: save it as UTF-8"),
        ('[{"image": "a.jpg", "n": ' + "9" * 5000 + "}]", "a number of more than 4,300 digits"),
    ],
)
@pytest.mark.parametrize("name", ["captions.json", "x.json"])
def test_broken_json_is_reported_with_advice(tmp_path, name, text, message):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / name, text)
    for path in (tmp_path, file):
        with pytest.raises(DataError, match=rf"{name}.*{message}"):
            read_records(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl", "captions.json"])
def test_utf16_without_a_byte_order_mark_is_read(tmp_path, name, encoding):
    photo(tmp_path / "a.jpg")
    text = "image,caption\na.jpg,Ein Hündchen\n"
    if name != "captions.csv":
        text = json.dumps({"image": "a.jpg", "caption": "Ein Hündchen"}, ensure_ascii=False)
        text = f"[{text}]" if name.endswith(".json") else text
    write(tmp_path / name, text.encode(encoding))
    (record,) = read_records(tmp_path).records
    assert record.captions == ("Ein Hündchen",)
