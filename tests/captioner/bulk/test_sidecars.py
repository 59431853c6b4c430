"""Captions are written beside photos, in runs that resume, and texts of people stay unless replacing is asked for."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from captioner import __main__ as command
from captioner.captioner import Captioner


def texts(folder: Path) -> dict[str, str]:
    """Return the content of each file below a folder that is no photo and not hidden, by its relative path."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): path.read_text()
        for name, path in files.items()
        if path.suffix not in (".jpg", ".png") and not str(name).startswith(".")
    }


def captions(journal: Path) -> dict[str, str]:
    return {Path(line["image"]).name: line["caption"] for line in map(json.loads, journal.read_text().splitlines())}


@pytest.fixture
def captioned(monkeypatch):
    """Counter of the photos that the model captions; the captioner fails after `limit` batches."""

    class Counter:
        photos = batches = 0
        limit = None

    caption_pixels = Captioner.caption_pixels

    def count(self, pixels, *rest):
        if Counter.batches == Counter.limit:
            raise RuntimeError("stopped")
        Counter.photos += len(pixels)
        Counter.batches += 1
        return caption_pixels(self, pixels, *rest)

    monkeypatch.setattr(Captioner, "caption_pixels", count)
    return Counter


def test_each_photo_gets_a_text_and_texts_of_people_stay(run, photos, captioned):
    folder = photos(4)
    (folder / "photo-000002.txt").write_text("mine")
    (folder / "deep").mkdir()
    (folder / "photo-000003.jpg").rename(folder / "deep" / "photo-000003.jpg")
    (folder / "bad.jpg").touch()
    arguments = folder, "--recursive", "--format", "txt", "--prefix", "sks style, ", "--suffix", "."
    status, err = run(*arguments)
    assert status == 2 and f"{folder}: 3 photos captioned" in err and "bad.jpg" in err
    assert "skipped: 1 photo has a .txt already, which stays as it is" in err and "files were skipped" not in err
    expected = captions(folder / ".captioner" / "txt.jsonl")
    assert len(expected) == 3 and captioned.photos == 3
    written = texts(folder)
    assert written.pop("photo-000002.txt") == "mine"
    assert written == {
        f"{'deep/' if '3' in name else ''}{Path(name).stem}.txt": f"sks style, {text}."
        for name, text in expected.items()
    }
    (folder / "photo-000000.txt").unlink()
    status, err = run(*arguments)  # only the photo whose text was removed
    assert captioned.photos == 4 and texts(folder) == written | {"photo-000002.txt": "mine"}
    assert f"{folder}: 1 photo captioned" in err and "skipped: 3 photos have a .txt already" in err
    assert len((folder / ".captioner" / "txt.unreadable.jsonl").read_text().splitlines()) == 1


def test_nothing_is_loaded_if_every_photo_has_its_text(run, photos, monkeypatch):
    folder = photos(2)
    for path in list(folder.iterdir()):
        path.with_suffix(".caption").write_text("mine")
    monkeypatch.setattr(command, "_load", lambda *_: pytest.fail("nothing is to be captioned"))
    status, err = run(folder, "--format", "caption")
    assert status == 0 and "2 photos have a .caption already" in err and set(texts(folder).values()) == {"mine"}


@pytest.mark.parametrize("on_conflict", ["overwrite", "keep-copy"])
def test_texts_are_replaced_on_request_once_each_also_in_a_run_that_was_stopped(run, photos, captioned, on_conflict):
    folder = photos(6)
    for path in list(folder.iterdir()):
        path.with_suffix(".txt").write_text(f"mine {path.stem}")
    arguments = folder, "--format", "txt", "--on-conflict", on_conflict, "--batch-size", 2
    captioned.limit = 2
    with pytest.raises(RuntimeError, match="stopped"):
        run(*arguments)
    captioned.limit = None
    assert 0 < sum(not text.startswith("mine") for text in texts(folder).values()) < 6
    assert run(*arguments)[0] == 0 and captioned.photos <= 6 + 2
    expected = captions(folder / ".captioner" / "txt.jsonl")
    written = texts(folder)
    copies = {name: written.pop(name) for name in list(written) if name.endswith(".bak")}
    assert written == {f"{Path(name).stem}.txt": text for name, text in expected.items()} and len(written) == 6
    kept = {f"{Path(name).stem}.txt.bak": f"mine {Path(name).stem}" for name in expected}
    assert copies == (kept if on_conflict == "keep-copy" else {})
    before = captioned.photos
    run(*arguments)  # a new run, as the last one came to its end
    assert captioned.photos == before + 6 and len(texts(folder)) == len(written) + len(copies)


def test_texts_go_to_another_folder_also_for_archives(run, photos, tmp_path):
    folder, output = photos(2), tmp_path / "texts"
    with tarfile.open(tmp_path / "more.tar", "w") as tar:
        tar.add(folder / "photo-000000.jpg", "deep/a.jpg")
        tar.add(folder / "photo-000001.jpg", "deep/a.png")
        tar.add(folder / "photo-000001.jpg", "../b.jpg")
    assert run(folder, tmp_path / "more.tar", "--format", "caption", "--output", output)[0] == 0
    assert set(texts(output)) == {
        "photos/photo-000000.caption", "photos/photo-000001.caption",
        "more.tar/deep/a.caption", "more.tar/deep/a.png.caption", "more.tar/b.caption",
    }  # fmt: skip
    assert texts(folder) == {}


def test_photos_of_one_name_get_a_text_each(run, photos, tmp_path):
    folder = photos(1)
    (folder / "photo-000000.jpg").rename(folder / "a.jpg")
    Image.new("RGB", (80, 64), "red").save(folder / "a.png")
    assert run(f"{folder}/*.png", "--format", "txt")[0] == 0
    assert set(texts(folder)) == {"a.png.txt"}  # whichever photos are captioned
    assert run(folder, "--format", "txt", "--captions", 2)[0] == 0
    assert set(texts(folder)) == {"a.txt", "a.png.txt"} and texts(folder)["a.txt"].count("\n") == 1


def test_a_text_that_cannot_be_written_is_listed_with_its_photo(run, photos):
    folder = photos(2)
    (folder / "photo-000001.txt").mkdir()
    status, err = run(folder, "--format", "txt", "--on-conflict", "overwrite")
    assert status == 2 and re.search("photo-000001.jpg: its caption cannot be written to .*photo-000001.txt", err)
    assert set(texts(folder)) == {"photo-000000.txt"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--prefix", "sks"], "--prefix belongs to --format txt or caption"),
        (["--output", "a.csv", "--suffix", "."], "--suffix belongs to"),
        (["--output", "a.csv", "--on-conflict", "overwrite"], "--on-conflict belongs to --format txt, caption, "),
        (["--output", "a.txt", "--format", "txt", "--language", "de"], "--language prints"),
        (["--output", "a.csv", "--format", "txt"], "writes a folder of text files: --output a.csv is the name of a"),
        (["s3://bucket/photos", "--format", "txt"], "no folder beside the photos of s3://bucket/photos: name one by"),
        (["a.tar", "--format", "txt"], "no folder beside the photos of a.tar"),
    ],
)
def test_each_impossible_request_ends_with_an_error_message(run, photos, tmp_path, monkeypatch, arguments, reason):
    folder = photos(1)
    monkeypatch.chdir(tmp_path)
    status, err = run(folder, *arguments)
    assert status == 2 and err.splitlines()[-1].startswith("error: ")
    assert re.search(reason, err) and texts(folder) == {}
