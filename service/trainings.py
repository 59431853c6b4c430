"""Trainings that were asked for, as files: what was asked, where each stands, what became of it.

    trainings/ID/   request.json: what was asked; state.json: where it stands; cancel: somebody wants it to stop;
                    process.log: what its processes said; lock: held while one is at work on it;
                    run/: of `training fit`; comparison/: of `training compare`

`state.json` is what holds; the queue only wakes a worker up. So whatever is killed, nothing is lost or done twice.
"""

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from captioner.errors import CaptionerError
from captioner.json_files import read_json, write_json
from service.locks import held
from service.photos import ID_PATTERN
from service.remains import remove_abandoned

QUEUED, RUNNING, FINISHED, FAILED, CANCELLED = "queued", "running", "finished", "failed", "cancelled"
ENDED = (FINISHED, FAILED, CANCELLED)

_ID = re.compile(ID_PATTERN)


class UnknownTraining(CaptionerError):
    """There is no such training."""


class TrainingConflict(CaptionerError):
    """What was asked cannot be done to a training in this state."""


@dataclass(frozen=True)
class Training:
    """One training, as its files tell of it at one moment."""

    id: str
    folder: Path
    request: dict[str, Any]
    """dataset, replay, start (a version's id, or scratch), preset, options, promote_margin, created_at."""
    state: dict[str, Any] = field(default_factory=dict)
    """state, and what is known of: message, attempts, queued_at, started_at, ended_at, seconds, version, promoted."""

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

    @property
    def cancel_file(self) -> Path:
        return self.folder / "cancel"

    @property
    def lock_file(self) -> Path:
        return self.folder / "lock"


class Trainings:
    """The trainings of one data folder. Threads and processes share them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, request: dict[str, Any]) -> Training:
        """Keep a request; it waits from now on."""
        training_id = uuid.uuid4().hex
        beside = self._folder / f".add-{training_id}"
        beside.mkdir()
        try:
            write_json(beside / "request.json", {**request, "created_at": _now()})
            write_json(beside / "state.json", {"state": QUEUED, "queued_at": time.time()})
            os.rename(beside, self._folder / training_id)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return self.get(training_id)

    def all(self) -> list[Training]:
        """The newest first."""
        found = [self.find(path.name) for path in self._folder.iterdir() if _ID.fullmatch(path.name)]
        return sorted(filter(None, found), key=lambda each: each.request["created_at"], reverse=True)

    def find(self, training_id: str) -> Training | None:
        folder = self._folder / training_id
        if not _ID.fullmatch(training_id) or (request := read_json(folder / "request.json")) is None:
            return None
        return Training(training_id, folder, request, read_json(folder / "state.json", {"state": FAILED}))

    def get(self, training_id: str) -> Training:
        """Raises UnknownTraining."""
        if (training := self.find(training_id)) is None:
            raise UnknownTraining(f"there is no training {training_id}: it was deleted, or never asked for")
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
        with FileLock(self._folder / ".lock"):
            training = self.get(training_id)
            state = decide(training)
            if state is not None:
                write_json(training.folder / "state.json", state)
        return self.get(training_id)

    def cancel(self, training_id: str) -> Training:
        """Stop it: at once where it waits, within seconds where it runs. Raises TrainingConflict where it has ended."""

        def decide(training: Training) -> dict[str, Any] | None:
            if training.status in ENDED:
                raise TrainingConflict(f"the training is {training.status} already: there is nothing to cancel")
            if training.status == QUEUED:
                return training.state | {"state": CANCELLED, "ended_at": time.time(), "message": None}
            training.cancel_file.touch()
            return None

        return self.change(training_id, decide)

    def resume(self, training_id: str) -> Training:
        """Let it wait again, to go on where it stopped. Raises TrainingConflict where it has not stopped early."""

        def decide(training: Training) -> dict[str, Any]:
            if training.status not in (FAILED, CANCELLED):
                raise TrainingConflict(f"the training is {training.status}: only one that stopped early can be resumed")
            if is_locked(training):
                raise TrainingConflict("the training is just about to stop: try again in a few seconds")
            training.cancel_file.unlink(missing_ok=True)
            kept = {name: value for name, value in training.state.items() if name in ("seconds", "started_at")}
            return kept | {"state": QUEUED, "queued_at": time.time()}

        return self.change(training_id, decide)

    def delete(self, training_id: str) -> None:
        """Forget it, its checkpoint and its log; the version that it made stays. Raises TrainingConflict."""

        gone = self._folder / f".gone-{training_id}"
        with FileLock(self._folder / ".lock"):
            training = self.get(training_id)
            if training.status == RUNNING or is_locked(training):
                raise TrainingConflict("the training is running: cancel it first")
            os.rename(training.folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def remove_remains(self) -> None:
        """Delete what a process that was killed left."""
        with FileLock(self._folder / ".lock"):
            for path in self._folder.glob(".gone-*"):
                shutil.rmtree(path, ignore_errors=True)
        remove_abandoned(self._folder)
        for training in self.all():
            for folder in (training.folder, training.run, training.comparison):
                remove_abandoned(folder)


def is_locked(training: Training) -> bool:
    """Whether a process is at work on it."""
    with held(training.lock_file) as lock:
        return lock is None


def _now() -> str:
    return datetime.now(UTC).isoformat()
