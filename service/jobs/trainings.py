"""Trainings that were asked for: rows of the database that say what was asked, where each stands, what became of it.

    trainings/ID/   process.log: what its processes said; lock: held while one is at work on it;
                    run/: of `training fit`; comparison/: of `training compare`

The row is what holds; the queue only wakes a worker up. So whatever is killed, nothing is lost or done twice.
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
from service.store.locks import Hold, held_everywhere
from service.store.photos import ID_PATTERN
from service.store.remains import remove_abandoned, remove_unknown
from service.store.tables import TrainingRow

QUEUED, RUNNING, FINISHED, FAILED, CANCELLED = "queued", "running", "finished", "failed", "cancelled"
ENDED = (FINISHED, FAILED, CANCELLED)

_UNKNOWN = "there is no training {}: it was deleted, or never asked for"


class UnknownTraining(CaptionerError):
    """There is no such training."""


class TrainingConflict(CaptionerError):
    """What was asked cannot be done to a training in this state."""


@dataclass(frozen=True)
class Training:
    """One training, as the database tells of it at one moment."""

    id: str
    folder: Path
    request: dict[str, Any]
    """dataset, replay, start (a version's id, or scratch), preset, options, promote_margin, created_at."""
    state: dict[str, Any] = field(default_factory=dict)
    """state, and what is known of: message, attempts, queued_at, started_at, ended_at, seconds, version, promoted."""
    cancelling: bool = False
    """Somebody wants it to stop."""

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
    """The trainings of one service. Threads and processes share them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    def add(self, request: dict[str, Any]) -> Training:
        """Keep a request; it waits from now on."""
        training_id = uuid.uuid4().hex
        (self._folder / training_id).mkdir()
        state = {"state": QUEUED, "queued_at": time.time()}
        with self._database.writing() as session:
            request = {**request, "created_at": _now()}
            session.add(TrainingRow(id=training_id, request=request, state=state, cancelling=False))
        return self.get(training_id)

    def all(self) -> list[Training]:
        """The newest first."""
        with self._database.reading() as session:
            found = [self._training(row) for row in session.scalars(select(TrainingRow))]
        return sorted(found, key=lambda each: each.request["created_at"], reverse=True)

    def find(self, training_id: str) -> Training | None:
        with self._database.reading() as session:
            row = session.get(TrainingRow, training_id)
            return row and self._training(row)

    def get(self, training_id: str) -> Training:
        """Raises UnknownTraining."""
        if (training := self.find(training_id)) is None:
            raise UnknownTraining(_UNKNOWN.format(training_id))
        return training

    def waiting(self) -> list[Training]:
        """Those that wait, in the order of their turn."""
        queued = [training for training in self.all() if training.status == QUEUED]
        return sorted(queued, key=lambda training: training.state["queued_at"])

    def uses_dataset(self, dataset_id: str) -> bool:
        """Whether a training that waits or runs reads it."""
        return any(
            dataset_id in (training.request["dataset"], training.request["replay"])
            for training in self.all()
            if training.status not in ENDED
        )

    def change(self, training_id: str, decide: Callable[[Training], dict[str, Any] | None]) -> Training:
        """Let `decide` say what the state becomes, given the training as it is; None leaves it. One at a time."""
        with self._row(training_id) as row:
            state = decide(self._training(row))
            if state is not None:
                row.state = state
            return self._training(row)

    def cancel(self, training_id: str) -> Training:
        """Stop it: at once where it waits, within seconds where it runs. Raises TrainingConflict where it has ended."""
        with self._row(training_id) as row:
            training = self._training(row)
            if training.status in ENDED:
                raise TrainingConflict(f"the training is {training.status} already: there is nothing to cancel")
            if training.status == QUEUED:
                row.state = training.state | {"state": CANCELLED, "ended_at": time.time(), "message": None}
            else:
                row.cancelling = True
            return self._training(row)

    def resume(self, training_id: str) -> Training:
        """Let it wait again, to go on where it stopped. Raises TrainingConflict where it has not stopped early."""
        with self._row(training_id) as row:
            training = self._training(row)
            if training.status not in (FAILED, CANCELLED):
                raise TrainingConflict(f"the training is {training.status}: only one that stopped early can be resumed")
            if self.is_locked(training):
                raise TrainingConflict("the training is just about to stop: try again in a few seconds")
            kept = {name: value for name, value in training.state.items() if name in ("seconds", "started_at")}
            row.state, row.cancelling = kept | {"state": QUEUED, "queued_at": time.time()}, False
            return self._training(row)

    def delete(self, training_id: str) -> None:
        """Forget it, its checkpoint and its log; the version that it made stays. Raises TrainingConflict."""
        gone = self._folder / f".gone-{training_id}"
        with self._row(training_id) as row:
            training = self._training(row)
            if training.status == RUNNING or self.is_locked(training):
                raise TrainingConflict("the training is running: cancel it first")
            object_session(row).delete(row)
        with contextlib.suppress(FileNotFoundError):
            os.rename(training.folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def lock(self, training: Training) -> contextlib.AbstractContextManager[Hold | None]:
        """Held while one is at work on it; see `locks.held_everywhere`."""
        return held_everywhere(training.folder / "lock", self._database, f"training {training.id}")

    def is_locked(self, training: Training) -> bool:
        """Whether a process is at work on it."""
        with self.lock(training) as hold:
            return hold is None

    def remove_remains(self) -> None:
        """Delete what a process that was killed left."""
        for path in self._folder.glob(".gone-*"):
            shutil.rmtree(path, ignore_errors=True)
        remove_abandoned(self._folder)
        kept = self.all()
        remove_unknown(self._folder, re.compile(ID_PATTERN), {training.id for training in kept})
        for training in kept:
            for folder in (training.folder, training.run, training.comparison):
                remove_abandoned(folder)

    @contextlib.contextmanager
    def _row(self, training_id: str) -> Iterator[TrainingRow]:
        """The row, which nobody else changes before the block has ended. Raises UnknownTraining."""
        with self._database.writing() as session:
            row = session.get(TrainingRow, training_id, with_for_update=True)
            if row is None:
                raise UnknownTraining(_UNKNOWN.format(training_id))
            yield row

    def _training(self, row: TrainingRow) -> Training:
        return Training(row.id, self._folder / row.id, dict(row.request), dict(row.state), row.cancelling)


def _now() -> str:
    return datetime.now(UTC).isoformat()
