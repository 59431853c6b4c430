"""Files and folders are written atomically, by one policy."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from captioner import files
from captioner.files import atomic_file, atomic_folder, read_json, replace_folder, write_atomically, write_json


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    earlier = os.umask(0o027)
    yield
    os.umask(earlier)


@pytest.fixture
def no_exchange(monkeypatch):
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())


@pytest.fixture
def steps(monkeypatch):
    """Record the operations on the disk in order: the names of flushed, renamed and linked files."""
    operations = []
    fsync, replace, rename, link = os.fsync, os.replace, os.rename, os.link

    def record_flush(descriptor: int) -> None:
        operations.append(("flush", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def record(name, function):
        def step(source, target):
            operations.append((name, Path(target)))
            function(source, target)

        return step

    monkeypatch.setattr(os, "fsync", record_flush)
    for name, function in (("replace", replace), ("rename", rename), ("link", link)):
        monkeypatch.setattr(os, name, record(name, function))
    return operations


# --- JSON


def test_a_written_file_is_read_back(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) is None and read_json(path, 3) == 3
    for value in ({"a": [1, 2.5, None, "Käse 狗"]}, []):
        write_json(path, value)
        assert read_json(path) == value
    path.write_text("{")
    with pytest.raises(ValueError):
        read_json(path)


def test_the_name_of_a_file_that_is_not_text_is_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "a.json", {"photo": name})
    assert read_json(tmp_path / "a.json") == {"photo": name}
    (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_written_file_has_the_usual_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_concurrent_reader_sees_a_complete_file(tmp_path):
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


# --- files


def test_the_content_is_flushed_before_the_file_gets_its_name_and_the_name_afterwards(tmp_path, steps):
    write_atomically(tmp_path / "a", "ä")
    (first, temporary), *others = steps
    assert (first, temporary.parent, others) == (
        "flush", tmp_path, [("replace", tmp_path / "a"), ("flush", tmp_path)],
    )  # fmt: skip
    assert temporary.name.startswith(".a-") and temporary.suffix == ".part", "clean-up code looks for such names"
    assert (tmp_path / "a").read_bytes() == "ä".encode()


def test_a_file_that_is_not_durable_is_flushed_without_its_folder(tmp_path, steps):
    write_json(tmp_path / "a", 1, durable=False)
    assert [(step, path.suffix) for step, path in steps] == [("flush", ".part"), ("replace", "")]


@pytest.mark.parametrize("one_writer", [False, True])
def test_an_error_while_writing_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path, one_writer):
    (tmp_path / "a").write_text("old")
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error), atomic_file(tmp_path / "a", one_writer=one_writer) as file:
            file.write(b"half")
            raise error
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_error_of_the_disk_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path, monkeypatch, failing):
    (tmp_path / "a").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_new_file_has_the_permissions_of_the_umask_and_a_replaced_one_keeps_its_own(tmp_path, umask):
    write_atomically(tmp_path / "a", "1")
    assert permissions(tmp_path / "a") == 0o640
    for mode in (0o600, 0o664, 0o444):
        (tmp_path / "a").chmod(mode)
        write_atomically(tmp_path / "a", "2")
        assert permissions(tmp_path / "a") == mode


def test_a_secret_is_never_readable_by_others_while_it_is_written(tmp_path, umask):
    os.umask(0)
    (tmp_path / "kept").touch(0o600)
    for name, options in (
        ("new", {"permissions": 0o600}), ("kept", {}), ("copy", {"attributes_of": tmp_path / "kept"}),
    ):  # fmt: skip
        with atomic_file(tmp_path / name, **options) as file:
            assert permissions(Path(file.name)) == 0o600
            file.write(b"secret")
        assert permissions(tmp_path / name) == 0o600


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("old")
    for name, target in (("link", "elsewhere/a"), ("dangling", "elsewhere/b")):
        (tmp_path / name).symlink_to(target)
        write_atomically(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink() and (tmp_path / target).read_text() == "new"
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["a", "b"]


@pytest.mark.parametrize("has_links", [True, False], ids=["hard links", "none, as on a memory card"])
def test_a_name_that_is_taken_is_refused_where_it_must_be_new(tmp_path, monkeypatch, has_links):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", no_link)
    write_atomically(tmp_path / "a", "first", replace=False)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "a", "second", replace=False)
    assert (tmp_path / "a").read_text() == "first" and os.listdir(tmp_path) == ["a"]


def test_a_writer_removes_leftovers_of_a_killed_one(tmp_path):
    leftover = tmp_path / ".a.part"
    leftover.write_text("half of something longer")
    leftover.chmod(0o444)
    with atomic_file(tmp_path / "a", one_writer=True) as file:
        assert file.name == str(leftover)
        file.write(b"whole")
    assert (tmp_path / "a").read_text() == "whole" and os.listdir(tmp_path) == ["a"]


def test_a_planted_link_in_place_of_the_temporary_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("dear")
    (tmp_path / ".a.part").symlink_to("precious")
    write_atomically(tmp_path / "a", "new", one_writer=True)
    assert (tmp_path / "precious").read_text() == "dear" and (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("one_writer", [False, True])
@pytest.mark.parametrize("name", ["a" * 255, "狗" * 85])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, name, one_writer):
    write_atomically(tmp_path / name, "whole", one_writer=one_writer)
    assert os.listdir(tmp_path) == [name]


def test_a_copy_gets_the_attributes_of_its_source(tmp_path):
    (tmp_path / "source").write_text("x")
    os.utime(tmp_path / "source", (1, 1_000_000_000))
    (tmp_path / "source").chmod(0o440)
    write_atomically(tmp_path / "copy", "xy", attributes_of=tmp_path / "source")
    assert (tmp_path / "copy").stat().st_mtime == 1_000_000_000 and permissions(tmp_path / "copy") == 0o440


def test_text_is_written_as_it_is_asked_for(tmp_path):
    with atomic_file(tmp_path / "a", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write("ä\r\n\udce9")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\r\n\xe9"


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def on_a_network(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", on_a_network)
    write_atomically(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text() == "whole"


# --- folders


def fill(folder: Path, content: str) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "file").write_text(content)


def content(folder: Path) -> str:
    return (folder / "part" / "file").read_text()


def test_a_folder_is_flushed_before_it_gets_its_name(tmp_path, steps):
    with atomic_folder(tmp_path / "new" / "folder") as folder:
        fill(folder, "x")
        assert folder.name.startswith(".folder-") and folder.suffix == ".part"
    flushed = [("flush", path) for path in (folder / "part" / "file", folder / "part", folder)]
    assert steps == [*flushed, ("rename", tmp_path / "new" / "folder"), ("flush", tmp_path / "new")]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path, request, exchange):
    if not exchange:
        request.getfixturevalue("no_exchange")
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as folder:
            fill(folder, text)
        assert content(tmp_path / "folder") == text and os.listdir(tmp_path) == ["folder"]


def test_an_error_leaves_the_earlier_folder(tmp_path):
    with atomic_folder(tmp_path / "folder") as folder:
        fill(folder, "old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "folder") as folder:
        fill(folder, "new")
        raise KeyboardInterrupt
    assert content(tmp_path / "folder") == "old" and os.listdir(tmp_path) == ["folder"]


def test_an_error_between_two_renames_puts_the_earlier_folder_back(tmp_path, monkeypatch, no_exchange):
    for name in ("folder", "new"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, name)
    rename = os.rename

    def fails_on_the_new_one(source, target):
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_on_the_new_one)
    with pytest.raises(OSError, match="Input/output"):
        replace_folder(tmp_path / "new", tmp_path / "folder")
    assert content(tmp_path / "folder") == "folder" and content(tmp_path / "new") == "new"


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "a").write_text("dear")
    with pytest.raises(NotADirectoryError, match="a'"), atomic_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "dear" and os.listdir(tmp_path) == ["a"]


def test_a_new_folder_has_the_permissions_of_the_umask_and_a_replaced_one_keeps_its_own(tmp_path, umask):
    for expected in (0o750, 0o700):
        with atomic_folder(tmp_path / "folder"):
            pass
        assert permissions(tmp_path / "folder") == expected
        (tmp_path / "folder").chmod(0o700)


def test_one_writer_removes_the_folder_that_a_killed_one_left(tmp_path):
    (tmp_path / ".folder.part" / "deep").mkdir(parents=True)
    with atomic_folder(tmp_path / "folder", one_writer=True) as folder:
        assert folder == tmp_path / ".folder.part" and not list(folder.iterdir())
        fill(folder, "x")
    assert content(tmp_path / "folder") == "x" and os.listdir(tmp_path) == ["folder"]


def test_a_link_to_a_folder_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with atomic_folder(tmp_path / "link") as folder:
        fill(folder, "new")
    assert (tmp_path / "link").is_symlink() and content(tmp_path / "folder") == "new"
