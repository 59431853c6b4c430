"""What keeps the service from doing all of its work: the captioner, the database, the disk, the worker, the Redis."""

import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from captioner.errors import is_full_disk
from service.inference.batching import Batcher
from service.jobs.heartbeat import Heartbeat
from service.jobs.trainings import ENDED, Trainings
from service.settings import REDIS_TIMEOUTS, Settings
from service.store.database import Database

log = logging.getLogger(__name__)

SILENT_SECONDS = 30.0
"""After which a worker that gives no sign of life counts as one that hangs."""

_LOOK_SECONDS = 10.0
"""After which unfinished checks count as a fault: a network disk may hang."""
_KEPT_SECONDS = 1.0
"""For which what was found is told again: asking often must not keep the disk busy."""
_PROBE = bytes(64 * 1024)


@dataclass(frozen=True)
class Fault:
    """Something that is wrong."""

    where: str
    """model, database, disk, worker or redis."""
    message: str
    """A sentence without its full stop: what is wrong, and what to do."""
    stops_captions: bool = True
    """Whether photos that are sent cannot be captioned and kept meanwhile."""


class Readiness:
    """Looks for faults. Threads share it."""

    def __init__(self, settings: Settings, database: Database, trainings: Trainings) -> None:
        self._settings, self._database, self._trainings = settings, database, trainings
        self._heartbeat = Heartbeat(settings.trainings_folder)
        self._redis = settings.redis and Redis.from_url(settings.redis, **REDIS_TIMEOUTS)
        self._looking = threading.Lock()
        self._found: list[Fault] = []
        self._looked = -_KEPT_SECONDS
        self._began: float | None = None

    def faults(self, batcher: Batcher) -> list[Fault]:
        """What is wrong at this moment, or was a moment ago; nothing where all is well. Takes some seconds at most.

        batcher: of the captioner that serves.
        """
        while not self._looking.acquire(timeout=0.1):
            began = self._began
            if began is not None and (seconds := time.monotonic() - began) > _LOOK_SECONDS:
                message = f"checks of the database and the disk have not ended for {seconds:.0f} seconds"
                return [Fault("disk", f"{message}: see that both answer")]
        try:
            if time.monotonic() - self._looked >= _KEPT_SECONDS:
                self._began = time.monotonic()
                found = [*self._of_model(batcher), *self._of_database(), *self._of_disk()]
                found += [*self._of_worker(), *self._of_redis()]
                self._tell(found)
                self._found, self._looked = found, time.monotonic()
            return self._found
        finally:
            self._began = None
            self._looking.release()

    def _tell(self, found: list[Fault]) -> None:
        before = {fault.where for fault in self._found}
        for fault in found:
            if fault.where not in before:
                log.error("Something is wrong: %s", fault.message)
        for where in before - {fault.where for fault in found}:
            log.info("The %s is well again", where)

    def _of_model(self, batcher: Batcher) -> list[Fault]:
        if not batcher.alive:
            return [Fault("model", "the captioner has stopped, and the log says why: start the service again")]
        if batcher.busy_seconds > self._settings.deadline_seconds:
            message = f"the captioner has been at the same photos for {batcher.busy_seconds:.0f} seconds"
            return [Fault("model", f"{message}: if that does not end, start the service again")]
        return []

    def _of_database(self) -> list[Fault]:
        try:
            self._database.check()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip()
            what = "its server runs" if self._database.is_shared else "no other program keeps it locked"
            return [Fault("database", f"the database cannot be used ({reason}): see that {what}")]
        return []

    def _of_disk(self) -> list[Fault]:
        try:
            for folder in (self._settings.home, self._settings.photos_folder):
                _write_into(folder)
                if (free := shutil.disk_usage(folder).free) < self._settings.max_upload_bytes:
                    message = f"the disk with the data folder has only {free / 1e6:.1f} MB left"
                    return [Fault("disk", f"{message}: delete something, or give it more room")]
        except OSError as error:
            if is_full_disk(error):
                return [Fault("disk", "the disk with the data folder is full: delete something, or give it more room")]
            reason = error.strerror or error
            return [Fault("disk", f"nothing can be written into the data folder ({reason}): see that its disk is well")]
        return []

    def _of_worker(self) -> list[Fault]:
        silent = self._heartbeat.silent_seconds()
        if silent < SILENT_SECONDS or not self._needs_worker():
            return []
        message = f"no worker has given a sign of life for {silent:.0f} seconds, and nothing is trained meanwhile"
        if self._settings.worker == "own":
            return [Fault("worker", f"{message}: the service starts another one where that does not end", False)]
        return [Fault("worker", f"{message}: see that `python -m service worker` runs", False)]

    def _needs_worker(self) -> bool:
        """One of its own the service always has; those of others may be away while there is nothing to do."""
        if self._settings.worker == "own":
            return True
        try:
            return any(training.status not in ENDED for training in self._trainings.all())
        except SQLAlchemyError:  # told of as such
            return False

    def _of_redis(self) -> list[Fault]:
        if not self._redis:
            return []
        try:
            self._redis.ping()
        except RedisError as error:
            message = f"the Redis cannot be used ({error}): see that it runs"
            return [Fault("redis", f"{message}; until then each replica counts requests for itself", False)]
        return []


def _write_into(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(_PROBE)
        file.flush()
        os.fsync(file.fileno())
