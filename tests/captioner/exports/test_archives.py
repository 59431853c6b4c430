"""Zips and tars hold photos and captions, each under a name that stays inside, and are written as streams."""

import io
import json
import re
import tarfile
import xml.etree.ElementTree as xml
import zipfile

import exiv2
import pytest

from captioner.exports import ExportOptions, ExportRecord, export_chunks, write_export
from tests.support.exported_photos import CAPTIONS, NAMES, many_records, odd_records, photo_bytes

PHOTOS = [record.source for record in odd_records()]


def exported(name: str, records, **options) -> io.BytesIO:
    file = io.BytesIO()
    write_export(name, records, file, ExportOptions(**options))
    return file


def opened(name: str, records, **options) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(exported(name, records, **options))
    assert archive.testzip() is None
    return archive


@pytest.mark.parametrize("ending", ["txt", "caption"])
def test_a_zip_of_sidecars_has_a_text_for_each_photo(ending):
    archive = opened(ending, odd_records())
    expected = [re.sub(r"\.(jpg|png|jpeg)$", f".{ending}", name) for name in NAMES]
    assert archive.namelist() == expected
    assert [archive.read(name).decode() for name in expected] == list(CAPTIONS)


def test_prefix_and_suffix_surround_each_caption():
    records = [ExportRecord("a.jpg", ("a dog", "a cat"))]
    archive = opened("txt", records, prefix="sks style, ", suffix=", film grain")
    assert archive.read("a.txt").decode() == "sks style, a dog, film grain\nsks style, a cat, film grain"


def test_a_zip_has_the_photos_beside_the_captions_if_requested():
    archive = opened("txt", odd_records(), photos=True)
    assert len(archive.namelist()) == 20 and [archive.read(name) for name in NAMES] == PHOTOS
    archive = opened("metadata", odd_records(), photos=True)
    assert archive.namelist() == [*NAMES, "metadata.jsonl"] and [archive.read(name) for name in NAMES] == PHOTOS
    lines = archive.read("metadata.jsonl").decode().split("\n")[:-1]
    assert [json.loads(line)["file_name"] for line in lines] == list(NAMES)


def test_no_member_leaves_the_folder_or_takes_the_place_of_another(tmp_path):
    names = ["../a.jpg", "/a.jpg", "..\\..\\A.jpg", "metadata.jsonl", "C:\\b.jpg", "a.png"]
    records = [ExportRecord(name, (f"caption of {name}",), photo_bytes(number)) for number, name in enumerate(names)]
    archive = opened("metadata", records, photos=True)
    assert archive.namelist() == ["a.jpg", "a-2.jpg", "A-3.jpg", "metadata.jsonl-2", "b.jpg", "a.png", "metadata.jsonl"]
    text = opened("txt", records, photos=True)
    assert [name for name in text.namelist() if name.endswith(".txt")] == [
        "a.txt", "a-2.txt", "A-3.txt", "metadata.jsonl.txt", "b.txt", "a.png.txt",
    ]  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(exported("webdataset", records).getvalue())) as tar:
        assert not [member for member in tar.getnames() if member.startswith(("/", ".")) or "\\" in member]


def test_webdataset_reads_shards():
    from webdataset.tariterators import group_by_keys, tar_file_expander

    records = [*odd_records(), ExportRecord("plain.png", ("a dog", "a cat"), photo_bytes(3, "PNG"))]
    shard = {"url": "captions-000000.tar", "stream": io.BytesIO(exported("webdataset", records).getvalue())}
    samples = {sample["__key__"]: sample for sample in group_by_keys(tar_file_expander([shard]))}
    assert len(samples) == 11
    assert [sample["txt"].decode() for sample in samples.values()] == [*CAPTIONS, "a dog\na cat"]
    details = [json.loads(sample["json"]) for sample in samples.values()]
    assert [values["file_name"] for values in details] == [*NAMES, "plain.png"]
    assert [values["caption"] for values in details] == [*CAPTIONS, "a dog"]
    assert (details[2]["width"], details[2]["height"], details[2]["confidence"]) == (10, 6, 0.125)
    assert samples["plain"]["jpg"] == PHOTOS[0] and samples["two_dots_in it"]["jpeg"] == PHOTOS[7]
    assert samples["plain-2"]["png"] == photo_bytes(3, "PNG") and samples["deep/er/still"]["jpg"] == PHOTOS[1]


def test_copies_carry_the_captions():
    records = odd_records()
    records.append(ExportRecord("a.gif", ("a dog",), photo_bytes(1, "GIF")))
    archive = opened("xmp", records)
    assert archive.namelist() == [*NAMES, "a.gif", "a.gif.xmp"] and archive.read("a.gif") == records[-1].source
    for name, caption in zip((*NAMES, "a.gif.xmp"), (*CAPTIONS, "a dog"), strict=True):
        image = exiv2.ImageFactory.open(archive.read(name))
        image.readMetadata()
        assert dict(image.xmpData()["Xmp.dc.description"].value()) == {"x-default": caption}
    packet = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", archive.read(NAMES[2]), re.DOTALL)[0]
    (item,) = xml.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert item.text == CAPTIONS[2]


@pytest.mark.parametrize("name", ["txt", "metadata", "webdataset", "coco"])
def test_each_photo_leaves_before_the_next_but_one_is_read(name):
    """At most one photo, and the end of the one before, is held."""
    content, read, written = bytes(300_000), 0, 0

    def records():
        nonlocal read
        for number in range(20):
            read += 1
            yield ExportRecord(f"{number}.jpg", ("a dog",), content)

    for chunk in export_chunks(name, records(), ExportOptions(photos=True)):
        written += len(chunk)
        assert written >= (read - 2) * len(content)
        assert len(chunk) < 3 * len(content)
    assert read == 20 and written > 20 * len(content)


def test_a_text_too_long_for_memory_waits_in_a_file(monkeypatch):
    monkeypatch.setattr("captioner.exports.archives._SPOOL_BYTES", 100)
    monkeypatch.setattr("captioner.exports.texts._SPOOL_BYTES", 100)
    archive = opened("coco", many_records(50), photos=True)
    assert len(json.loads(archive.read("captions.json"))["annotations"]) == 50
