"""Records refuse what some format cannot hold, and read their photo from any source."""

import io

import pytest

from captioner.errors import DataError
from captioner.exports import ExportRecord
from tests.support.exported_photos import odd_records


def test_a_photo_is_read_from_its_path_its_content_or_an_opener(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"photo")
    opened = []

    def open_photo():
        opened.append(io.BytesIO(b"photo"))
        return opened[-1]

    for source in (tmp_path / "a.jpg", b"photo", open_photo):
        assert ExportRecord("a.jpg", ("a dog",), source).read() == b"photo"
    assert opened[0].closed


def test_a_photo_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="photo a.jpg cannot be read .*No such file.*: put it back"):
        ExportRecord("a.jpg", ("a dog",), tmp_path / "a.jpg").read()
    with pytest.raises(DataError, match="photo a.jpg cannot be exported"):
        ExportRecord("a.jpg", ("a dog",)).read()


@pytest.mark.parametrize(
    ("name", "captions", "reason"),
    [
        ("a.jpg", (), "a.jpg has no caption"),
        ("a.jpg", ("fine", "half a \ud83d dog"), "caption of a.jpg is not text"),
        ("a.jpg", ("a \x00 dog",), r"control character U\+0000"),
        ("a.jpg", ("a \x1b[31m dog",), r"control character U\+001B"),
        ("a\ud83d.jpg", ("a dog",), "name 'a.ud83d.jpg' is not text"),
    ],
)
def test_a_text_that_no_markup_can_hold_is_refused(name, captions, reason):
    with pytest.raises(DataError, match=reason):
        ExportRecord(name, captions)


def test_odd_texts_and_names_that_are_not_utf8_are_accepted():
    assert len(odd_records()) == 10
    ExportRecord("caf\udce9.jpg", ("a dog",))
