"""Every format has a name, a media type and a stream, and streams are fast."""

import io
import sys
import time

import pytest

from captioner.errors import ConfigError, DataError
from captioner.exports import (
    EXPORT_FORMATS,
    ExportOptions,
    ExportRecord,
    export_chunks,
    export_file,
    write_export,
)
from tests.support.exported_photos import many_records, odd_records


def test_all_formats_of_the_api_exist():
    assert set(EXPORT_FORMATS) == {
        "txt", "caption", "metadata", "csv", "jsonl", "coco", "webdataset", "html", "xmp",
    }  # fmt: skip


@pytest.mark.parametrize("name", EXPORT_FORMATS)
@pytest.mark.parametrize("photos", [False, True])
def test_the_name_and_media_type_fit_the_content(name, photos):
    file = io.BytesIO()
    made = write_export(name, odd_records(), file, ExportOptions(photos=photos))
    assert made == export_file(name, ExportOptions(photos=photos))
    content = file.getvalue()
    is_zip = content.startswith(b"PK\x03\x04")
    assert is_zip == (made.media_type == "application/zip") == made.file_name.endswith(".zip")
    assert (made.media_type == "application/x-tar") == (content[257:262] == b"ustar")
    assert content == b"".join(export_chunks(name, odd_records(), ExportOptions(photos=photos))) or is_zip


def test_an_unknown_format_is_refused_before_the_first_chunk():
    with pytest.raises(ConfigError, match="no format 'docx': name one of txt, caption, "):
        export_chunks("docx", [])
    with pytest.raises(ConfigError, match="no format 'docx'"):
        export_file("docx")


def test_copies_need_exiv2_before_the_first_chunk(monkeypatch):
    monkeypatch.setitem(sys.modules, "exiv2", None)
    with pytest.raises(ConfigError, match=r'pip install "captioner\[xmp\]"'):
        export_chunks("xmp", [])


def test_a_missing_photo_is_an_error_and_no_gap(tmp_path):
    record = ExportRecord("gone.jpg", ("a dog",), tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="gone.jpg cannot be read"):
        write_export("webdataset", [record], io.BytesIO())
    with pytest.raises(DataError, match="gone.jpg cannot be read"):
        write_export("metadata", [record], io.BytesIO(), ExportOptions(photos=True))
    write_export("metadata", [record], io.BytesIO())


@pytest.mark.parametrize("name", [name for name in EXPORT_FORMATS if name != "xmp"])
def test_ten_thousand_captions_take_less_than_five_seconds(name):
    start = time.process_time()
    write_export(name, many_records(10_000), io.BytesIO())
    assert time.process_time() - start < 5
