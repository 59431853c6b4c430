"""Steps of a recipe run once, and a stopped recipe resumes at its next step."""

import json
from types import SimpleNamespace

import pytest

from captioner.errors import DataError
from training.recipes.steps import Step, StepFailed, StepLog, duration


@pytest.fixture
def carried_out(tmp_path):
    """Run steps of these names and arguments -> the names of those that ran."""

    def carry_out(fail=None, **arguments):
        ran = []

        def run(name):
            ran.append(name)
            if name == fail:
                raise StepFailed(name, 130)

        steps = [Step(name, {"value": value}, lambda name=name: run(name)) for name, value in arguments.items()]
        try:
            StepLog(tmp_path / "out").run_steps(steps)
        except StepFailed:
            ran.append("failed")
        return ran

    return carry_out


def test_a_finished_step_is_not_run_again(carried_out, tmp_path):
    assert carried_out(fail="b", a=1, b=(2,), c=3) == ["a", "b", "failed"]
    assert carried_out(a=1, b=(2,), c=3) == ["b", "c"]
    assert carried_out(a=1, b=(2,), c=3) == []
    log = (tmp_path / "out" / "recipe.log").read_text()
    assert log.count("b: started") == 2 and "b: stopped after" in log and "b: finished after" in log
    assert "a: done before, in 0 s" in log


def test_a_step_with_other_arguments_and_all_later_ones_run_again(carried_out):
    carried_out(a=1, b=2, c=3)
    assert carried_out(a=1, b=9, c=3) == ["b", "c"]
    assert carried_out(fail="b", a=1, b=2, c=3) == ["b", "failed"]
    assert carried_out(a=1, b=2, c=3) == ["b", "c"]


def test_the_time_of_attempts_adds_up(tmp_path, monkeypatch):
    from training.recipes import steps

    now = iter([0, 100, 1000, 1065.5])
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: next(now)))  # other threads have their own

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StepLog(tmp_path).run_steps([Step("a", {}, interrupted)])
    StepLog(tmp_path).run_steps([Step("a", {}, lambda: None)])
    assert StepLog(tmp_path).seconds() == {"a": 165.5}
    assert json.loads((tmp_path / "steps.json").read_text())["a"]["finished"]


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
