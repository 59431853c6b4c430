"""Data sets that the captioner exports are read for training: the same photos with the same captions."""

import io
import zipfile

import pytest

from captioner.exports import ExportOptions, ExportRecord, write_export
from tests.support.exported_photos import odd_records, photo_bytes
from training.data.records import read_records

PLAIN = [
    ExportRecord("a.jpg", ("A dog runs, and jumps.",), photo_bytes(0), (8, 6), 0.5),
    ExportRecord("a.png", ('He said "no".', "A man talks."), photo_bytes(1, "PNG"), (9, 6), 0.5),
    ExportRecord("deep/a.jpg", ("كلب يجري",), photo_bytes(2), (10, 6), 0.5),
    ExportRecord("deep/two.dots.jpg", ("One\ttab.",), photo_bytes(3), (11, 6), 0.5),
]


def unpacked(name: str, records, folder, **options):
    """Export records with their photos into a folder."""
    file = io.BytesIO()
    made = write_export(name, records, file, ExportOptions(**options))
    if made.file_name.endswith(".zip"):
        zipfile.ZipFile(file).extractall(folder)
    else:
        folder.mkdir()
        (folder / made.file_name).write_bytes(file.getvalue())
    return folder


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("txt", "folder"), ("caption", "folder"), ("metadata", "table"), ("csv", "table"), ("jsonl", "table"),
        ("coco", "coco"), ("webdataset", "webdataset"),
    ],
)  # fmt: skip
def test_an_export_with_photos_is_a_data_set(name, reader, tmp_path):
    data = read_records(unpacked(name, PLAIN, tmp_path / "data", photos=True))
    assert data.format == reader and not data.problems
    assert {record.path.read_bytes(): record.captions for record in data.records} == {
        record.source: record.captions for record in PLAIN
    }


@pytest.mark.parametrize("name", ["txt", "metadata", "csv", "jsonl", "coco", "webdataset"])
def test_odd_names_and_captions_are_read_with_what_training_cleans(name, tmp_path):
    """Training cleans the captions of every source: white space at the ends, entities, tags."""
    records = [record for record in odd_records() if not record.captions[0].startswith("&amp;")]
    data = read_records(unpacked(name, records, tmp_path / "data", photos=True))
    lines = name in ("txt", "webdataset")  # where each line is a caption
    for record in records:
        (found,) = (each for each in data.records if each.path.read_bytes() == record.source)
        expected = record.captions[0].splitlines() if lines else [record.captions[0]]
        assert [" ".join(text.split()) for text in found.captions] == [" ".join(text.split()) for text in expected]
