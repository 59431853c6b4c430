"""Texts with captions are read back unchanged by the readers of their ecosystems."""

import csv
import html.parser
import io
import json
from urllib.parse import unquote

import pytest

from captioner.exports import ExportRecord, write_export
from tests.support.exported_photos import CAPTIONS, NAMES, odd_records

SEVERAL = ExportRecord("a.jpg", ("a dog", "a brown dog"), confidence=0.5)


def exported(name: str, records) -> str:
    file = io.BytesIO()
    write_export(name, records, file)
    return file.getvalue().decode()


def test_metadata_has_the_fields_of_imagefolder():
    lines = [json.loads(line) for line in exported("metadata", odd_records()).split("\n")[:-1]]
    assert [(line.pop("file_name"), line.pop("text")) for line in lines] == list(zip(NAMES, CAPTIONS, strict=True))
    assert not any(lines)
    assert json.loads(exported("metadata", [SEVERAL])) == {
        "file_name": "a.jpg", "text": "a dog", "text_1": "a brown dog",
    }  # fmt: skip


def test_json_lines_have_all_details():
    words = [{"text": "a", "probability": 0.5}]
    record = ExportRecord("a.jpg", ("a dog", "a cat"), size=(8, 6), confidence=0.25, words=words)
    assert json.loads(exported("jsonl", [record])) == {
        "image": "a.jpg", "caption": "a dog", "caption_1": "a cat", "confidence": 0.25, "size": [8, 6], "words": words,
    }  # fmt: skip
    assert json.loads(exported("jsonl", [ExportRecord("a.jpg", ("a dog",))])) == {"image": "a.jpg", "caption": "a dog"}
    lines = [json.loads(line) for line in exported("jsonl", odd_records()).split("\n")[:-1]]
    assert [(line["image"], line["caption"]) for line in lines] == list(zip(NAMES, CAPTIONS, strict=True))


def test_csv_has_a_row_for_each_caption():
    rows = list(csv.reader(io.StringIO(exported("csv", [*odd_records(), SEVERAL]), newline="")))
    assert rows[0] == ["image", "caption", "confidence"]
    assert [row[:2] for row in rows[1:11]] == [list(pair) for pair in zip(NAMES, CAPTIONS, strict=True)]
    assert rows[11:] == [["a.jpg", "a dog", "0.5"], ["a.jpg", "a brown dog", ""]]


def test_pycocotools_reads_coco_captions(tmp_path, capsys):
    from pycocotools.coco import COCO

    (tmp_path / "captions.json").write_text(exported("coco", [*odd_records(), SEVERAL]), encoding="utf-8")
    api = COCO(str(tmp_path / "captions.json"))
    images = api.loadImgs(api.getImgIds())
    assert [image["file_name"] for image in images] == [*NAMES, "a.jpg"]
    assert (images[2]["width"], images[2]["height"]) == (10, 6) and "width" not in images[-1]
    captions = [[note["caption"] for note in api.imgToAnns[image["id"]]] for image in images]
    assert captions == [*([caption] for caption in CAPTIONS), ["a dog", "a brown dog"]]
    assert len(set(api.getAnnIds())) == 12


@pytest.mark.parametrize("name", ["coco", "csv", "html", "jsonl", "metadata"])
def test_an_export_without_photos_is_whole(name, tmp_path, capsys):
    text = exported(name, [])
    if name == "coco":
        assert json.loads(text)["images"] == json.loads(text)["annotations"] == []
    else:
        assert text.count("\n") == {"csv": 1, "jsonl": 0, "metadata": 0}.get(name, text.count("\n"))


class Images(html.parser.HTMLParser):
    """Collector of the attributes of each img, and of the captions below."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.captions, self._below = [], [], False

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        self._below = tag == "figcaption"
        if self._below:
            self.captions.append("")

    def handle_data(self, data):
        if self._below:
            self.captions[-1] += data

    def handle_endtag(self, tag):
        self._below = False


def test_a_page_has_the_captions_as_alternative_texts():
    parser = Images()
    parser.feed(exported("html", [*odd_records(), SEVERAL]))
    assert [image["alt"] for image in parser.images] == [*CAPTIONS, "a dog"]
    assert [unquote(image["src"]) for image in parser.images] == [*NAMES, "a.jpg"]
    assert not any(set(image["src"]) & set('#?:"& <') for image in parser.images)
    assert parser.images[2]["width"] == "10" and "width" not in parser.images[-1]
    assert parser.captions == [*CAPTIONS, "a dog\na brown dog"]


def test_names_that_are_not_utf8_are_written(tmp_path):
    records = [ExportRecord("caf\udce9.jpg", ("a dog",))]
    assert json.loads(exported("metadata", records))["file_name"] == "caf\udce9.jpg"
    assert json.loads(exported("coco", records))["images"][0]["file_name"] == "caf\udce9.jpg"
    assert 'src="caf%E9.jpg"' in exported("html", records)
    file = io.BytesIO()
    write_export("csv", records, file)
    assert b"caf\xe9.jpg,a dog" in file.getvalue()
