"""The attention benchmark trains its variants, stores their scores, and resumes after an interruption."""

import json

import pytest

from benchmarks import attention
from benchmarks.attention import Result, Variant, main, table
from tests.support.shapes import draw_shapes, write_boxes


@pytest.fixture
def data(tmp_path):
    drawings = draw_shapes(tmp_path / "shapes", {"train": 12, "val": 4})
    write_boxes(tmp_path / "boxes.json", drawings)
    return tmp_path


def arguments_for(folder):
    values = {
        "data": folder / "shapes", "boxes": folder / "boxes.json", "output": folder / "runs", "cache": folder / "cache",
        "encoder": "efficientnet_lite0", "image-size": 64, "size": 8, "epochs": 1, "photos": 10, "device": "cpu",
    }  # fmt: skip
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def test_variants_are_trained_and_scored_once(data, monkeypatch, capsys):
    variants = (
        Variant("soft", seeds=2),
        Variant("none", {"attention": "none"}),
        Variant("hard, told where to look", {"attention": "hard", "scales": 2}, {"supervision_weight": 1.0}),
    )
    monkeypatch.setattr(attention, "VARIANTS", variants)
    monkeypatch.setattr(attention, "TIMED_ROUNDS", 1)
    assert main(arguments_for(data)) == 0
    results, seconds = results_in(data / "runs")
    assert [(result.variant, result.seed) for result in results] == [
        ("soft", 0), ("soft", 1), ("none", 0), ("hard, told where to look", 0),
    ]  # fmt: skip
    assert all(0 < result.attention_correctness < 1 and 0 <= result.pointing <= 1 for result in results)
    assert list(seconds) == ["soft", "none", "hard, told where to look"] and min(seconds.values()) > 0
    assert capsys.readouterr().out.strip().endswith(table(results, seconds))
    monkeypatch.setattr(attention, "time_variants", lambda variants, *_: {variant.name: 1.0 for variant in variants})
    monkeypatch.setattr(attention, "fit", None)  # a call would fail
    assert main([*arguments_for(data), "--only", "soft"]) == 0
    assert results_in(data / "runs") == (results[:2], {"soft": 1.0})


def results_in(folder):
    values = json.loads((folder / "results.json").read_text())
    return [Result(**result) for result in values["results"]], values["seconds_per_1000_photos"]


def test_the_table_shows_means_and_the_spread_over_seeds():
    runs = [Result("soft", seed, 0.5 + seed / 10, 0.2, 0.4, 0.6) for seed in range(2)]
    lines = table([*runs, Result("none", 0, 0.4, 0.1, 0.3, 0.0)], {"soft": 30.25, "none": 12.3}).splitlines()
    assert lines[2] == "| soft | 0.550 (0.500 to 0.600) | 0.200 | 0.400 | 0.600 | 30.2 |"
    assert lines[3] == "| none | 0.400 | 0.100 | 0.300 | 0.000 | 12.3 |"
    assert len(lines) == 4


def test_unreadable_data_is_reported(tmp_path, capsys):
    assert main(arguments_for(tmp_path)) == 2
    assert "does not exist" in capsys.readouterr().err
