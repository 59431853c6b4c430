"""The benchmark of collections runs against the real service and reports its measurements."""

import json

import pytest

from benchmarks.dropped_photos import Drop
from benchmarks.photo_collections import Export, Sent, main, parts_of, photos_of, report
from captioner.exports import EXPORT_FORMATS
from tests.support.photo_sets import photo_bytes


def test_the_benchmark_measures_a_real_service(tmp_path, capsys):
    output = tmp_path / "figures" / "collections.json"
    sizes = ["--count", "12", "--rounds", "1", "--captions", "20"]
    assert main([*sizes, "--no-browser", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())
    (sent,) = (Sent(**values) for values in figures["sent"])
    assert 0 < sent.first_caption_seconds <= 12 / sent.per_second + 1 and sent.sent_seconds > 0
    before, most, after = sent.memory_mb
    assert 100 < before <= most and 100 < after
    assert figures["command_line"][0] > 0
    exports = [Export(**values) for values in figures["exports"]]
    assert [export.format for export in exports] == list(EXPORT_FORMATS)
    assert all(0 < export.first_byte_seconds <= export.seconds and export.megabytes > 0 for export in exports)
    printed = capsys.readouterr().out
    assert printed.strip() == report(figures).strip() and "20 captions exported" in printed


def test_photos_dropped_on_the_page_have_a_table_of_their_own():
    figures = {"machine": "m", "photos": 3, "captions": 2, "sent": [], "command_line": [], "exports": []}
    assert "dropped on the page" not in report(figures)
    assert "| 1 | 1.50 | 9.00 | 2 | 250 |" in report(figures | {"dropped": [vars(Drop(1.5, 9.0, 2, 250.0))]})


def test_photos_are_sent_in_parts_as_by_the_page(tmp_path):
    for number in range(120):
        (tmp_path / f"{number:03}.jpg").write_bytes(photo_bytes(0))
    (tmp_path / "notes.txt").write_text("a dog")
    paths = photos_of(tmp_path, 115)
    assert len(paths) == 115 and [len(part) for part in parts_of(paths)] == [8, 100, 7]


def test_a_folder_without_photos_is_named(tmp_path, capsys):
    assert main(["--photos", str(tmp_path)]) == 2
    assert "holds no photos" in capsys.readouterr().err


@pytest.mark.browser
def test_a_drop_on_the_page_is_timed(tmp_path, shipped):
    from benchmarks.dropped_photos import browser_path, drop_photos
    from service.settings import Settings
    from tests.support.serving import serving

    browser = browser_path()
    if browser is None:
        pytest.skip("there is no Chromium or Chrome here: install one, or name it by the environment variable CHROMIUM")
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(photo_bytes(number))
    with serving(Settings(home=tmp_path / "home", port=0, device="cpu"), shipped) as running:
        drop = drop_photos(running.url.rstrip("/"), photos_of(tmp_path, 10), browser)
    assert 0 < drop.first_caption_seconds <= drop.seconds and drop.longest_task_ms >= 0
