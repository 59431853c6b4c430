"""What wakes a worker up: a queue that outlives restarts, in a file or in a Redis."""

import logging
from collections.abc import Callable

from huey import Huey, RedisHuey, SqliteHuey
from redis import ConnectionPool

from service.settings import REDIS_TIMEOUTS, Settings

log = logging.getLogger(__name__)


class TrainingQueue:
    """Wakes a worker; duplicate wake-ups are harmless, as the database says which training is next."""

    def __init__(self, settings: Settings, answer: Callable[[], object] = lambda: None) -> None:
        """`answer` is what a worker does at a ring."""
        self._huey = _huey(settings)
        self._is_away = False

        @self._huey.task()
        def carry_out_next() -> None:  # whoever rings and whoever answers must call it by one name
            answer()

        self._ring = carry_out_next

    def ring(self) -> None:
        """Wake a worker up. Where the queue cannot be reached, workers find what waits when they look around."""
        try:
            self._ring()
        except Exception:  # whatever a Redis or a disk can do
            log.warning("The queue of trainings cannot be reached", exc_info=True)

    def answer_next(self) -> bool:
        """Do what a ring asks for, if there is one -> whether there was. With a Redis, waits a second for it."""
        try:
            task = self._huey.dequeue()
        except Exception:  # likewise: whoever asks looks around by itself
            if not self._is_away:
                log.warning("The queue of trainings cannot be reached", exc_info=True)
            self._is_away = True
            return False
        self._is_away = False
        if task is None:
            return False
        self._huey.execute(task)
        return True


def _huey(settings: Settings) -> Huey:
    if settings.redis is not None:
        pool = ConnectionPool.from_url(settings.redis, **REDIS_TIMEOUTS)
        return RedisHuey("captioner", connection_pool=pool, results=False)
    return SqliteHuey("captioner", filename=str(settings.home / "queue.db"), results=False)
