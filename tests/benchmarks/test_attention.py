"""The benchmark of attention trains its variants, keeps what they scored, and goes on where it was stopped."""

import json

import pytest

from benchmarks import attention
from benchmarks.attention import Result, Variant, main, table
from tests.training.shapes import draw_shapes, write_boxes


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


def test_variants_are_trained_scored_and_not_trained_again(data, monkeypatch, capsys):
    variants = (
        Variant("soft", seeds=2),
        Variant("none", {"attention": "none"}),
        Variant("hard, told where to look", {"attention": "hard", "scales": 2}, {"supervision_weight": 1.0}),
    )
    monkeypatch.setattr(attention, "VARIANTS", variants)
    assert main(arguments_for(data)) == 0
    results = [Result(**result) for result in json.loads((data / "runs" / "results.json").read_text())]
    assert [(result.variant, result.seed) for result in results] == [
        ("soft", 0), ("soft", 1), ("none", 0), ("hard, told where to look", 0),
    ]  # fmt: skip
    assert all(0 < result.attention_correctness < 1 and 0 <= result.pointing <= 1 for result in results)
    assert all(result.seconds_per_epoch >= 0 for result in results)  # kept to a tenth
    assert capsys.readouterr().out.strip().endswith(table(results))
    monkeypatch.setattr(attention, "fit", None)  # would be called, and fail
    assert main([*arguments_for(data), "--only", "soft"]) == 0
    kept = [Result(**result) for result in json.loads((data / "runs" / "results.json").read_text())]
    assert kept == results[:2]


def test_the_table_has_means_and_the_spread_of_seeds():
    runs = [Result("soft", seed, 0.5 + seed / 10, 0.2, 0.4, 0.6, 30.0 + seed) for seed in range(2)]
    lines = table([*runs, Result("none", 0, 0.4, 0.1, 0.3, 0.0, 12.3)]).splitlines()
    assert lines[2] == "| soft | 0.550 (0.500 to 0.600) | 0.200 | 0.400 | 0.600 | 30 |"
    assert lines[3] == "| none | 0.400 | 0.100 | 0.300 | 0.000 | 12 |"
    assert len(lines) == 4


def test_data_that_cannot_be_read_are_told(tmp_path, capsys):
    assert main(arguments_for(tmp_path)) == 2
    assert "does not exist" in capsys.readouterr().err
