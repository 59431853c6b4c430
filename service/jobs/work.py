"""Steps of a training in a worker: fit, compare, store the version, promote it if requested."""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from captioner.errors import CaptionerError
from service import training_process
from service.jobs import child
from service.jobs.heartbeat import Heartbeat
from service.jobs.stages import Command, Stages, stages_of
from service.jobs.trainings import CANCELLED, FAILED, FINISHED, QUEUED, RUNNING, Training, Trainings
from service.settings import Settings
from service.store.collections import Collections
from service.store.database import Database
from service.store.datasets import DataSets
from service.store.leftovers import remove_abandoned
from service.store.locks import Hold, hold_file_lock
from service.store.versions import Version, Versions, prepare_to_add

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Number of worker crashes after which a training is not retried automatically."""
GRACE_SECONDS = 8.0
"""Time for a stopping process to write its checkpoint before it is killed; checkpoints are atomic."""
NICENESS = 19
"""Niceness of the training process: captions have priority."""

_POLL_SECONDS = 0.2
_DATABASE_POLL_SECONDS = 0.5
"""Time between two database polls while a process runs."""
_INTERRUPTED = 130


class Cancelled(Exception):
    """A cancellation of the training was requested."""


class Failed(Exception):
    """A process of the training failed; the text is the message for the user."""


class Stopped(Exception):
    """The worker is stopping: the training is queued again."""


class LockLost(Exception):
    """The database connection with the training's lock was lost: another worker may take the training."""


