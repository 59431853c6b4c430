"""The default recipe makes a captioner from data to card, and resumes after an interruption."""

import json
import os
import signal
from pathlib import Path

import pytest

from captioner.bundle.bundle import load_bundle
from training import __main__ as training
from training import loop
from training.recipes import default
from training.recipes.options import load_recipe


@pytest.fixture
def commands(monkeypatch):
    """Record the `python -m training` commands of a recipe in place of running them."""
    commands_run, statuses = [], {}

    def run(arguments):
        commands_run.append(arguments)
        if arguments[0] == "fit":
            output = Path(arguments[arguments.index("--output") + 1])
            (output / "bundle").mkdir(parents=True, exist_ok=True)
            (output / "progress.json").touch()
        return statuses.get(len(commands_run), 0)

    monkeypatch.setattr(training, "main", run)
    monkeypatch.setattr(default, "_choose_decoding", lambda *_: None)
    monkeypatch.setattr(default, "_learn_confidence", lambda *_: None)
    monkeypatch.setattr(default, "_write_card", lambda *_: None)
    monkeypatch.setattr(default, "_average", lambda *_: None)
    return commands_run, statuses


def run_recipe(tmp_path):
    data = ["--flickr8k", "f", "--coco", "c", "--boxes", "b.json", "--sentences", "s.txt", "t.txt"]
    return default.main([*data, "--output", str(tmp_path / "out"), "--device", "cpu"])


def test_the_recipe_trains_in_two_runs_and_evaluates_the_test_split_last(commands, tmp_path):
    commands_run, _ = commands
    output = tmp_path / "out"
    assert run_recipe(tmp_path) == 0
    assert [arguments[0] for arguments in commands_run] == ["fit"] * 6 + ["evaluate"] * 3
    for number, arguments in enumerate(commands_run[:6]):
        assert arguments[1:10] == [
            "--data", "f", "--also", "c", "--boxes", "b.json", "--sentences", "s.txt", "t.txt",
        ]  # fmt: skip
        assert ("--resume" in arguments) == (number not in (0, 3))
        run = output / ("run" if number < 3 else "run-from-4")
        assert arguments[arguments.index("--output") + 1] == str(run)
        assert ("--from-bundle" in arguments) == (number >= 3)
    assert commands_run[3][commands_run[3].index("--from-bundle") + 1] == str(output / "stages" / "self-critical")
    assert "--self-critical-epochs" in commands_run[2] and "--self-critical-epochs" not in commands_run[1]
    assert "--fine-tune-epochs" not in commands_run[3]
    splits = [(arguments[2], arguments[arguments.index("--split") + 1]) for arguments in commands_run[6:]]
    assert splits == [("f", "val"), ("c", "val"), ("f", "test")]
    assert ["--boxes" in arguments for arguments in commands_run[6:]] == [True, False, False]


def test_a_stopped_recipe_resumes_at_its_next_step(commands, tmp_path, capsys):
    commands_run, statuses = commands
    statuses[2] = 130
    assert run_recipe(tmp_path) == 130
    assert "the step fine-tuning ended with status 130" in capsys.readouterr().err
    assert run_recipe(tmp_path) == 0
    assert [arguments[0] for arguments in commands_run] == ["fit"] * 7 + ["evaluate"] * 3
    assert commands_run[2] == commands_run[1] and "--resume" in commands_run[2]
    assert run_recipe(tmp_path) == 0 and len(commands_run) == 10


def test_confidence_is_learned_after_the_choice_of_decoding_and_before_the_evaluations(commands, tmp_path):
    run_recipe(tmp_path)
    names = list(json.loads((tmp_path / "out" / "steps.json").read_text()))
    assert names[6:10] == ["average", "decoding", "confidence", "evaluate flickr8k val"] and names[-1] == "card"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the recipe needs --flickr8k and --coco and --boxes and --sentences: name the data, or try --smoke"),
        (["--smoke", "--recipe", "nowhere.json"], "nowhere.json cannot be read as JSON"),
    ],
)
def test_missing_arguments_are_reported_in_one_sentence(tmp_path, capsys, arguments, message):
    assert default.main(["--output", str(tmp_path / "out"), *arguments]) == 2
    assert f"error: {message}" in capsys.readouterr().err


@pytest.mark.stress
def test_the_smoke_recipe_makes_a_captioner_of_drawn_photos_and_resumes(tmp_path, monkeypatch):
    output = tmp_path / "out"
    take_step, phase_steps = loop._take_step, []

    def stop_in_the_second_stage(run, loss, stop):
        phase_steps.append(run.progress.phase)
        if phase_steps.count("fine_tune") == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(run, loss, stop)

    monkeypatch.setattr(loop, "_take_step", stop_in_the_second_stage)
    assert default.main(["--smoke", "--output", str(output)]) == 130
    assert default.main(["--smoke", "--output", str(output)]) == 0
    bundle = load_bundle(output / "bundle")
    assert bundle.config.encoder == "efficientnet_lite0" and bundle.config.labels == 2 and bundle.config.text
    validation = bundle.metrics["validation"]
    assert set(validation["by_data"]) == {"flickr8k", "coco"}
    for name in ("attention_correctness", "pointing"):  # of the averaged weights, not of the run's best epoch
        assert validation[name] == validation["by_data"]["flickr8k"][name]
    assert bundle.metrics["test"]["images"] == 6 and bundle.metrics["recipe"]["command"].endswith("--smoke")
    results = json.loads((output / "decoding.json").read_text())
    best = max(results, key=lambda entry: entry["CIDEr"])
    assert bundle.decoding.to_json() == best["decoding"]
    assert not (output / "decoding-features").exists()
    recipe = load_recipe(default.RECIPES / "smoke.json")
    assert {**results[0]["decoding"], **recipe.validation} == results[0]["decoding"]  # where the choice starts
    assert "Made by `python -m training.recipes.default --smoke`" in bundle.card
    phases = [json.loads(line)["phase"] for line in (output / "run" / "log.jsonl").read_text().splitlines()]
    assert phases == ["cross_entropy"] * 2 + ["fine_tune", "self_critical"]
    resumed_log = (output / "run-from-4" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["phase"] for line in resumed_log] == ["start", "cross_entropy"]
    assert len(load_recipe(default.RECIPES / "smoke.json").stages) == len(list((output / "stages").iterdir()))
    assert (output / "evaluation" / "flickr8k-test" / "index.html").is_file()
