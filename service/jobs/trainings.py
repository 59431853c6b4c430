"""Requested trainings: database rows with the request, the state and the result.

    trainings/ID/   process.log: output of its processes; lock: held while a worker runs it;
                    run/: output of `training fit`; comparison/: output of `training compare`

The row is authoritative; the queue only wakes a worker. A killed process loses no training and repeats none.
"""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import object_session

from captioner.errors import CaptionerError
from service.store.database import Database
from service.store.leftovers import remove_abandoned, remove_unknown
from service.store.locks import Hold, hold_shared_lock
from service.store.photos import ID_PATTERN
from service.store.tables import TrainingRow

QUEUED, RUNNING, FINISHED, FAILED, CANCELLED = "queued", "running", "finished", "failed", "cancelled"
ENDED = (FINISHED, FAILED, CANCELLED)

_UNKNOWN = "training {} does not exist: it was deleted, or the id is wrong"


class UnknownTraining(CaptionerError):
    """The training does not exist."""


class TrainingConflict(CaptionerError):
    """The state of the training does not allow the operation."""


@dataclass(frozen=True)
class Training:
    """Snapshot of a training in the database."""

    id: str
    folder: Path
    request: dict[str, Any]
    """dataset, replay, start (a version's id, or scratch), preset, options, promote_margin, created_at; of a translator
    also source and target, its languages, which are None for a captioner."""
    state: dict[str, Any] = field(default_factory=dict)
    """state, and as far as known: message, attempts, queued_at, started_at, ended_at, seconds, version, promoted."""
    cancelling: bool = False
    """Whether a cancellation was requested."""

    @property
    def status(self) -> str:
        return self.state["state"]

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def comparison(self) -> Path:
        return self.folder / "comparison"

    @property
    def log(self) -> Path:
        return self.folder / "process.log"


class Trainings:
    """The trainings of one service. Safe for concurrent threads and processes."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    def add(self, request: dict[str, Any]) -> Training:
        """Store a request and queue the training."""
        training_id = uuid.uuid4().hex
        (self._folder / training_id).mkdir()
        state = {"state": QUEUED, "queued_at": time.time()}
        with self._database.writing() as session:
            request = {**request, "created_at": _now()}
            session.add(TrainingRow(id=training_id, request=request, state=state, cancelling=False))
        return self.get(training_id)

    def all(self) -> list[Training]:
        """Return all trainings, newest first."""
        with self._database.reading() as session:
            trainings = [self._to_training(row) for row in session.scalars(select(TrainingRow))]
        return sorted(trainings, key=lambda training: training.request["created_at"], reverse=True)

    def find(self, training_id: str) -> Training | None:
        with self._database.reading() as session:
            row = session.get(TrainingRow, training_id)
            return row and self._to_training(row)

    def get(self, training_id: str) -> Training:
        """Return a training. Raises UnknownTraining if it does not exist."""
        if (training := self.find(training_id)) is None:
            raise UnknownTraining(_UNKNOWN.format(training_id))
        return training

    def waiting(self) -> list[Training]:
        """Return the queued trainings, next one first."""
        queued = [training for training in self.all() if training.status == QUEUED]
        return sorted(queued, key=lambda training: training.state["queued_at"])

    def uses_dataset(self, dataset_id: str) -> bool:
        """Return whether a queued or running training uses a data set."""
        return any(
            dataset_id in (training.request["dataset"], training.request["replay"])
            for training in self.all()
            if training.status not in ENDED
        )

    def change(self, training_id: str, decide: Callable[[Training], dict[str, Any] | None]) -> Training:
        """Replace the state by the result of `decide(training)`; None keeps it. Changes are serialized."""
        with self._row(training_id) as row:
            state = decide(self._to_training(row))
            if state is not None:
                row.state = state
            return self._to_training(row)

    def cancel(self, training_id: str) -> Training:
        """Cancel a training: at once if queued, within seconds if running. Raises TrainingConflict if it has ended."""
        with self._row(training_id) as row:
            training = self._to_training(row)
            if training.status in ENDED:
                raise TrainingConflict(f"the training is already {training.status}: there is nothing to cancel")
            if training.status == QUEUED:
                row.state = training.state | {"state": CANCELLED, "ended_at": time.time(), "message": None}
            else:
                row.cancelling = True
            return self._to_training(row)

    def resume(self, training_id: str) -> Training:
        """Queue a stopped training again; it resumes. Raises TrainingConflict if it is not failed or cancelled."""
        with self._row(training_id) as row:
            training = self._to_training(row)
            if training.status not in (FAILED, CANCELLED):
                raise TrainingConflict(
                    f"the training is {training.status}: only failed and cancelled trainings can be resumed"
                )
            if self.is_locked(training):
                raise TrainingConflict("the training is still stopping: try again in a few seconds")
            state = {name: value for name, value in training.state.items() if name in ("seconds", "started_at")}
            row.state, row.cancelling = state | {"state": QUEUED, "queued_at": time.time()}, False
            return self._to_training(row)

    def delete(self, training_id: str) -> None:
        """Delete a training, its checkpoint and its log; its model version stays. Raises TrainingConflict."""
        trash = self._folder / f".gone-{training_id}"
        with self._row(training_id) as row:
            training = self._to_training(row)
            if training.status == RUNNING or self.is_locked(training):
                raise TrainingConflict("the training is running: cancel it first")
            object_session(row).delete(row)
        with contextlib.suppress(FileNotFoundError):
            os.rename(training.folder, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def lock(self, training: Training) -> contextlib.AbstractContextManager[Hold | None]:
        """Return the lock that a worker holds while it runs the training; see `locks.hold_shared_lock`."""
        return hold_shared_lock(training.folder / "lock", self._database, f"training {training.id}")

    def is_locked(self, training: Training) -> bool:
        """Return whether a worker runs the training."""
        with self.lock(training) as hold:
            return hold is None

    def remove_leftovers(self) -> None:
        """Delete files left by killed processes."""
        for path in self._folder.glob(".gone-*"):
            shutil.rmtree(path, ignore_errors=True)
        remove_abandoned(self._folder)
        trainings = self.all()
        remove_unknown(self._folder, re.compile(ID_PATTERN), {training.id for training in trainings})
        for training in trainings:
            for folder in (training.folder, training.run, training.comparison):
                remove_abandoned(folder)

    @contextlib.contextmanager
    def _row(self, training_id: str) -> Iterator[TrainingRow]:
        """Yield the row, locked until the block ends. Raises UnknownTraining."""
        with self._database.writing() as session:
            row = session.get(TrainingRow, training_id, with_for_update=True)
            if row is None:
                raise UnknownTraining(_UNKNOWN.format(training_id))
            yield row

    def _to_training(self, row: TrainingRow) -> Training:
        request = {"source": None, "target": None, **row.request}
        return Training(row.id, self._folder / row.id, request, dict(row.state), row.cancelling)


def _now() -> str:
    return datetime.now(UTC).isoformat()
