"""A file is there whole, or as it was."""

import os
import threading

import pytest

from captioner.files import read_json, write_json


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) is None and read_json(path, 3) == 3
    for value in ({"a": [1, 2.5, None, "Käse 狗"]}, []):
        write_json(path, value)
        assert read_json(path) == value
    path.write_text("{")
    with pytest.raises(ValueError):
        read_json(path)


def test_others_may_read_it_where_they_may_read_files(tmp_path):
    mask = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_whoever_reads_meanwhile_sees_a_whole_one(tmp_path):
    path, stop = tmp_path / "a.json", threading.Event()
    write_json(path, [0] * 1000)

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            write_json(path, [number] * 1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            values = read_json(path)
            assert len(values) == 1000 and len(set(values)) == 1
    finally:
        stop.set()
        writer.join()
