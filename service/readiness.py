"""Health checks: the captioner, the database, the disk, the worker and Redis."""

import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import SQLAlchemyError

from captioner.errors import is_full_disk
from service.jobs.heartbeat import Heartbeat
from service.jobs.trainings import ENDED, Trainings
from service.settings import REDIS_TIMEOUTS, Settings
from service.store.database import Database

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

SILENT_SECONDS = 30.0
"""Time without a heartbeat after which a worker counts as hung."""

_CHECK_TIMEOUT_SECONDS = 10.0
"""Time after which unfinished checks count as a fault: a network disk may hang."""
_CACHE_SECONDS = 1.0
"""Time for which results are cached, so that frequent checks do not load the disk."""
_PROBE = bytes(64 * 1024)


class Model(Protocol):
    """State of the thread that runs a captioner: `service.inference.batching.Batcher`."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    @property
    def busy_seconds(self) -> float:
        """Time for which it has been busy with its present batch; 0 if it waits."""


@dataclass(frozen=True)
class Fault:
    """A fault of the service."""

    where: str
    """model, translator, database, disk, worker or redis."""
    message: str
    """Problem and remedy: one sentence without a full stop."""
    stops_captions: bool = True
    """Whether captions fail because of it."""


class Readiness:
    """Checks for faults. Thread-safe."""

    def __init__(self, settings: Settings, database: Database, trainings: Trainings) -> None:
        self._settings, self._database, self._trainings = settings, database, trainings
        self._heartbeat = Heartbeat(settings.trainings_folder)
        self._redis = _redis(settings.redis) if settings.redis else None
        self._check_lock = threading.Lock()
        self._faults: list[Fault] = []
        self._checked_at = -_CACHE_SECONDS
        self._started_at: float | None = None

    def faults(self, model: Model) -> list[Fault]:
        """Return the current faults, at most a second old; empty if all is well. Takes some seconds at most.

        model: the captioner in use.
        """
        while not self._check_lock.acquire(timeout=0.1):
            started_at = self._started_at
            if started_at is not None and (seconds := time.monotonic() - started_at) > _CHECK_TIMEOUT_SECONDS:
                message = f"the checks of the database and the disk have not finished for {seconds:.0f} seconds"
                return [Fault("disk", f"{message}: check that both respond")]
        try:
            if time.monotonic() - self._checked_at >= _CACHE_SECONDS:
                self._started_at = time.monotonic()
                faults = [*self._model_faults(model), *self._database_faults(), *self._disk_faults()]
                faults += [*self._worker_faults(), *self._redis_faults()]
                self._log_changes(faults)
                self._faults, self._checked_at = faults, time.monotonic()
            return self._faults
        finally:
            self._started_at = None
            self._check_lock.release()

    def _log_changes(self, faults: list[Fault]) -> None:
        reported = {fault.where for fault in self._faults}
        for fault in faults:
            if fault.where not in reported:
                log.error("Fault: %s", fault.message)
        for where in reported - {fault.where for fault in faults}:
            log.info("The fault of the %s is over", where)

    def _model_faults(self, model: Model) -> list[Fault]:
        if not model.alive:
            return [Fault("model", "the captioner has stopped: look up the cause in the log, then restart the service")]
        if model.busy_seconds > self._settings.deadline_seconds:
            message = f"the captioner has been busy with one batch for {model.busy_seconds:.0f} seconds"
            return [Fault("model", f"{message}: if this continues, restart the service")]
        return []

    def _database_faults(self) -> list[Fault]:
        try:
            self._database.check()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip()
            condition = "its server is running" if self._database.is_shared else "no other program locks it"
            return [Fault("database", f"the database cannot be used ({reason}): check that {condition}")]
        return []

    def _disk_faults(self) -> list[Fault]:
        try:
            for folder in (self._settings.home, self._settings.photos_folder):
                _probe_write(folder)
                if (free := shutil.disk_usage(folder).free) < self._settings.max_upload_bytes:
                    message = f"the disk of the data folder has only {free / 1e6:.1f} MB left"
                    return [Fault("disk", f"{message}: delete files, or enlarge the disk")]
        except OSError as error:
            if is_full_disk(error):
                return [Fault("disk", "the disk of the data folder is full: delete files, or enlarge the disk")]
            reason = error.strerror or error
            return [Fault("disk", f"the data folder cannot be written ({reason}): check its disk")]
        return []

    def _worker_faults(self) -> list[Fault]:
        silent_seconds = self._heartbeat.silent_seconds()
        if silent_seconds < SILENT_SECONDS or not self._needs_worker():
            return []
        message = f"no worker has given a heartbeat for {silent_seconds:.0f} seconds, so no training runs"
        if self._settings.worker == "own":
            return [Fault("worker", f"{message}: the service restarts its worker if this continues", False)]
        return [Fault("worker", f"{message}: check that `python -m service worker` is running", False)]

    def _needs_worker(self) -> bool:
        """Return whether a worker must be running: always the service's own, an external one only for trainings."""
        if self._settings.worker == "own":
            return True
        try:
            return any(training.status not in ENDED for training in self._trainings.all())
        except SQLAlchemyError:  # reported as a fault of the database
            return False

    def _redis_faults(self) -> list[Fault]:
        if not self._redis:
            return []
        from redis.exceptions import RedisError

        try:
            self._redis.ping()
        except RedisError as error:
            message = f"Redis cannot be used ({error}): check that it is running"
            return [Fault("redis", f"{message}; until then each replica counts requests alone", False)]
        return []


def _redis(url: str) -> "Redis":
    from redis import Redis  # imported where it is needed to keep the start fast

    return Redis.from_url(url, **REDIS_TIMEOUTS)


def _probe_write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(_PROBE)
        file.flush()
        os.fsync(file.fileno())
