"""A journal keeps every complete line, survives killed writers, and never changes a file that is not a journal."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from captioner.bulk.journal import Journal
from captioner.errors import DataError


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "captions.jsonl")


def images(journal: Journal) -> list[str]:
    return [entry["image"] for entry in journal.entries()]


def test_appended_entries_are_read_in_order(journal):
    assert images(journal) == []
    journal.append([{"image": "a", "caption": "étoile"}, {"image": "b"}])
    journal.append([])
    journal.append([{"image": "c"}])
    assert images(journal) == ["a", "b", "c"]
    assert "étoile" in journal.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kept", [1, 5, 12, 30, 100_010])
def test_the_next_writer_removes_an_incomplete_last_line(journal, kept):
    journal.append([{"image": "a"}])
    half = (json.dumps({"image": "x" * 100_100}) + "\n").encode()[:kept]
    with open(journal.path, "ab") as file:
        file.write(half)
    assert images(journal) == ["a"]
    journal.append([{"image": "b"}])
    assert images(journal) == ["a", "b"] and journal.path.read_bytes() == b'{"image": "a"}\n{"image": "b"}\n'


def test_a_journal_of_one_incomplete_line_is_empty(journal):
    journal.path.write_bytes(b'{"image": "x')
    assert images(journal) == []
    journal.append([{"image": "b"}])
    assert images(journal) == ["b"]


@pytest.mark.parametrize(
    "content", [b"hello", b"\xff\xd8\xff", b"{}\n", b'{"image": 3}\n', b'{"image": "a"}\n[]\n', b"\n"]
)
def test_a_file_that_is_no_journal_is_refused_and_unchanged(journal, content):
    journal.path.write_bytes(content)
    with pytest.raises(DataError, match="captions.jsonl, line [12] was not written by this command"):
        images(journal)
    assert journal.path.read_bytes() == content


def test_a_file_name_that_is_no_text_is_preserved(journal):
    name = os.fsdecode(b"caf\xe9.jpg")
    journal.append([{"image": name}])
    assert images(journal) == [name]
    assert json.loads(journal.path.read_text(encoding="utf-8"))["image"] == name  # readable by any JSON parser


def write(path: Path, writer: int) -> None:
    journal = Journal(path)
    for number in range(8):
        journal.append([{"image": f"{writer}/{number}/{copy}", "caption": "x" * 500_000} for copy in range(3)])


def test_processes_append_to_one_file(journal):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(journal.path, writer)) for writer in range(2)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    names = images(journal)
    assert len(names) == len(set(names)) == 48
    journal.finish()
    assert [path.name for path in journal.path.parent.iterdir()] == ["captions.jsonl"]


def test_a_journal_that_cannot_be_written_raises_a_readable_error(tmp_path):
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    with pytest.raises(DataError, match="full.jsonl cannot be written .No space left.*run the same command again"):
        Journal(tmp_path / "full.jsonl").append([{"image": "a"}])
    with pytest.raises(DataError, match="cannot be read"):
        images(Journal(tmp_path))
