"""One command measures whether the order of corrections beats chance."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from captioner.captioner import Captioner
from tests.support.confidence_models import drawn_model
from tests.support.shapes import draw_shapes
from training import __main__ as training
from training.data.records import read_records
from training.evaluation import metrics
from training.evaluation.metrics import Scores
from training.recipes import correcting


@pytest.fixture
def measure(monkeypatch, tiny_bundle, tmp_path):
    """Run the recipe on drawn data without training and scoring -> exit status, commands, photos of each scoring."""
    data = tmp_path / "data"
    draw_shapes(data, {"train": 12, "val": 3})
    monkeypatch.setattr(correcting, "MIN_REFERENCES", 1)
    bundle = dataclasses.replace(tiny_bundle, confidence=drawn_model(64))
    monkeypatch.setattr(correcting.captioner, "load", lambda path, device, **_: Captioner(bundle, "cpu"))
    commands, scored = [], []

    def score(captions, references):
        assert captions.keys() == references.keys()
        scored.append(set(captions))
        return Scores({"CIDEr": len(scored) / 10}, {})

    monkeypatch.setattr(training, "main", lambda arguments: commands.append(arguments) or 0)
    monkeypatch.setattr(metrics, "score_captions", score)

    def run_recipe(*more):
        options = "--corrections 2 4 --pool 8 --scored 3 --validation 2 --seeds 2 --bundle b".split()
        status = correcting.main(["--data", str(data), "--output", str(tmp_path / "out"), *options, *more])
        return status, commands, scored

    return run_recipe


def rows_of(folder):
    with open(folder / "data" / "captions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_both_orders_train_on_as_many_corrections_and_are_scored(measure, tmp_path, capsys):
    status, fits, scored = measure()
    assert status == 0
    assert len(fits) == 8 and len(scored) == 9, "the captioner is scored before, and after each training"
    assert all(fit[fit.index("--from-bundle") + 1] == "b" for fit in fits)
    for order in correcting.ORDERS:
        for count in (2, 4):
            for seed in (0, 1):
                rows = rows_of(tmp_path / "out" / f"{order}-{count}-{seed}")
                trained = [row["image"] for row in rows if row["split"] == "train"]
                assert len(trained) == len(set(trained)) == count, "one caption for each photo"
                assert len({row["image"] for row in rows if row["split"] == "val"}) == 2
    output = capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text() in output
    assert "| none | 0.100 | 0.100 |  |  |" in output and output.count("\n| ") >= 4
    assert json.loads((tmp_path / "out" / "table.json").read_text())["before"] == 0.1


def test_a_measured_variant_is_not_trained_again(measure):
    _, commands, scored = measure()
    assert measure()[0] == 0 and (len(commands), len(scored)) == (8, 9)


def test_too_few_photos_are_reported_before_any_training(measure, capsys):
    status, commands, _ = measure("--corrections", "9")
    assert status == 2 and "8 photos of" in capsys.readouterr().err and not commands


def test_the_scored_photos_are_in_no_collection(measure, tmp_path):
    _, _, scored = measure()
    assert len(scored[0]) == 3 and all(photos == scored[0] for photos in scored), "the same photos each time"
    records = read_records(tmp_path / "data").split("train")
    contents = {record.path.read_bytes() for record in records if record.image_id in scored[0]}
    assert len(contents) == 3
    trained = list((tmp_path / "out").glob("*-*-*/data/train*"))
    assert trained and not any(path.read_bytes() in contents for path in trained)


def test_a_captioner_without_confidence_is_refused(measure, monkeypatch, tiny_bundle, capsys):
    monkeypatch.setattr(correcting.captioner, "load", lambda path, device, **_: Captioner(tiny_bundle, "cpu"))
    status, commands, _ = measure()
    assert status == 2 and "calibrate" in capsys.readouterr().err and not commands


def test_data_without_several_captions_of_a_photo_is_refused(measure, monkeypatch, capsys):
    monkeypatch.setattr(correcting, "MIN_REFERENCES", 2)
    status, commands, scored = measure()
    assert status == 2 and "has 2 captions" in capsys.readouterr().err and not commands and not scored


def test_a_collection_has_features_of_the_photos_that_can_be_read(tiny_bundle, tmp_path):
    draw_shapes(tmp_path, {"train": 3})
    records = read_records(tmp_path).split("train")
    records[1].path.write_bytes(b"no photo")
    indices, features, confidences = correcting.caption_records(Captioner(tiny_bundle, "cpu"), records)
    assert list(indices) == [0, 2] and features.shape[0] == len(confidences) == 2
    assert np.isfinite(features).all() and np.linalg.norm(features[0] - features[1]) > 0


def test_more_corrections_begin_with_the_same_photos():
    features, confidences = np.random.default_rng(0).random((20, 4)), np.full(20, 0.5)
    for order in correcting.ORDERS:
        few, many = (correcting.choose(order, count, 3, features, confidences) for count in (5, 10))
        assert many[:5] == few and len(set(many)) == 10
    first, second = (correcting.choose("random", 5, seed, features, confidences) for seed in (1, 2))
    assert first != second


def test_the_table_has_the_mean_and_the_range_of_the_seeds():
    text = correcting.table({"before": 0.5, "random": {"50": [0.6, 0.8]}, "unlike": {"50": [0.7, 0.9]}})
    assert "| 50 | 0.700 (0.600 to 0.800) | 0.800 (0.700 to 0.900) | +0.100 | 2 of 2 |" in text


@pytest.mark.parametrize("option", ["--corrections", "--pool", "--scored", "--validation", "--epochs", "--seeds"])
def test_numbers_below_one_are_refused(tmp_path, capsys, option):
    with pytest.raises(SystemExit):
        correcting.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), option, "0"])
    assert f"{option}: must be a whole number above 0, not '0'" in capsys.readouterr().err
