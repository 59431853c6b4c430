"""What a zip may do to the folder that it is unpacked into, and nothing else."""

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
    """A zip of (name or ZipInfo, content)."""
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


def test_files_and_folders_come_out_as_they_were(folder):
    entries = {"a/b/one.txt": b"1", "two.txt": b"", "Käse/狗.txt": b"3"}
    unpack(zipped(*entries.items(), ("empty/", b"")), folder, MB)
    assert files_of(folder) == entries and (folder / "empty").is_dir()


def test_names_as_windows_and_macos_write_them(folder):
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
def test_a_name_that_leads_out_is_refused_before_anything_is_written(folder, name):
    with pytest.raises(ArchiveError, match="outside its own folder"):
        unpack(zipped(("good.txt", b"1"), (name, b"2")), folder, MB)
    assert not files_of(folder.parent)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(folder, kind):
    link = zipfile.ZipInfo("link")
    link.external_attr = (kind | 0o777) << 16
    with pytest.raises(ArchiveError, match="link or a device"):
        unpack(zipped((link, "/etc/passwd")), folder, MB)


def test_more_than_the_most_is_refused_from_what_it_tells_of_itself(folder):
    with pytest.raises(ArchiveError, match="more than 1 MB: send less, or raise CAPTIONER_MAX_DATASET_MB"):
        unpack(zipped(("a", bytes(700_000)), ("b", bytes(400_000))), folder, MB)
    assert not files_of(folder)


def test_more_than_the_most_is_refused_where_it_lies_about_its_sizes(folder):
    content = zipped(("a", bytes(3 * MB)), method=zipfile.ZIP_DEFLATED).getvalue()
    lying = content.replace(struct.pack("<L", 3 * MB), struct.pack("<L", 1000))
    assert lying != content
    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(lying), folder, MB)
    assert sum(map(len, files_of(folder).values())) <= MB


def test_a_bomb_is_known_by_its_ratio(folder):
    with pytest.raises(ArchiveError, match="times its size"):
        unpack(zipped(("a", bytes(60 * MB)), method=zipfile.ZIP_DEFLATED), folder, 100 * MB)
    assert not files_of(folder)


def test_too_many_files(folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    with pytest.raises(ArchiveError, match="contains 11 files, but the limit is 10"):
        unpack(zipped(*((str(number), b"") for number in range(11))), folder, MB)


def test_a_zip_in_a_zip_stays_one(folder):
    inner = zipped(("../../evil.txt", b"1")).getvalue()
    unpack(zipped(("inner.zip", inner)), folder, MB)
    assert files_of(folder) == {"inner.zip": inner}


def test_a_password(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    for marker, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(marker) + offset] |= 1
    with pytest.raises(ArchiveError, match="protected by a password"):
        unpack(io.BytesIO(content), folder, MB)


@pytest.mark.parametrize("keep", [0, 10, 500, 5000])
def test_a_zip_that_was_cut_short(folder, keep):
    content = zipped(("a.txt", bytes(range(256)) * 20), ("b.txt", b"2")).getvalue()
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        unpack(io.BytesIO(content[:keep]), folder, MB)


def test_what_is_no_zip_and_what_was_changed_on_the_way(folder):
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(b"GIF89a" * 100), folder, MB)
    content = zipped(("a.txt", b"hello hello")).getvalue().replace(b"hello hello", b"hello jello")
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(content), folder, MB)


def test_a_method_that_nobody_knows(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    for marker, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(marker) + offset] = 97
    with pytest.raises(ArchiveError, match="create it again as a plain zip"):
        unpack(io.BytesIO(content), folder, MB)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(folder):
    with pytest.raises(ArchiveError, match="'a.txt' twice"):
        unpack(zipped(("a.txt", b"1"), ("a.txt", b"2")), folder, MB)


@pytest.mark.parametrize("entries", [[("x" * 300, b"")], [("a", b"1"), ("a/b", b"2")]])
def test_names_that_no_disk_takes(folder, entries):
    with pytest.raises(ArchiveError, match="shorten names to 255 bytes"):
        unpack(zipped(*entries), folder, MB)


def test_a_disk_without_room_is_told_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OSError) as full:
        unpack(zipped(("a.txt", bytes(100))), folder, MB)
    assert full.value.errno == errno.ENOSPC and not files_of(folder)


def test_the_folder_in_a_zip_of_one_folder(folder):
    unpack(
        zipped(("photos/set/a.txt", b"1"), ("photos/set/b/c.txt", b"2"), ("__MACOSX/x", b""), (".DS_Store", b"")),
        folder,
        MB,
    )
    assert top_folder(folder) == folder / "photos" / "set"
    (folder / "photos" / "readme.txt").write_text("x")
    assert top_folder(folder) == folder / "photos"


def test_what_is_packed_can_be_unpacked(folder, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "ä.txt").write_bytes(b"1")
    (source / "b.bin").write_bytes(bytes(1000))
    file = io.BytesIO()
    pack(source, file)
    file.seek(0)
    unpack(file, folder, MB)
    assert files_of(folder) == files_of(source)


def test_a_file_without_a_name(folder):
    with pytest.raises(ArchiveError, match="without a name"):
        unpack(zipped((zipfile.ZipInfo(""), b"1")), folder, MB)
    assert not files_of(folder)


def test_a_table_that_points_before_the_file(folder):
    content = bytearray(zipped(("a.txt", b"1")).getvalue())
    content[content.index(b"PK\x01\x02") + 42] = 0xFF  # where in the file a.txt begins, as the table says
    content[content.rindex(b"PK\x05\x06") + 17] = 0xFF  # where the table begins: so far on that all else lies before
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(io.BytesIO(bytes(content)), folder, MB)
