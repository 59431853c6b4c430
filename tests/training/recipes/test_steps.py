"""Steps of a recipe run once, and a stopped recipe resumes at its next step."""

import json
from types import SimpleNamespace

import pytest

from captioner.errors import DataError
from training.recipes.steps import Step, StepFailed, StepLog, duration, exit_status


@pytest.fixture
def run_steps(tmp_path):
    """Run steps of these names and arguments -> the names of those that ran."""

    def run_named(fail=None, **arguments):
        names = []

        def run(name):
            names.append(name)
            if name == fail:
                raise StepFailed(name, 130)

        steps = [Step(name, {"value": value}, lambda name=name: run(name)) for name, value in arguments.items()]
        try:
            StepLog(tmp_path / "out").run_steps(steps)
        except StepFailed:
            names.append("failed")
        return names

    return run_named


def test_a_finished_step_is_not_run_again(run_steps, tmp_path):
    assert run_steps(fail="b", a=1, b=(2,), c=3) == ["a", "b", "failed"]
    assert run_steps(a=1, b=(2,), c=3) == ["b", "c"]
    assert run_steps(a=1, b=(2,), c=3) == []
    log = (tmp_path / "out" / "recipe.log").read_text()
    assert log.count("b: started") == 2 and "b: stopped after" in log and "b: finished after" in log
    assert "a: done before, in 0 s" in log


def test_a_step_with_other_arguments_and_all_later_ones_run_again(run_steps):
    run_steps(a=1, b=2, c=3)
    assert run_steps(a=1, b=9, c=3) == ["b", "c"]
    assert run_steps(fail="b", a=1, b=2, c=3) == ["b", "failed"]
    assert run_steps(a=1, b=2, c=3) == ["b", "c"]


def test_a_step_that_left_the_recipe_is_forgotten(run_steps, tmp_path):
    run_steps(a=1, b=2, c=3)
    assert run_steps(a=1, c=4) == ["c"]
    assert StepLog(tmp_path / "out").seconds().keys() == {"a", "c"}


def test_the_time_of_attempts_adds_up(tmp_path, monkeypatch):
    from training.recipes import steps

    times = iter([0, 100, 1000, 1065.5])
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: next(times)))  # other threads have their own

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StepLog(tmp_path).run_steps([Step("a", {}, interrupt)])
    StepLog(tmp_path).run_steps([Step("a", {}, lambda: None)])
    assert StepLog(tmp_path).seconds() == {"a": 165.5}
    assert json.loads((tmp_path / "steps.json").read_text())["a"]["finished"]


def test_a_file_as_output_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert exit_status(lambda: StepLog(tmp_path / "file")) == 2
    assert "file cannot be created: File exists; choose another" in capsys.readouterr().err


def test_a_damaged_step_log_is_named(tmp_path):
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(DataError, match="steps.json is damaged .*: remove it to run all steps again"):
        StepLog(tmp_path).run_steps([])


def test_durations_are_formatted():
    assert [duration(seconds) for seconds in (0.4, 59.6, 3599, 7260)] == [
        "0 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 1 min",
    ]
