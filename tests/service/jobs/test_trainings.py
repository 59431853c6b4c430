"""States of trainings in both kinds of database, without running any."""

import threading
import time

import pytest

from service.jobs.trainings import TrainingConflict, Trainings, UnknownTraining
from service.settings import Settings
from service.store.database import Database


@pytest.fixture
def open_trainings(open_database, tmp_path):
    """Each call acts like another process."""
    return lambda: Trainings(open_database(), Settings(home=tmp_path / "home").trainings_folder)


@pytest.fixture
def trainings(open_trainings):
    return open_trainings()


def ask(trainings, dataset="a" * 32, replay=None):
    return trainings.add({"dataset": dataset, "replay": replay, "chosen": {"epochs": 2}})


def become(trainings, training, **state):
    return trainings.change(training.id, lambda now: now.state | state)


def test_requested_trainings_wait_in_order_and_are_seen_by_all_processes(trainings, open_trainings):
    first, second = ask(trainings), ask(trainings, replay="b" * 32)
    other = open_trainings()
    assert [training.id for training in other.waiting()] == [first.id, second.id]
    assert [training.id for training in other.all()] == [second.id, first.id]
    assert other.get(first.id) == first and first.status == "queued" and first.folder.is_dir()
    assert other.uses_dataset("b" * 32) and not other.uses_dataset("c" * 32)
    become(trainings, second, state="finished", seconds={"fit": 1.5})
    assert other.get(second.id).state["seconds"] == {"fit": 1.5} and not other.uses_dataset("b" * 32)


def test_a_waiting_training_is_cancelled_at_once_and_a_running_one_is_asked_to_stop(trainings, open_trainings):
    queued, running = ask(trainings), ask(trainings)
    become(trainings, running, state="running")
    assert trainings.cancel(queued.id).status == "cancelled"
    assert trainings.cancel(running.id).status == "running"
    assert open_trainings().get(running.id).cancelling and not open_trainings().get(queued.id).cancelling
    with pytest.raises(TrainingConflict, match="already cancelled"):
        trainings.cancel(queued.id)


def test_only_stopped_trainings_can_be_resumed_and_resuming_clears_the_cancellation(trainings):
    training = ask(trainings)
    with pytest.raises(TrainingConflict, match="is queued"):
        trainings.resume(training.id)
    become(trainings, training, state="running", attempts=2, started_at=5.0, seconds={"fit": 1.0})
    trainings.cancel(training.id)
    become(trainings, training, state="cancelled", message=None)
    resumed = trainings.resume(training.id)
    assert resumed.status == "queued" and not resumed.cancelling
    assert {"started_at": 5.0, "seconds": {"fit": 1.0}}.items() <= resumed.state.items()
    assert "attempts" not in resumed.state


def test_a_training_in_progress_can_be_neither_resumed_nor_deleted(trainings, open_trainings):
    training, other = ask(trainings), open_trainings()
    become(trainings, training, state="failed")
    with trainings.lock(training) as hold:
        assert not hold.is_lost() and other.is_locked(training)
        with pytest.raises(TrainingConflict, match="still stopping"):
            other.resume(training.id)
        with pytest.raises(TrainingConflict, match="is running"):
            other.delete(training.id)
    assert not other.is_locked(training)
    other.delete(training.id)
    assert trainings.find(training.id) is None and not training.folder.exists()
    for call in (trainings.get, trainings.cancel, trainings.resume, trainings.delete):
        with pytest.raises(UnknownTraining):
            call(training.id)


def test_a_training_is_locked_in_the_database_where_file_locks_are_not_shared(postgresql, tmp_path):
    """As on a shared folder without file locks: another machine sees another file."""
    (tmp_path / "home").mkdir()
    database = Database(Settings(database_url=postgresql).database, tmp_path / "home")
    trainings = Trainings(database, tmp_path / "home")
    training = ask(trainings)
    with trainings.lock(training) as hold:
        assert hold is not None
        (training.folder / "lock").unlink()
        assert trainings.is_locked(training)
    database.close()


def test_concurrent_changes_are_all_applied(trainings, open_trainings):
    training = ask(trainings)
    others = [open_trainings() for _ in range(4)]

    def count(handle):
        for _ in range(20):
            handle.change(training.id, lambda now: now.state | {"count": now.state.get("count", 0) + 1})

    threads = [threading.Thread(target=count, args=(handle,)) for handle in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trainings.get(training.id).state["count"] == 80


def test_only_one_of_many_workers_starts_a_training(trainings, open_trainings):
    training = ask(trainings)
    started, barrier = [], threading.Barrier(6)

    def work(handle):
        barrier.wait()
        with handle.lock(training) as hold:
            if hold is not None:
                started.append(handle)
                time.sleep(1)

    threads = [threading.Thread(target=work, args=(handle,)) for handle in [open_trainings() for _ in range(6)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
