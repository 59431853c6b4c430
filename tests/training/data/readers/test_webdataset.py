"""Tars as img2dataset writes them: photos are unpacked once and keep their captions."""

import io
import json
import os
import tarfile

import pytest
from PIL import Image

from captioner.errors import DataError
from tests.support.tiny_data_sets import photo, positions, write
from training.data.readers import unpacked
from training.data.records import read_records


def jpeg(colour="red"):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stream, "jpeg")
    return stream.getvalue()


def tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                file.addfile(content)
                continue
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def sample(number, caption, **more):
    described = json.dumps({"caption": caption, "url": "https://example.org", "key": number} | more).encode()
    return [(f"{number}.jpg", jpeg()), (f"{number}.txt", caption.encode()), (f"{number}.json", described)]


def texts(data):
    return {record.image_id: record.captions for record in data.records}


def test_shards_of_img2dataset_are_read(tmp_path):
    tar(tmp_path / "00000.tar", [*sample("000000000", "A dog."), *sample("000000001", "A cat.")])
    tar(tmp_path / "00001.tar", sample("000010000", "A cow."))
    write(tmp_path / "00000_stats.json", json.dumps({"count": 2, "successes": 2}))
    data = read_records(tmp_path)
    assert data.format == "webdataset" and data.drawn_splits
    assert texts(data) == {
        "00000/000000000.jpg": ("A dog.",), "00000/000000001.jpg": ("A cat.",), "00001/000010000.jpg": ("A cow.",),
    }  # fmt: skip
    for record in data.records:
        with Image.open(record.path) as image:
            assert image.size == (8, 6)
    assert positions(data, "unused_file") == ["00000_stats.json"]
    assert texts(read_records(tmp_path / "00001.tar")) == {"00001/000010000.jpg": ("A cow.",)}


def test_splits_come_from_names_and_folders(tmp_path):
    tar(tmp_path / "a" / "train-0.tar", sample("1", "A dog."))
    tar(tmp_path / "a" / "val-0.tar", sample("1", "A cat."))
    tar(tmp_path / "b" / "train" / "0.tar", sample("1", "A dog."))
    tar(tmp_path / "b" / "valid" / "0.tar", sample("1", "A cat."))
    for name in "ab":
        data = read_records(tmp_path / name)
        assert sorted((record.split, record.captions) for record in data.records) == [
            ("train", ("A dog.",)), ("val", ("A cat.",)),
        ]  # fmt: skip


def test_captions_from_json_are_read_and_photos_without_captions_are_reported(tmp_path):
    members = [m for m in sample("1", "A dog.") if not m[0].endswith(".txt")]
    members += [("2.png", jpeg()), ("3.jpg", jpeg()), ("3.json", b"{"), ("4.txt", b"A cat.")]
    data = read_records(tar(tmp_path / "x.tar", members))
    assert texts(data) == {"x/1.jpg": ("A dog.",)}
    assert positions(data, "uncaptioned_image") == ["x.tar 2.png", "x.tar 3.jpg"]
    assert positions(data, "missing_image") == ["x.tar 4"]


def test_a_tar_is_unpacked_once_and_again_when_it_changed(tmp_path, monkeypatch):
    file = tar(tmp_path / "x.tar", sample("1", "A dog."))
    first = read_records(file).records[0].path
    with monkeypatch.context() as patch:
        patch.setattr(unpacked, "_write_photos", lambda *_: pytest.fail("unpacked again"))
        assert read_records(file).records[0].path == first
    tar(file, sample("1", "A much longer caption of a dog."))
    os.utime(file, ns=(0, 0))
    data = read_records(file)
    assert texts(data) == {"x/1.jpg": ("A much longer caption of a dog.",)} and not first.exists()
    assert not positions(data, "ignored_file")


def test_leftovers_of_a_crash_are_removed_when_the_archive_is_unpacked_again(tmp_path):
    (path,) = (record.path for record in read_records(tar(tmp_path / "x.tar", sample("1", "A dog."))).records)
    top = path.parents[1]
    for name in (f".{path.parent.name}.part", "x.tar-0-tmp", ".y.tar-1-2.part"):
        write(top / name / "000000.jpg", "half")
    read_records(tar(tmp_path / "x.tar", sample("1", "A longer caption.")))
    assert not list(top.glob("*x.tar-*tmp")) and not list(top.glob(".x.tar-*")), "of this archive"
    assert list(top.glob(".y.tar-*")), "another process may be at work on this one"


def test_no_file_is_unpacked_outside_the_folder(tmp_path):
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [("../../evil.jpg", jpeg()), ("../../evil.txt", b"A dog."), ("2.jpg", link), ("2.txt", b"A link.")]
    members += [("/abs/3.jpg", jpeg()), ("/abs/3.txt", b"A cat.")]
    data = read_records(tar(tmp_path / "set" / "x.tar", members))
    assert sorted(record.captions for record in data.records) == [("A cat.",), ("A dog.",)]
    assert all(record.path.resolve().is_relative_to((tmp_path / "set").resolve()) for record in data.records)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_unusable_tars_are_refused_with_the_reason(tmp_path):
    damaged = tar(tmp_path / "damaged.tar", [("1.jpg", jpeg() * 60), ("1.txt", b"A dog.")])
    damaged.write_bytes(damaged.read_bytes()[:9000])
    for name, content, message in (
        ("damaged.tar", None, "damaged|not a readable tar"),
        ("other.tar", [("a.py", b"x")], r"its first files \(\.py\) are not photos"),
        ("none.tar", b"nothing", "is not a readable tar"),
    ):
        file = tmp_path / name
        if isinstance(content, list):
            tar(file, content)
        elif content:
            write(file, content)
        with pytest.raises(DataError, match=message):
            read_records(file)


def test_photos_are_unpacked_into_the_cache_if_their_folder_cannot_be_written(tmp_path, monkeypatch):
    file = tar(tmp_path / "data" / "x.tar", sample("1", "A dog."))
    write(tmp_path / "data" / ".unpacked", "in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        (record,) = read_records(file).records
        assert record.captions == ("A dog.",)
        assert record.path.is_relative_to(tmp_path / "cache" / "captioner") and record.path.read_bytes() == jpeg()


def test_folders_that_cannot_be_written_are_reported(tmp_path, monkeypatch):
    file = tar(tmp_path / "x.tar", sample("1", "A dog."))
    write(tmp_path / ".unpacked", "in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".unpacked"))
    with pytest.raises(DataError, match=r"x\.tar: its photos cannot be unpacked into .*unpack it elsewhere"):
        read_records(file)


def test_a_compressed_tar_is_refused_with_advice(tmp_path):
    photo(tmp_path / "a.jpg")
    with tarfile.open(tmp_path / "x.tgz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"x\.tgz: is an archive: unpack it"):
        read_records(tmp_path)


@pytest.mark.parametrize("line", ['["1", "../../secret.jpg", "1", {}]', "no JSON", '["1"]', '["1", 5, "1", {}]'])
def test_unpacked_records_cannot_point_outside(tmp_path, line):
    photo(tmp_path / "secret.jpg")
    file = tar(tmp_path / "set" / "x.tar", sample("1", "A dog."))
    records = read_records(file).records[0].path.parent / "records.jsonl"
    records.write_text(line + "\n")
    with pytest.raises(DataError, match="records.jsonl is damaged: remove"):
        read_records(file)
