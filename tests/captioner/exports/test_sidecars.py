"""Sidecars are written beside photos, and never over a text of somebody else unless that is asked for."""

import errno
import os

import pytest

from captioner.errors import ImageError
from captioner.exports.sidecars import FolderSidecars, keep_copy, sidecar_text, write_sidecar
from tests.support.exported_photos import CAPTIONS


@pytest.mark.parametrize("on_conflict", ["skip", "keep-copy", "overwrite"])
def test_a_new_sidecar_holds_exactly_the_text(tmp_path, on_conflict):
    for number, caption in enumerate(CAPTIONS):
        path = tmp_path / "deep" / f"{number}.txt"
        assert write_sidecar("a.jpg", str(path), caption, on_conflict)
        assert path.read_bytes() == caption.encode()
    assert len(os.listdir(tmp_path / "deep")) == len(CAPTIONS)


@pytest.mark.parametrize("on_conflict", ["skip", "keep-copy", "overwrite"])
@pytest.mark.parametrize("stem", ["x" * 246, "\U0001f415" * 60, "quotes \" and '", "line\nbreak"])
def test_a_sidecar_has_any_name_that_a_photo_can_have(tmp_path, stem, on_conflict):
    photo = tmp_path / f"{stem}.jpg"
    photo.touch()
    path = tmp_path / FolderSidecars(".txt").name(str(photo))
    assert path.name == f"{stem}.txt" and write_sidecar("a photo", str(path), "a dog", on_conflict)
    assert path.read_text() == "a dog" and len(os.listdir(tmp_path)) == 2


def test_a_text_that_is_there_stays_by_default(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    assert not write_sidecar("a.jpg", str(tmp_path / "a.txt"), "new", "skip")
    assert (tmp_path / "a.txt").read_text() == "mine" and os.listdir(tmp_path) == ["a.txt"]


def test_a_text_that_is_there_is_kept_as_a_copy(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("mine", "second", "third"):
        path.write_text(text)
        assert write_sidecar("a.jpg", str(path), "new", "keep-copy")
        assert write_sidecar("a.jpg", str(path), "new", "keep-copy")  # the same text needs no copy
    contents = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert contents == {"a.txt": "new", "a.txt.bak": "mine", "a.txt.bak2": "second", "a.txt.bak3": "third"}


def test_a_text_that_is_there_is_replaced_on_request(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    assert write_sidecar("a.jpg", str(tmp_path / "a.txt"), "new", "overwrite")
    assert (tmp_path / "a.txt").read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_text_and_names_the_photo(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("mine")

    def no_room(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    for on_conflict in ("skip", "overwrite"):
        with pytest.raises(ImageError, match="b.jpg: its caption cannot be written to .*a.txt .No space left"):
            write_sidecar("b.jpg", str(tmp_path / "a.txt"), "new", on_conflict)
    assert (tmp_path / "a.txt").read_text() == "mine" and os.listdir(tmp_path) == ["a.txt"]


def test_several_captions_are_lines_between_prefix_and_suffix():
    assert sidecar_text(["a dog", "a cat"], "sks, ", ".") == "sks, a dog.\nsks, a cat."


def test_of_several_photos_of_a_name_the_first_has_the_short_sidecar(tmp_path):
    for name in ("b.jpg", "a.png", "a.jpg", "A.webp", "c.txt", "deep/a.png", ".a.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sidecars = FolderSidecars(".txt")
    names = ("b.jpg", "a.png", "a.jpg", "A.webp", "deep/a.png")
    assert {name: sidecars.name(str(tmp_path / name)) for name in names} == {
        "b.jpg": "b.txt", "a.png": "a.png.txt", "a.jpg": "a.jpg.txt", "A.webp": "A.txt", "deep/a.png": "a.txt",
    }  # fmt: skip


def test_keeping_a_copy_of_nothing_does_nothing(tmp_path):
    keep_copy(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == []
