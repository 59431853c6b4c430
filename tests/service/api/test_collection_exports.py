"""Exports of a collection over HTTP: each format is one file that its readers read, streamed and complete."""

import csv
import io
import json
import tarfile
import time
import zipfile
from typing import get_args

import httpx
import pytest

from captioner.exports import EXPORT_FORMATS
from service.api.collection_schemas import ExportQuery
from service.store.collection_records import CaptionChange, PhotoResult
from tests.support.collections import make_collection
from tests.support.photo_sets import photo_bytes
from tests.support.serving import Running

FILES = {"a/1.jpg": photo_bytes(1), "b/1.jpg": photo_bytes(2), 'Käse "🧀".jpg': photo_bytes(3), "broken.jpg": b""}
CAPTIONS = ["a dog", 'tab\t, comma, "quote"\nand كلب', "three"]


@pytest.fixture
def collection_id(running: Running) -> str:
    """A collection of three captioned photos, of which a person captioned the second, and one that failed."""
    service = running.service
    service.collecting.close()
    made = make_collection(service.collections, FILES)
    results = [PhotoResult(1, generated="a dog", confidence=0.5, width=96, height=72)]
    results += [PhotoResult(2, generated="a cat", confidence=0.9), PhotoResult(3, generated="three")]
    service.collection_photos.record(made.id, [*results, PhotoResult(4, reason="The file is empty.")])
    service.collection_photos.correct(made.id, [CaptionChange(2, CAPTIONS[1], 0)])
    return made.id


def export(client: httpx.Client, collection_id: str, **query) -> httpx.Response:
    return client.get(f"/api/collections/{collection_id}/export", params=query)


def content(client: httpx.Client, collection_id: str, **query) -> bytes:
    response = export(client, collection_id, **query)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Disposition"].startswith("attachment; filename=")
    return response.content


def test_every_format_is_offered_and_is_one_file(client, collection_id):
    assert set(get_args(ExportQuery.model_fields["format"].annotation)) == set(EXPORT_FORMATS)
    for name, form in EXPORT_FORMATS.items():
        response = export(client, collection_id, format=name)
        assert response.status_code == 200 and response.headers["Content-Type"].split(";")[0] == form.media_type
        assert response.content


def test_sidecars_lie_beside_their_photos(client, collection_id):
    archive = zipfile.ZipFile(io.BytesIO(content(client, collection_id, format="txt", prefix="photo of ")))
    assert set(archive.namelist()) == {"a/1.txt", "b/1.txt", 'Käse "🧀".txt'}
    assert archive.read("a/1.txt").decode() == "photo of a dog"
    archive = zipfile.ZipFile(io.BytesIO(content(client, collection_id, format="caption", photos=True)))
    assert {"a/1.jpg", "a/1.caption"} <= set(archive.namelist())
    assert archive.read("b/1.jpg") == FILES["b/1.jpg"], "the photo as it was sent"


def test_captions_come_back_unchanged(client, collection_id):
    rows = list(csv.DictReader(io.StringIO(content(client, collection_id, format="csv").decode(), newline="")))
    assert [row["caption"] for row in rows] == CAPTIONS and [row["image"] for row in rows] == list(FILES)[:3]
    lines = [json.loads(line) for line in content(client, collection_id, format="jsonl").decode().splitlines()]
    assert [line["caption"] for line in lines] == CAPTIONS
    assert (lines[0]["confidence"], lines[0]["size"]) == (0.5, [96, 72])
    assert "confidence" not in lines[1], "it is that of another caption"
    coco = json.loads(content(client, collection_id, format="coco"))
    assert [annotation["caption"] for annotation in coco["annotations"]] == CAPTIONS


def test_photos_go_into_a_tar(client, collection_id):
    with tarfile.open(fileobj=io.BytesIO(content(client, collection_id, format="webdataset"))) as archive:
        assert len(archive.getnames()) == 9


def test_only_corrections_are_taken_on_request(client, collection_id):
    lines = content(client, collection_id, format="jsonl", corrected=True).decode().splitlines()
    assert [json.loads(line)["caption"] for line in lines] == CAPTIONS[1:2]


def test_a_photo_whose_file_is_gone_is_left_out(running, collection_id):
    running.service.collections.photo_file(collection_id, 1).unlink()
    data = content(running.client, collection_id, format="txt", photos=True)
    assert "a/1.jpg" not in zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert len(content(running.client, collection_id, format="jsonl").splitlines()) == 3


def test_an_unknown_format_and_a_collection_without_captions_are_refused(running, collection_id):
    assert export(running.client, collection_id, format="docx").status_code == 422
    assert export(running.client, "0" * 32, format="txt").status_code == 404
    empty = make_collection(running.service.collections, {"a.jpg": photo_bytes(1)})
    response = export(running.client, empty.id, format="txt")
    assert response.status_code == 409 and "wait until some are captioned" in response.json()["detail"]


@pytest.mark.stress
def test_ten_thousand_captions_are_exported_in_seconds(running):
    service = running.service
    service.collecting.close()
    made = make_collection(service.collections, {f"{number}.jpg": b"%d" % number for number in range(10_000)})
    results = [PhotoResult(number, generated=f"a dog {number}") for number in range(1, 10_001)]
    service.collection_photos.record(made.id, results)
    for name in ("jsonl", "txt", "coco"):
        started_at = time.monotonic()
        assert len(content(running.client, made.id, format=name)) > 100_000
        assert time.monotonic() - started_at < 5, name
