"""Unpacking a zip writes into its own folder only, and dangerous or damaged zips are refused."""

import errno
import io
import stat
import struct
import zipfile
from types import SimpleNamespace

import pytest

from service.store import archives
from service.store.archives import ArchiveError, pack, top_folder, unpack

MB = 1_000_000


def zipped(*entries, method=zipfile.ZIP_STORED):
    """Return a zip of (name or ZipInfo, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    file.seek(0)
    return file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_and_folders_are_unpacked_unchanged(folder):
    entries = {"a/b/one.txt": b"1", "two.txt": b"", "Käse/狗.txt": b"3"}
    unpack(zipped(*entries.items(), ("empty/", b"")), folder, MB)
    assert files_of(folder) == entries and (folder / "empty").is_dir()


def test_names_written_by_windows_and_macos_are_decoded(folder):
    mac = zipfile.ZipInfo("x")
    mac.filename = "Käse.txt".encode().decode("cp437")
    file = zipped(("a\\b.txt", b"1"), ("./c//d.txt", b"2"))
    unpack(file, folder, MB)
    assert files_of(folder) == {"a/b.txt": b"1", "c/d.txt": b"2"}
    content = zipped(("K__se.txt", b"3")).getvalue().replace(b"K__se", "Käse".encode())
    unpack(io.BytesIO(content), folder, MB)
    assert files_of(folder)["Käse.txt"] == b"3"


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "c:evil.txt", "..\\evil.txt", "a/.."]
)
def test_a_path_outside_the_folder_is_refused_before_anything_is_written(folder, name):
    with pytest.raises(ArchiveError, match="outside its own folder"):
        unpack(zipped(("good.txt", b"1"), (name, b"2")), folder, MB)
    assert not files_of(folder.parent)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(folder, kind):
    link = zipfile.ZipInfo("link")
    link.external_attr = (kind | 0o777) << 16
    with pytest.raises(ArchiveError, match="link or a device"):
        unpack(zipped((link, "/etc/passwd")), folder, MB)


def test_declared_sizes_beyond_the_limit_are_refused(folder):
    with pytest.raises(ArchiveError, match="more than 1 MB: send less, or raise CAPTIONER_MAX_DATASET_MB"):
        unpack(zipped(("a", bytes(700_000)), ("b", bytes(400_000))), folder, MB)
    assert not files_of(folder)


def test_falsely_declared_sizes_beyond_the_limit_are_refused(folder):
    content = zipped(("a", bytes(3 * MB)), method=zipfile.ZIP_DEFLATED).getvalue()
    lying = content.replace(struct.pack("<L", 3 * MB), struct.pack("<L", 1000))
    assert lying != content
    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(lying), folder, MB)
    assert sum(map(len, files_of(folder).values())) <= MB


def test_a_zip_bomb_is_refused_by_its_compression_ratio(folder):
    with pytest.raises(ArchiveError, match="times its size"):
        unpack(zipped(("a", bytes(60 * MB)), method=zipfile.ZIP_DEFLATED), folder, 100 * MB)
    assert not files_of(folder)


def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    with pytest.raises(ArchiveError, match="contains 11 files, but the limit is 10"):
        unpack(zipped(*((str(number), b"") for number in range(11))), folder, MB)


def test_a_zip_within_a_zip_is_not_unpacked(folder):
    inner = zipped(("../../evil.txt", b"1")).getvalue()
    unpack(zipped(("inner.zip", inner)), folder, MB)
    assert files_of(folder) == {"inner.zip": inner}


def test_a_password_is_refused(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    for marker, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(marker) + offset] |= 1
    with pytest.raises(ArchiveError, match="protected by a password"):
        unpack(io.BytesIO(content), folder, MB)


@pytest.mark.parametrize("keep", [0, 10, 500, 5000])
def test_a_truncated_zip_is_refused(folder, keep):
    content = zipped(("a.txt", bytes(range(256)) * 20), ("b.txt", b"2")).getvalue()
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        unpack(io.BytesIO(content[:keep]), folder, MB)


def test_other_files_and_corrupted_content_are_refused(folder):
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(b"GIF89a" * 100), folder, MB)
    content = zipped(("a.txt", b"hello hello")).getvalue().replace(b"hello hello", b"hello jello")
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(content), folder, MB)


def test_an_unknown_compression_method_is_refused(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    for marker, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(marker) + offset] = 97
    with pytest.raises(ArchiveError, match="create it again as a plain zip"):
        unpack(io.BytesIO(content), folder, MB)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_refused(folder):
    with pytest.raises(ArchiveError, match="'a.txt' twice"):
        unpack(zipped(("a.txt", b"1"), ("a.txt", b"2")), folder, MB)


def test_time_to_find_a_duplicate_grows_with_the_number_of_files():
    """A zip of 20 MB can hold 200,000 names: compared with each other, they would hold up the service for minutes."""
    comparisons = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, other)

    names = [*(f"{number}.jpg" for number in range(1000)), "last.jpg", "last.jpg"]
    with pytest.raises(ArchiveError, match="'last.jpg' twice"):
        archives._check_entries([(zipfile.ZipInfo(name), Name(name)) for name in names], MB)
    assert comparisons < 100


@pytest.mark.parametrize("entries", [[("x" * 300, b"")], [("a", b"1"), ("a/b", b"2")]])
def test_names_that_are_too_long_are_refused(folder, entries):
    with pytest.raises(ArchiveError, match="shorten names to 255 bytes"):
        unpack(zipped(*entries), folder, MB)


def test_a_full_disk_is_reported_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OSError) as full:
        unpack(zipped(("a.txt", bytes(100))), folder, MB)
    assert full.value.errno == errno.ENOSPC and not files_of(folder)


def test_the_top_folder_is_found_below_single_folders(folder):
    unpack(
        zipped(("photos/set/a.txt", b"1"), ("photos/set/b/c.txt", b"2"), ("__MACOSX/x", b""), (".DS_Store", b"")),
        folder,
        MB,
    )
    assert top_folder(folder) == folder / "photos" / "set"
    (folder / "photos" / "readme.txt").write_text("x")
    assert top_folder(folder) == folder / "photos"


def test_a_packed_folder_can_be_unpacked(folder, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "ä.txt").write_bytes(b"1")
    (source / "b.bin").write_bytes(bytes(1000))
    file = io.BytesIO()
    pack(source, file)
    file.seek(0)
    unpack(file, folder, MB)
    assert files_of(folder) == files_of(source)


def test_a_file_without_a_name_is_refused(folder):
    with pytest.raises(ArchiveError, match="without a name"):
        unpack(zipped((zipfile.ZipInfo(""), b"1")), folder, MB)
    assert not files_of(folder)


def test_offsets_before_the_start_of_the_file_are_refused(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    content[content.index(b"PK\x01\x02") + 42] = 0xFF  # the offset of a.txt in the table
    content[content.rindex(b"PK\x05\x06") + 17] = 0xFF  # the offset of the table, past all files
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(bytes(content)), folder, MB)


def test_a_caller_may_choose_the_file_of_each_entry_or_leave_it_out(folder):
    long_name, names = f"{'é' * 250}.jpg", []

    def place(name):
        names.append(name)
        return None if name.endswith(".txt") else folder / str(len(names))

    unpack(zipped(("a/", b""), ("a/1.jpg", b"one"), ("notes.txt", b"x"), (long_name, b"two")), folder, MB, place)
    assert names == ["a/1.jpg", "notes.txt", long_name]
    assert files_of(folder) == {"1": b"one", "3": b"two"}