class Work:
    """Runs trainings in a worker."""

    def __init__(self, settings: Settings) -> None:
        """Open the database. Raises ConfigError if it cannot be used."""
        self._settings = settings
        self._database = Database(settings.database, settings.home)
        self.trainings = Trainings(self._database, settings.trainings_folder)
        self._datasets = DataSets(settings, self._database)
        self._versions = Versions(self._database, settings.home, settings.built_in_bundle)
        self._collections = Collections(self._database, settings.collections_folder)
        self._interrupted: set[str] = set()
        """Trainings interrupted by a lost database; they count no attempt."""
        self.heartbeat = Heartbeat(settings.trainings_folder)
        self.stopping = False
        """Set by the signal handler to stop the running training and queue it again."""

    def clean_up(self) -> None:
        """Delete files left by killed processes."""
        remove_abandoned(self._settings.home)
        self.trainings.remove_leftovers()
        self._datasets.remove_leftovers()
        self._versions.remove_leftovers()
        self._collections.remove_leftovers()

    def requeue_interrupted(self) -> None:
        """Queue or fail the trainings whose worker was killed."""
        for training in self.trainings.all():
            if training.status == RUNNING and not self.trainings.is_locked(training):
                self._requeue(training.id)

    def _requeue(self, training_id: str) -> None:
        def decide(training: Training) -> dict[str, Any] | None:
            if training.status != RUNNING:
                return None
            if training.cancelling:
                return _end_state(training.state, CANCELLED)
            if training.id in self._interrupted:
                return training.state | {"state": QUEUED, "attempts": 0}
            if training.state["attempts"] >= MAX_ATTEMPTS:
                message = (
                    f"its worker was killed {MAX_ATTEMPTS} times, most likely for lack of memory: resume it on a"
                    " larger machine, or start a new training with a smaller batch_size"
                )
                return _end_state(training.state, FAILED, message)
            return training.state | {"state": QUEUED}

        self.trainings.change(training_id, decide)
        self._interrupted.discard(training_id)

    def run_next(self) -> bool:
        """Run the next queued training -> whether there was one to run."""
        # One training at a time per device, for any number of workers.
        device = f"device-{socket.gethostname()}-{self._settings.device or 'default'}".replace(os.sep, "-")
        with hold_file_lock(self._settings.trainings_folder / f".{device}.lock") as device_lock:
            if device_lock is None:
                return False
            for training in self.trainings.waiting():
                with self.trainings.lock(training) as hold:
                    if hold is not None and self._mark_running(training):
                        self._run_training(training, hold, device_lock)
                        return True
        return False

    def _mark_running(self, training: Training) -> bool:
        def decide(training: Training) -> dict[str, Any] | None:
            if training.status != QUEUED:
                return None
            attempts = training.state.get("attempts", 0) + 1
            started_at = training.state.get("started_at", time.time())
            return training.state | {"state": RUNNING, "attempts": attempts, "started_at": started_at}

        return self.trainings.change(training.id, decide).status == RUNNING

    def _run_training(self, training: Training, hold: Hold, device_lock: int) -> None:
        log.info("Training %s started", training.id)
        try:
            facts = self._run_stages(training, hold, device_lock)
            state, message = FINISHED, None
        except (LockLost, DBAPIError):
            self._interrupted.add(training.id)
            raise
        except Cancelled:
            facts, state, message = {}, CANCELLED, None
        except Stopped:
            # Not the training's fault: reset the attempts.
            self.trainings.change(training.id, lambda latest: latest.state | {"state": QUEUED, "attempts": 0})
            return
        except (Failed, CaptionerError) as error:
            facts, state, message = {}, FAILED, str(error)
        except OSError as error:
            facts, state, message = (
                {},
                FAILED,
                f"the worker had an I/O error ({error.strerror or error}): fix it, then resume the training",
            )
        except Exception as error:
            log.exception("Training %s failed", training.id)
            facts, state, message = {}, FAILED, f"the worker failed ({error!r}): its log has the details"
        training = self.trainings.change(training.id, lambda latest: _end_state(latest.state | facts, state, message))
        log.info("Training %s is %s%s", training.id, state, f": {message}" if message else "")

    def _run_stages(self, training: Training, hold: Hold, device_lock: int) -> dict[str, Any]:
        """Run the stages, skipping a finished fit -> further fields for the state."""
        stages = stages_of(training, self._settings, self._datasets, self._versions)
        if not (training.run / "finished").exists():
            self._run_process(training, hold, device_lock, "fit", stages.fit())
            (training.run / "finished").touch()
        compared_with = stages.in_use()
        comparison = stages.compare(compared_with)
        threading.Thread(target=prepare_to_add).start()  # while the comparison runs
        for command in comparison.commands:
            self._run_process(training, hold, device_lock, "compare", command)
        started_at = time.monotonic()
        scores = comparison.read_scores()
        version = self._store_version(training, stages, compared_with, scores)
        promoted = self._promote_if_better(training, stages, version, compared_with, scores["data"])
        self._add_seconds(training.id, "switching", time.monotonic() - started_at)
        return {"version": version.id, "promoted": promoted}

    def _store_version(
        self, training: Training, stages: Stages, compared_with: Version | None, scores: dict[str, Any]
    ) -> Version:
        request = training.request
        data_name = self._datasets.get(request["dataset"]).name
        facts = {
            "name": f"{data_name} {stages.what}",
            "origin": "training",
            "training": training.id,
            "dataset": {"id": request["dataset"], "name": data_name},
            "started_from": request["start"],
            "compared_with": compared_with and compared_with.id,
            "options": request["chosen"],
            "scores": scores,
        }
        return self._versions.add(training.run / "bundle", facts, training.comparison)

    def _promote_if_better(
        self,
        training: Training,
        stages: Stages,
        version: Version,
        compared_with: Version | None,
        scores: dict[str, Any],
    ) -> bool:
        """Promote the version if its score improves by the requested margin -> whether it is in use.

        A first translator to a language improves on 0.
        """
        margin, current = training.request["promote_margin"], stages.in_use()
        current_id = current and current.id
        if margin is None or current_id == version.id:
            # In use already: a worker was killed right after promoting. Or the training improved nothing, and its
            # result is the version that it started from, which another training made.
            return current_id == version.id and version.facts.get("training") == training.id
        # Another version may have been promoted meanwhile: promote only if the compared version is still in use.
        old_score = scores["old"][stages.metric] if scores["old"] else 0.0
        if scores["new"][stages.metric] - old_score < margin or current_id != (compared_with and compared_with.id):
            return False
        self._versions.promote(version.id)
        return True

    def _run_process(self, training: Training, hold: Hold, device_lock: int, stage: str, command: Command) -> None:
        """Run a command of `training` until it ends. stage: its name in the log and among the seconds.

        Raises Cancelled, Stopped, LockLost, or Failed with its error message.
        """
        started_at = time.monotonic()
        with open(training.log, "ab") as output:
            output.write(f"\n--- {stage} ---\n".encode())
            output.flush()
            start = output.tell()
            process = subprocess.Popen(
                child.command(*training_process.command(*command)[1:], niceness=NICENESS),
                env=training_process.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The process inherits the locks: while it lives, no worker starts another one.
                pass_fds=(hold.descriptor, device_lock),
                start_new_session=True,
            )
            try:
                self._wait(training, hold, process)
            finally:
                stop(process, GRACE_SECONDS)
                self._add_seconds(training.id, stage, time.monotonic() - started_at)
        if process.returncode:
            raise Failed(_failure_message(training.log, start, process.returncode))

    def _wait(self, training: Training, hold: Hold, process: subprocess.Popen) -> None:
        polled_at = -_DATABASE_POLL_SECONDS
        while process.poll() is None:
            self.heartbeat.beat()
            if self.stopping:
                raise Stopped
            if time.monotonic() - polled_at > _DATABASE_POLL_SECONDS:
                polled_at = time.monotonic()
                if hold.is_lost():
                    raise LockLost(f"the database connection that locked training {training.id} was lost")
                if self.trainings.get(training.id).cancelling:
                    raise Cancelled
            time.sleep(_POLL_SECONDS)

    def _add_seconds(self, training_id: str, stage: str, seconds: float) -> None:
        def decide(training: Training) -> dict[str, Any]:
            totals = training.state.get("seconds", {})
            return training.state | {"seconds": totals | {stage: round(totals.get(stage, 0.0) + seconds, 1)}}

        self.trainings.change(training_id, decide)


def stop(process: subprocess.Popen, seconds: float) -> None:
    """Terminate a process, and kill it if it has not ended after `seconds`."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure_message(path: Path, start: int, status: int) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        output = file.read().decode("utf-8", errors="replace").replace("\r", "\n")
    if message := training_process.last_error(output):
        return message
    if status == -signal.SIGKILL:
        return (
            "the training process was killed, most likely because the machine ran out of memory: resume it, or"
            " start a new training with a smaller batch_size"
        )
    if status < 0:
        return f"the training process was ended by signal {-status}: resume it"
    if status == _INTERRUPTED:
        return "the training process was stopped by another program: resume it"
    last_line = output.strip().splitlines()[-1:] or ["no output"]
    return f"the training process failed ({last_line[0][:300]}): its log has the details"


def _end_state(state: dict[str, Any], status: str, message: str | None = None) -> dict[str, Any]:
    return state | {"state": status, "ended_at": time.time(), "message": message}
