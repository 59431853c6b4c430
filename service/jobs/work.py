"""What a worker does for a training: learn, compare, keep the version, and let it serve where that was asked for."""

import logging
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from captioner.errors import CaptionerError
from captioner.files import read_json
from service.jobs import child
from service.jobs import process as training_process
from service.jobs.heartbeat import Heartbeat
from service.jobs.trainings import CANCELLED, FAILED, FINISHED, QUEUED, RUNNING, Training, Trainings
from service.settings import Settings
from service.store.database import Database
from service.store.datasets import DataSets
from service.store.locks import Hold, held
from service.store.remains import remove_abandoned
from service.store.versions import Version, Versions

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A training that takes its worker down with it so many times is not tried again by itself."""
GRACE_SECONDS = 8.0
"""For a process that was asked to stop, to write its checkpoint; then it is killed: what it wrote is whole."""
NICENESS = 19
"""Of the training process: captions come first."""

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 0.5
"""Between two looks into the database while a process runs."""
_STOPPED = 130


class Cancelled(Exception):
    """Somebody wants the training to stop."""


class Failed(Exception):
    """A process of the training ended with an error; the text is the sentence to tell."""


class Stopped(Exception):
    """The worker is about to end: the training waits for the next one."""


class LockLost(Exception):
    """The connection that held the training's lock is gone: another worker may take the training."""


