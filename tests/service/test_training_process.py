"""Commands of `training` in processes of their own. Other tests of the service run them in-process."""

import json
import sys

import pytest

from captioner.errors import DataError
from service import training_process
from tests.support.photo_sets import photo_set
from tests.support.serving import run_in_process


@pytest.fixture
def data(tmp_path):
    for name, content in photo_set(3).items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def test_a_process_prints_the_same_as_the_command_in_this_process(data):
    arguments = ("inspect", "--json", "--data", data)
    printed = training_process.run(*arguments)
    assert json.loads(printed) == json.loads(run_in_process(*arguments))
    assert json.loads(printed)["total"]["images"] == 3


def test_an_error_of_the_command_is_raised(tmp_path):
    for run in (training_process.run, run_in_process):
        with pytest.raises(DataError, match=r"^.*nowhere does not exist: give the folder"):
            run("inspect", "--data", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "program, message",
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "was killed, most likely because the machine ran out of memory",
        ),
        ("raise RuntimeError('a fault of ours')", "`training inspect` failed: .*a fault of ours"),
    ],
)
def test_a_killed_or_crashed_process_is_reported(monkeypatch, program, message):
    monkeypatch.setattr(training_process, "command", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(DataError, match=f"(?s){message}"):
        training_process.run("inspect")


def test_idle_threads_of_a_process_sleep_after_a_moment(monkeypatch):
    """Without the moment, a training step takes a third longer; with a long one, captions wait."""
    program = "import os; print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    monkeypatch.setattr(training_process, "command", lambda *_: [sys.executable, "-c", program])
    policy, spins = training_process.run("inspect").split()
    assert policy == "PASSIVE" and 100 < int(spins) <= 10_000
