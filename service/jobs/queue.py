"""Queue that wakes workers: persistent, in a file or in Redis."""

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from service.settings import REDIS_TIMEOUTS, Settings

if TYPE_CHECKING:
    from huey import Huey
    from huey.api import TaskWrapper

log = logging.getLogger(__name__)


class TrainingQueue:
    """Wakes a worker. Duplicate wake-ups are harmless: the database decides which training is next."""

    def __init__(self, settings: Settings, on_wake: Callable[[], object] = lambda: None) -> None:
        """on_wake: called by a worker for each wake-up."""
        self._settings, self._on_wake = settings, on_wake
        self._is_down = False

    @functools.cached_property
    def _wake(self) -> "TaskWrapper":
        """The wake-up and its queue, which open at their first use: the import takes a tenth of a second."""

        @_huey(self._settings).task()
        def carry_out_next() -> None:  # both sides identify the task by this name
            self._on_wake()

        return carry_out_next

    def wake_worker(self) -> None:
        """Wake a worker. If the queue cannot be reached, workers find the training at their next poll."""
        try:
            self._wake()
        except Exception:  # any error of Redis or the disk
            log.warning("The queue of trainings cannot be reached", exc_info=True)

    def handle_next(self) -> bool:
        """Handle one wake-up -> whether there was one. With Redis, wait up to a second for it."""
        try:
            task = self._wake.huey.dequeue()
        except Exception:  # likewise; the worker polls as well
            if not self._is_down:
                log.warning("The queue of trainings cannot be reached", exc_info=True)
            self._is_down = True
            return False
        self._is_down = False
        if task is None:
            return False
        self._wake.huey.execute(task)
        return True


def _huey(settings: Settings) -> "Huey":
    from huey import RedisHuey, SqliteHuey

    if settings.redis is not None:
        from redis import ConnectionPool

        pool = ConnectionPool.from_url(settings.redis, **REDIS_TIMEOUTS)
        return RedisHuey("captioner", connection_pool=pool, results=False)
    return SqliteHuey("captioner", filename=str(settings.home / "queue.db"), results=False)
