"""Data sets and pages are written at the end of a run, and never over a file that somebody else wrote or changed."""

import json
import re
import tarfile
from pathlib import Path

import pytest

from captioner.bulk import exports
from captioner.bulk.exports import OutputGuard
from captioner.errors import ConfigError
from training.data.records import read_records


def captions(journal: Path) -> dict[str, str]:
    return {Path(line["image"]).name: line["caption"] for line in map(json.loads, journal.read_text().splitlines())}


@pytest.mark.parametrize(("name", "file"), [("metadata", "metadata.jsonl"), ("coco-captions", "captions.json")])
def test_a_folder_of_photos_becomes_a_data_set(run, photos, name, file):
    folder = photos(3)
    (folder / "deep").mkdir()
    (folder / "photo-000002.jpg").rename(folder / "deep" / "photo-000002.jpg")
    assert run(folder, "--recursive", "--format", name)[0] == 0
    expected = captions(folder / ".captioner" / f"{file}.jsonl")
    data = read_records(folder)
    assert {record.path.name: record.captions for record in data.records} == {
        name: (text,) for name, text in expected.items()
    }
    assert len(expected) == 3 and not data.problems
    if name == "coco-captions":
        images = json.loads((folder / file).read_text())["images"]
        assert {(image["width"], image["height"]) for image in images} == {(80, 64)}


def test_a_page_leads_to_photos_outside_its_folder(run, photos, tmp_path):
    folder = photos(2)
    assert run(folder, "--format", "html", "--output", tmp_path / "page" / "photos.html")[0] == 0
    page = (tmp_path / "page" / "photos.html").read_text()
    assert sorted(re.findall('src="([^"]*)"', page)) == [f"../photos/photo-00000{number}.jpg" for number in range(2)]
    assert 'width="80" height="64"' in page


def test_shards_hold_the_photos_with_their_captions(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "_SHARD_PHOTOS", 2)
    folder, output = photos(5), tmp_path / "shards"
    assert run(folder, "--format", "webdataset", "--output", output)[0] == 0
    names = [f"captions-00000{number}.tar" for number in range(3)]
    assert sorted(path.name for path in output.iterdir()) == [".captioner", *names]
    members = []
    for name in names:
        with tarfile.open(output / name) as tar:
            members += tar.getnames()
    assert sorted(members) == sorted(
        f"photo-00000{number}.{ending}" for number in range(5) for ending in ("jpg", "txt", "json")
    )
    data = read_records(output)
    expected = captions(output / ".captioner" / "webdataset.jsonl")
    originals = {(folder / name).read_bytes(): (text,) for name, text in expected.items()}
    assert {record.path.read_bytes(): record.captions for record in data.records} == originals


def test_a_changed_file_is_replaced_only_on_request(run, photos):
    folder = photos(2)
    file = folder / "metadata.jsonl"
    for _ in range(2):
        assert run(folder, "--format", "metadata")[0] == 0  # over the file of the run before
    written = file.read_text()
    file.write_text("corrected by hand\n")
    status, err = run(folder, "--format", "metadata")
    assert status == 2 and re.search("metadata.jsonl exists already, .* or it was changed since: name", err)
    assert file.read_text() == "corrected by hand\n"
    assert run(folder, "--format", "metadata", "--on-conflict", "keep-copy")[0] == 0
    assert file.read_text() == written and (folder / "metadata.jsonl.bak").read_text() == "corrected by hand\n"
    file.write_text("again\n")
    assert run(folder, "--format", "metadata", "--on-conflict", "overwrite")[0] == 0
    assert file.read_text() == written
    assert {path.name for path in folder.iterdir() if path.suffix != ".jpg"} == {
        "metadata.jsonl", "metadata.jsonl.bak", ".captioner",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "webdataset"], "add --output"),
        (["--format", "webdataset", "--output", "a.tar"], "writes a folder of tars: --output a.tar is the name of a"),
        (["--format", "metadata", "--output", "other/metadata.jsonl"], "and .*photos lies outside: name an --output"),
        (["--format", "metadata", "--output", "metadata.csv"], "name a file that ends in .jsonl"),
        (["a.tar", "--format", "coco-captions"], "needs photos in folders: download or unpack a.tar"),
        (["https://example.org/a.jpg", "--format", "html"], "needs photos in folders: download or unpack https:"),
    ],
)
def test_each_impossible_request_ends_with_an_error_message(run, photos, tmp_path, monkeypatch, arguments, reason):
    folder = photos(1)
    monkeypatch.chdir(tmp_path)
    status, err = run(folder, *arguments)
    assert status == 2 and err.splitlines()[-1].startswith("error: ")
    assert re.search(reason, err)


def test_a_guard_knows_the_file_that_was_written_last(tmp_path):
    output, record = tmp_path / "a.html", tmp_path / "a.written"

    def guard(on_conflict: str = "skip") -> OutputGuard:
        return OutputGuard(output, record, on_conflict)

    guard().check()
    output.write_text("mine")
    with pytest.raises(ConfigError, match="a.html exists already"):
        guard().check()
    guard("overwrite").make_room()
    assert output.read_text() == "mine"
    guard().written()
    guard().check()
    output.write_text("mine, and more")
    with pytest.raises(ConfigError, match="a.html exists already"):
        guard().make_room()
    guard("keep-copy").make_room()
    assert not output.exists() and (tmp_path / "a.html.bak").read_text() == "mine, and more"
    record.write_text("damaged")
    output.write_text("mine")
    with pytest.raises(ConfigError, match="a.html exists already"):
        guard().check()


def test_a_guard_looks_after_every_shard_of_a_folder(tmp_path):
    output, record = tmp_path / "shards", tmp_path / "written"
    output.mkdir()
    names = ["captions-000000.tar", "captions-000001.tar"]

    def write(text: str) -> None:
        for name in names:
            (output / name).write_text(text)

    OutputGuard(output, record, "skip").make_room()
    (output / "notes.txt").write_text("mine")
    write("first")
    OutputGuard(output, record, "skip").written()
    OutputGuard(output, record, "skip").check()
    (output / names[1]).write_text("somebody else's")
    with pytest.raises(ConfigError, match="captions-000000.tar exists already"):
        OutputGuard(output, record, "skip").check()
    OutputGuard(output, record, "keep-copy").make_room()
    assert {path.name for path in output.iterdir()} == {"notes.txt", *(f"{name}.bak" for name in names)}
    write("second")
    OutputGuard(output, record, "overwrite").make_room()  # shards beyond those of the new run must not stay
    assert {path.name for path in output.iterdir()} == {"notes.txt", *(f"{name}.bak" for name in names)}
