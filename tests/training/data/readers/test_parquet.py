"""Parquet files as Hugging Face writes them are read."""

import io
import sys

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from captioner.errors import DataError
from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.readers import unpacked
from training.data.records import read_records


def png(colour="red"):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stream, "png")
    return stream.getvalue()


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def inside(name, captions, **more):
    return {"image": {"bytes": png(), "path": name}, "caption": captions, **more}


def test_embedded_photos_are_read_with_splits_by_file_name(tmp_path):
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [inside("a.png", ["A dog.", "One dog."])])
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [inside("a.png", ["A cow."]), inside(None, ["A hen."])])
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", [inside("a.png", ["A cat."])])
    write(tmp_path / "README.md", "# Data\n")
    data = read_records(tmp_path)
    assert data.format == "parquet" and not data.problems
    assert [(record.split, record.captions) for record in data.records] == [
        ("train", ("A dog.", "One dog.")), ("train", ("A cow.",)), ("train", ("A hen.",)), ("val", ("A cat.",)),
    ]  # fmt: skip
    assert len({record.path for record in data.records}) == 4
    for record in data.records:
        with Image.open(record.path) as image:
            assert image.size == (8, 6)
        assert record.path.suffix == ".png"


def test_plain_bytes_a_split_column_and_rows_without_photos_are_read(tmp_path):
    rows = [
        {"image": png(), "text": "A dog.", "split": "train"},
        {"image": png(), "text": "A cat.", "split": "validation"},
        {"image": None, "text": "Nobody.", "split": "train"},
        {"image": b"no photo", "text": "Damaged.", "split": "test"},
    ]
    data = read_records(parquet(tmp_path / "x.parquet", rows))
    assert [(record.split, record.captions) for record in data.records] == [
        ("train", ("A dog.",)), ("val", ("A cat.",)), ("test", ("Damaged.",)),
    ]  # fmt: skip
    assert positions(data, "missing_image") == ["x.parquet row 3"]


def test_photos_beside_the_file_are_found_by_name(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    parquet(tmp_path / "metadata.parquet", [{"file_name": "a.jpg", "caption_0": "A dog.", "caption_1": "One dog."}])
    assert by_name(read_records(tmp_path))["a.jpg"].captions == ("A dog.", "One dog.")


def test_unusable_files_are_refused_with_the_reason(tmp_path):
    addresses = parquet(tmp_path / "a.parquet", [{"url": "https://example.org/a.jpg", "caption": "A dog."}])
    with pytest.raises(DataError, match="addresses.*not fetched"):
        read_records(addresses)
    second = parquet(tmp_path / "b.parquet", [{"x": 1, "y": 2}])
    with pytest.raises(DataError, match="b.parquet: columns x, y; no image column"):
        read_records(second)
    with pytest.raises(DataError, match="c.parquet: is not a readable Parquet file"):
        read_records(write(tmp_path / "c.parquet", b"PAR1 nothing PAR1"))


def test_without_pyarrow_the_error_names_the_package_to_install(tmp_path, monkeypatch):
    parquet(tmp_path / "train.parquet", [inside("a.png", ["A dog."])])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for path in (tmp_path, tmp_path / "train.parquet"):
        with pytest.raises(DataError, match=r"train.parquet: is Parquet, and pyarrow is not installed: pip install"):
            read_records(path)
    photo(tmp_path / "a.jpg")
    write(tmp_path / "t.csv", "image,caption\na.jpg,A dog.\n")
    data = read_records(tmp_path)
    assert data.format == "table" and "pyarrow is not installed" in str(data.problems[0])


def test_text_that_is_not_utf8_and_repeated_columns_are_refused(tmp_path):
    offsets, text = pyarrow.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pyarrow.py_buffer(b"\xff\xfe")
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, offsets, text])
    pyarrow.parquet.write_table(pyarrow.table({"image": [png()], "caption": broken}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="a.parquet is damaged after row 0"):
        read_records(tmp_path / "a.parquet")
    table = pyarrow.Table.from_arrays(
        [pyarrow.array([value]) for value in (png(), "A dog.", "b")], ["image", "caption", "image"]
    )
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="b.parquet has 2 columns named image: rename"):
        read_records(tmp_path / "b.parquet")


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "RATIO_FROM_BYTES", 1_000_000)
    photos = pyarrow.array([bytes(100_000)] * 1000)  # one entry of a dictionary
    table = pyarrow.table({"image": photos, "caption": ["A dog."] * 1000})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", compression="zstd")
    with pytest.raises(DataError, match=r"x.parquet would unpack to more than 100 times its size"):
        read_records(tmp_path / "x.parquet")
    assert not list((tmp_path / ".unpacked").glob("*/*"))