class Work:
    """One worker's hands: what it needs to carry a training through."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError where the database cannot be used."""
        self._settings = settings
        self._database = Database(settings.database, settings.home)
        self.trainings = Trainings(self._database, settings.trainings_folder)
        self._datasets = DataSets(settings, self._database)
        self._versions = Versions(self._database, settings.home, settings.built_in_bundle)
        self._blameless: set[str] = set()
        """Trainings that stopped as the database went away, which is not their fault."""
        self.heartbeat = Heartbeat(settings.trainings_folder)
        self.stopping = False
        """Set from elsewhere, to let the training that runs be stopped and wait for another worker."""

    def clean_up(self) -> None:
        """Delete what processes that were killed left."""
        remove_abandoned(self._settings.home)
        self.trainings.remove_remains()
        self._datasets.remove_remains()
        self._versions.remove_remains()

    def requeue_interrupted(self) -> None:
        """Let trainings wait again, or give them up, whose worker was killed."""
        for training in self.trainings.all():
            if training.status == RUNNING and not self.trainings.is_locked(training):
                self._requeue(training.id)

    def _requeue(self, training_id: str) -> None:
        def decide(training: Training) -> dict[str, Any] | None:
            if training.status != RUNNING:
                return None
            if training.cancelling:
                return _ended(training.state, CANCELLED)
            if training.id in self._blameless:
                return training.state | {"state": QUEUED, "attempts": 0}
            if training.state["attempts"] >= MAX_ATTEMPTS:
                message = (
                    f"it took its worker down {MAX_ATTEMPTS} times, most likely for want of memory: resume it on a"
                    " larger machine, or start anew with a smaller batch_size"
                )
                return _ended(training.state, FAILED, message)
            return training.state | {"state": QUEUED}

        self.trainings.change(training_id, decide)
        self._blameless.discard(training_id)

    def carry_out_next(self) -> bool:
        """Take the training whose turn it is to its end -> whether there was one that could begin."""
        # One at a time on each device, whatever number of workers there is.
        device = f"device-{socket.gethostname()}-{self._settings.device or 'default'}".replace(os.sep, "-")
        with held(self._settings.trainings_folder / f".{device}.lock") as device_lock:
            if device_lock is None:
                return False
            for training in self.trainings.waiting():
                with self.trainings.lock(training) as hold:
                    if hold is not None and self._begins(training):
                        self._to_its_end(training, hold, device_lock)
                        return True
        return False

    def _begins(self, training: Training) -> bool:
        def begin(training: Training) -> dict[str, Any] | None:
            if training.status != QUEUED:
                return None
            attempts = training.state.get("attempts", 0) + 1
            started = training.state.get("started_at", time.time())
            return training.state | {"state": RUNNING, "attempts": attempts, "started_at": started}

        return self.trainings.change(training.id, begin).status == RUNNING

    def _to_its_end(self, training: Training, hold: Hold, device_lock: int) -> None:
        log.info("Training %s begins", training.id)
        try:
            facts = self._stages(training, hold, device_lock)
            state, message = FINISHED, None
        except (LockLost, DBAPIError):
            self._blameless.add(training.id)
            raise
        except Cancelled:
            facts, state, message = {}, CANCELLED, None
        except Stopped:
            # Not the training's fault: it is as if it had not been tried.
            self.trainings.change(training.id, lambda now: now.state | {"state": QUEUED, "attempts": 0})
            return
        except (Failed, CaptionerError) as error:
            facts, state, message = {}, FAILED, str(error)
        except OSError as error:
            facts, state, message = {}, FAILED, f"the worker could not go on ({error.strerror or error}): resume it"
        except Exception as error:
            log.exception("Training %s failed", training.id)
            facts, state, message = {}, FAILED, f"the worker failed ({error!r}), and its log says why"
        training = self.trainings.change(training.id, lambda now: _ended(now.state | facts, state, message))
        log.info("Training %s is %s%s", training.id, state, f": {message}" if message else "")

    def _stages(self, training: Training, hold: Hold, device_lock: int) -> dict[str, Any]:
        """Each stage is skipped where it was done before -> what else to write into the state."""
        request = training.request
        data = self._datasets.get(request["dataset"])
        replay = self._datasets.get(request["replay"]) if request["replay"] else None
        shared = ["--data", data.root, *(["--replay", replay.root] if replay else [])]
        device = ["--device", self._settings.device] if self._settings.device else []
        if not (training.run / "finished").exists():
            self._process(training, hold, device_lock, "fit", *self._fit_arguments(training), *shared, *device)
            (training.run / "finished").touch()
        compared_with = self._versions.current
        arguments = ["--new", training.run / "bundle", "--old", compared_with.bundle, "--output", training.comparison]
        self._process(training, hold, device_lock, "compare", *arguments, *shared, *device)
        began = time.monotonic()
        scores = read_json(training.comparison / "comparison.json")["scores"]
        version = self._kept(training, data.name, compared_with, scores)
        promoted = self._promoted(training, version, compared_with, scores["data"])
        self._spent(training.id, "switching", time.monotonic() - began)
        return {"version": version.id, "promoted": promoted}

    def _fit_arguments(self, training: Training) -> list[str | Path]:
        request = training.request
        arguments: list[str | Path] = ["--output", training.run, "--cache", self._settings.home / "features"]
        arguments += training_process.fit_choices(request, training.folder / "options.json")
        if request["start"] != "scratch":
            arguments += ["--from-bundle", self._versions.get(request["start"]).bundle]
        if (training.run / "progress.json").exists():
            arguments.append("--resume")
        return arguments

    def _kept(self, training: Training, data_name: str, compared_with: Version, scores: dict[str, Any]) -> Version:
        request = training.request
        facts = {
            "name": f"{data_name} captioner",
            "origin": "training",
            "training": training.id,
            "dataset": {"id": request["dataset"], "name": data_name},
            "started_from": request["start"],
            "compared_with": compared_with.id,
            "options": request["chosen"],
            "scores": scores,
        }
        return self._versions.add(training.run / "bundle", facts, training.comparison)

    def _promoted(self, training: Training, version: Version, compared_with: Version, scores: dict[str, Any]) -> bool:
        """Let the version serve if it is to, and is so much better -> whether it serves."""
        margin, current = training.request["promote_margin"], self._versions.current
        if margin is None or current.id == version.id:  # the latter where a worker was killed just after this
            return current.id == version.id
        # Another one may have been promoted meanwhile: what it was compared with must still be what serves.
        if scores["new"]["CIDEr"] - scores["old"]["CIDEr"] < margin or current.id != compared_with.id:
            return False
        self._versions.promote(version.id)
        return True

    def _process(self, training: Training, hold: Hold, device_lock: int, stage: str, *arguments: str | Path) -> None:
        """Run a command of `training` until it ends.

        Raises Cancelled, Stopped, LockLost, or Failed with what it said last.
        """
        began = time.monotonic()
        with open(training.log, "ab") as output:
            output.write(f"\n--- {stage} ---\n".encode())
            output.flush()
            start = output.tell()
            process = subprocess.Popen(
                child.command(*training_process.command(stage, *arguments)[1:], niceness=NICENESS),
                env=training_process.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Held by the process, too: as long as it lives, no worker begins another.
                pass_fds=(hold.descriptor, device_lock),
                start_new_session=True,
            )
            try:
                self._wait(training, hold, process)
            finally:
                stop(process, GRACE_SECONDS)
                self._spent(training.id, stage, time.monotonic() - began)
        if process.returncode:
            raise Failed(_why(training.log, start, process.returncode))

    def _wait(self, training: Training, hold: Hold, process: subprocess.Popen) -> None:
        looked = -_LOOK_SECONDS
        while process.poll() is None:
            self.heartbeat.give()
            if self.stopping:
                raise Stopped
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                if hold.is_lost():
                    raise LockLost(f"the database does not know any more that training {training.id} runs here")
                if self.trainings.get(training.id).cancelling:
                    raise Cancelled
            time.sleep(_POLL_SECONDS)

    def _spent(self, training_id: str, stage: str, seconds: float) -> None:
        def decide(training: Training) -> dict[str, Any]:
            spent = training.state.get("seconds", {})
            return training.state | {"seconds": spent | {stage: round(spent.get(stage, 0.0) + seconds, 1)}}

        self.trainings.change(training_id, decide)


def stop(process: subprocess.Popen, seconds: float) -> None:
    """Ask a process to stop, where it runs; after so many seconds, kill it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _why(path: Path, start: int, status: int) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        said = file.read().decode("utf-8", errors="replace").replace("\r", "\n")
    if sentence := training_process.last_error(said):
        return sentence
    if status == -signal.SIGKILL:
        return (
            "the training process was killed from outside, most likely as the machine had no memory left: resume it, or"
            " start anew with a smaller batch_size"
        )
    if status < 0:
        return f"the training process was ended by signal {-status}: resume it"
    if status == _STOPPED:
        return "the training process was asked to stop by somebody else: resume it"
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return f"the training process failed ({last[0][:300]}), and its log says why"


def _ended(state: dict[str, Any], ended: str, message: str | None = None) -> dict[str, Any]:
    return state | {"state": ended, "ended_at": time.time(), "message": message}
