"""The memory of a bulk run: a real run is read while it captions."""

import pytest

from benchmarks.growth import memory
from benchmarks.growth.memory import bulk_run, by_marks, link_photos, marks_up_to
from tests.support.benchmark_results import check_curve


def test_a_real_run_is_measured():
    results = memory.measure(None, quick=True)
    check_curve(memory, results, [8, 16, 24])
    assert results.curve.points[0].y.least > 100, "torch alone takes more"
    assert results.per_second > 0 and results.line_bytes > 50


def test_marks_are_evenly_spread_on_a_logarithmic_axis():
    assert marks_up_to(10_000) == (100, 200, 500, 1000, 2000, 5000, 10_000)
    assert marks_up_to(300) == (100, 200, 300)


def test_readings_belong_to_the_mark_after_them():
    readings = [(0.1, 50, 400.0), (0.2, 100, 410.0), (0.3, 150, 420.0), (0.4, 700, 430.0), (0.5, 1000, 440.0)]
    assert by_marks(readings, (100, 200, 500, 1000)) == {
        100: [400.0, 410.0], 200: [420.0], 500: [430.0], 1000: [430.0, 440.0],
    }  # fmt: skip


def test_links_are_photos_of_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LINKS", 2)
    link_photos(tmp_path / "photos", 5)
    paths = sorted((tmp_path / "photos").iterdir())
    assert len(paths) == 5 and len({path.read_bytes() for path in paths}) == 1
    assert len({path.stat().st_ino for path in paths}) == 3


def test_a_run_that_fails_is_reported_with_its_message(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)did not caption all photos: .*does not exist"):
        bulk_run(tmp_path / "missing", tmp_path / "captions.jsonl", 5)
