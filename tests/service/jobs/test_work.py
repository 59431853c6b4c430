"""A training whose worker loses the database. Whole trainings: test_training.py."""

import subprocess
import sys

import psycopg
import pytest

from service.jobs.work import LockLost, Work
from service.settings import Settings


@pytest.fixture
def work(postgresql, tmp_path):
    settings = Settings(home=tmp_path / "home", database_url=postgresql)
    settings.make_home()
    work = Work(settings)
    yield work
    work._database.close()


@pytest.fixture
def running(work):
    """A training on its last allowed attempt."""
    training = work.trainings.add({"dataset": "a" * 32, "replay": None})
    return work.trainings.change(training.id, lambda now: now.state | {"state": "running", "attempts": 3})


def test_a_worker_that_loses_its_lock_stops_without_counting_an_attempt(work, running, postgresql, monkeypatch):
    def stages(training, hold, device_lock):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            with psycopg.connect(postgresql, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            try:
                work._wait(training, hold, process)
            finally:
                process.kill()

    monkeypatch.setattr(work, "_run_stages", stages)
    with pytest.raises(LockLost), work.trainings.lock(running) as hold:
        work._run_training(running, hold, hold.descriptor)
    assert work.trainings.get(running.id).status == "running", "the next worker decides"
    work.requeue_interrupted()
    queued = work.trainings.get(running.id)
    assert (queued.status, queued.state["attempts"]) == ("queued", 0)


def test_a_training_whose_worker_is_killed_repeatedly_fails(work, running):
    work.requeue_interrupted()
    given_up = work.trainings.get(running.id)
    assert given_up.status == "failed" and "its worker was killed 3 times" in given_up.state["message"]
