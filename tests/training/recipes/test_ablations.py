"""Ablations: each variant has its parts and sees as many photos; one command makes one table."""

import json

import pytest

from tests.support.shapes import draw_shapes
from training import __main__ as training
from training.data.readers.listing import ImageRecord
from training.recipes import ablations

FIGURES = {"wrong_noun": 0.25, "novel_words": 3, "novel_right": 2 / 3, "novel": {}}


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Run the ablations on drawn data, recording their commands in place of running them."""
    draw_shapes(tmp_path / "first", {"train": 6, "val": 2})
    draw_shapes(tmp_path / "second", {"train": 4, "val": 2}, seed=1)
    commands_run = []

    def run(arguments):
        commands_run.append(arguments)
        if arguments[0] == "evaluate":
            output = arguments[arguments.index("--output") + 1]
            folder = tmp_path / output
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps({"CIDEr": len(commands_run) / 10}))
            (folder / "results.json").write_text("[]")
        return 0

    monkeypatch.setattr(training, "main", run)
    monkeypatch.setattr(ablations, "judge_captions", lambda *_: FIGURES)

    def measure(*more):
        data = ["--flickr8k", str(tmp_path / "first"), "--coco", str(tmp_path / "second"), "--sentences", "s.txt"]
        return ablations.main([*data, "--output", str(tmp_path / "out"), "--photos-seen", "60", *more])

    return measure, commands_run


def test_every_variant_has_its_parts_and_sees_as_many_photos(commands, tmp_path, capsys):
    measure, commands_run = commands
    assert measure() == 0
    fits = [arguments for arguments in commands_run if arguments[0] == "fit"]
    assert len(fits) == 8 and len(commands_run) == 24

    def value(arguments, flag):
        return arguments[arguments.index(flag) + 1]

    parts = [("--also" in fit, "--sentences" in fit, value(fit, "--labels") == "8") for fit in fits]
    assert sorted(parts) == sorted((a, b, c) for a in (False, True) for b in (False, True) for c in (False, True))
    assert {value(fit, "--epochs") for fit in fits if "--also" in fit} == {"6"}  # of 10 photos
    assert {value(fit, "--epochs") for fit in fits if "--also" not in fit} == {"10"}  # of 6
    output = capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text() in output
    assert "| Flickr8k alone | 10 | 0.200 | 25.0% | 3 | 67% | 0.300 | 25.0% | 3 | 67% |" in output
    assert "| photos + text + labels | 6 |" in output
    assert len(json.loads((tmp_path / "out" / "table.json").read_text())) == 8


def test_a_measured_variant_is_not_trained_again(commands):
    measure, commands_run = commands
    assert measure("--only", "base", "labels") == 0
    assert len(commands_run) == 6
    assert measure("--only", "base", "labels") == 0
    assert len(commands_run) == 6


def test_missing_data_is_reported_in_one_sentence(tmp_path, capsys):
    assert ablations.main(["--output", str(tmp_path), "--coco", "c"]) == 2
    assert "error: the ablations need --flickr8k and --sentences: name the data" in capsys.readouterr().err


def test_novel_words_are_counted_and_judged():
    records = [
        ImageRecord(1, None, ("a zebra on grass", "an animal stands"), "val"),
        ImageRecord(2, None, ("a cup of coffee", "a hot drink"), "val"),
    ]
    scores = ablations.judge_captions(
        {1: "a zebra on a table", 2: "a zebra with coffee"}, records, {"a", "on", "with", "table"}
    )
    assert scores["novel_words"] == 3 and scores["novel_right"] == pytest.approx(2 / 3)
    assert scores["novel"] == {"zebra": {"said": 2, "right": 1}, "coffee": {"said": 1, "right": 1}}
    assert scores["wrong_noun"] == 1.0


def test_a_number_below_one_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ablations.main(["--output", str(tmp_path), "--photos-seen", "0"])
    assert "--photos-seen: must be a whole number above 0, not '0'" in capsys.readouterr().err
