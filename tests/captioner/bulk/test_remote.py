"""Photos at remote addresses are read, from a memory file system and from a real web server."""

import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from captioner.bulk.sources import photos_at
from captioner.errors import ConfigError, ImageError
from captioner.images.finding import SkippedFiles


def find_photos(*inputs: str, recursive: bool = False, is_wanted=lambda name: True) -> dict[str, tuple[str, object]]:
    return {photo.name: (photo.relative_path, photo.source) for photo in photos_at(inputs, recursive, is_wanted)}


def tar_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{name}.jpg")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    content = {"a.jpg": b"a", "deep/b.png": b"b", "notes.txt": b"", "photos.tar.gz": tar_of(x=b"x")}
    for name, value in content.items():
        files.pipe_file(f"/bucket/{name}", value)
    yield files
    files.rm("/bucket", recursive=True)


def test_folders_globs_files_and_archives_are_read(bucket):
    assert find_photos("memory://bucket") == {"memory:///bucket/a.jpg": ("a.jpg", b"a")}
    both = {"memory:///bucket/a.jpg": ("a.jpg", b"a"), "memory:///bucket/deep/b.png": ("deep/b.png", b"b")}
    assert find_photos("memory://bucket/", recursive=True) == both
    assert {path for path, _ in find_photos("memory://bucket/**/*.*g").values()} == {
        "bucket/a.jpg",
        "bucket/deep/b.png",
    }
    assert find_photos("memory://bucket/notes.txt") == {"memory:///bucket/notes.txt": ("notes.txt", b"")}
    assert find_photos("memory://bucket/photos.tar.gz") == {"memory://bucket/photos.tar.gz/x.jpg": ("x.jpg", b"x")}


def test_other_files_are_counted_by_name(bucket):
    others = SkippedFiles()
    list(photos_at(["memory://bucket/"], True, lambda name: True, skipped=others))
    assert others.count == 2 and others.summary().startswith("2 files were skipped: ")
    assert "/bucket/notes.txt" in others.summary() and "(" not in others.summary()


def test_unwanted_files_are_not_fetched(bucket, monkeypatch):
    monkeypatch.setattr(type(bucket), "cat_file", lambda *_, **__: pytest.fail("an unwanted file was fetched"))
    assert find_photos("memory://bucket", recursive=True, is_wanted=lambda name: False) == {}


def test_each_missing_address_is_reported(bucket):
    for address in ("memory://gone/a.jpg", "memory://gone.tar", "memory://bucket/none-*.jpg", "memory://gone/"):
        ((name, (_, problem)),) = find_photos(address).items()
        assert isinstance(problem, ImageError) and name.rpartition("/")[2] in str(problem)


@pytest.mark.parametrize(
    ("address", "reason"), [("s3://b/a.jpg", "s3fs"), ("gs://b/a.jpg", "gcsfs"), ("odd://b/a.jpg", "give s3://")]
)
def test_an_unsupported_address_names_the_package_to_install(address, reason):
    with pytest.raises(ConfigError, match=f"{address} cannot be read.*{reason}"):
        find_photos(address)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "deep" / "b c.png").write_bytes(b"b")
    (tmp_path / "t.tar.gz").write_bytes(tar_of(x=b"x", y=b"y"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_serves_photos_folders_and_archives(site):
    assert find_photos(f"{site}/a.jpg?size=large") == {f"{site}/a.jpg?size=large": ("a.jpg", b"a")}
    assert find_photos(f"{site}/", recursive=True) == {
        f"{site}/a.jpg": ("a.jpg", b"a"), f"{site}/deep/b%20c.png": ("deep/b c.png", b"b"),
    }  # fmt: skip
    assert find_photos(f"{site}/t.tar.gz") == {
        f"{site}/t.tar.gz/x.jpg": ("x.jpg", b"x"), f"{site}/t.tar.gz/y.jpg": ("y.jpg", b"y"),
    }  # fmt: skip
    ((name, (_, problem)),) = find_photos(f"{site}/gone.jpg").items()
    assert name == f"{site}/gone.jpg" and isinstance(problem, ImageError)
