"""HEIC photos of a data set are used if they can be opened, and reported otherwise."""

import numpy as np
import pytest
from PIL import Image

from tests.support.tiny_data_sets import photo, positions, write
from training.data.records import read_records
from training.inspection.advice import advice
from training.inspection.report import inspect_data

BROKEN = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)


def real_heic():
    heif = pytest.importorskip("pillow_heif")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return heif.from_pillow(Image.fromarray(pixels))


def table(folder, names):
    rows = "".join(f"{name},a dog on the beach\n" for name in names)
    write(folder / "captions.csv", f"image,caption\n{rows}")
    return read_records(folder)


def test_a_broken_heic_photo_is_counted_and_named_with_advice(tmp_path):
    write(tmp_path / "a.HEIC", BROKEN)
    photo(tmp_path / "b.jpg", "red")
    photo(tmp_path / "c.jpg", "blue")
    data = table(tmp_path, ["a.HEIC", "b.jpg", "c.jpg"])
    assert [record.path.name for record in data.records] == ["b.jpg", "c.jpg"]
    (problem,) = [problem for problem in data.problems if problem.kind == "unreadable_image"]
    assert problem.file == "a.HEIC" and problem.lost == 1
    assert "HEIC photo" in problem.message and "as JPEG" in problem.message
    report = inspect_data(data, progress=False)
    assert report.total.captions == 2 and advice(data, report)[0], "the lost caption is not subtracted again"


def test_a_readable_heic_photo_is_used(tmp_path):
    real_heic().save(tmp_path / "a.heic")
    data = table(tmp_path, ["a.heic"])
    assert len(data.records) == 1 and not positions(data, "unreadable_image")


def test_a_jpeg_with_a_heic_suffix_is_used(tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.heic")
    assert len(table(tmp_path, ["a.heic"]).records) == 1
