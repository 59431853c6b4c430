"""How often each client may do something in a minute: counted alone, or together by all that share a Redis."""

import logging
import math
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from service.settings import REDIS_TIMEOUTS

log = logging.getLogger(__name__)

_ALONE_SECONDS = 10.0
"""After a Redis was found away, until it is looked for again: those who ask meanwhile do not wait for it."""


class MinuteLimit:
    """A limit of a minute that moves with the clock. Threads share it.

    With a Redis, all processes that share it count together; while it is away, each counts for itself.
    """

    def __init__(self, times: int, name: str, redis_url: str | None = None) -> None:
        """times: how often in a minute. name: of what is counted; limits with one name share their counts."""
        self._limit, self._name = RateLimitItemPerMinute(times), name
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared = None if redis_url is None else MovingWindowRateLimiter(_redis(redis_url, name))
        self._is_away, self._alone_until = False, -math.inf

    def count(self, client: str) -> int | None:
        """One more -> None; or, where it is one too many, the seconds to wait for: that one does not count."""
        return self._ask(lambda limiter: self._counted(limiter, client))

    def refused_for(self, client: str) -> int | None:
        """The seconds that a client at the limit has to wait for; None where it has not."""
        return self._ask(lambda limiter: self._waits(limiter, client))

    def _counted(self, limiter: MovingWindowRateLimiter, client: str) -> int | None:
        if limiter.hit(self._limit, client):
            return None
        if (seconds := self._waits(limiter, client)) is None:
            limiter.hit(self._limit, client)
        return seconds

    def _waits(self, limiter: MovingWindowRateLimiter, client: str) -> int | None:
        if limiter.test(self._limit, client):
            return None
        seconds = math.ceil(limiter.get_window_stats(self._limit, client).reset_time - time.time())
        if seconds > self._limit.get_expiry():  # the clock was put back: nobody is kept out until it has caught up
            limiter.clear(self._limit, client)
            return None
        return max(1, seconds)

    def _ask(self, question: Callable[[MovingWindowRateLimiter], int | None]) -> int | None:
        if self._shared is None or time.monotonic() < self._alone_until:
            return question(self._own)
        if self._is_away:  # one looks whether it is back, and the others go on
            self._alone_until = time.monotonic() + _ALONE_SECONDS
        try:
            answer = question(self._shared)
        except RedisError as error:
            log.warning("The Redis is away, and each process counts %s for itself: %s", self._name, error)
            self._is_away, self._alone_until = True, time.monotonic() + _ALONE_SECONDS
            return question(self._own)
        self._is_away, self._alone_until = False, -math.inf
        return answer


def _redis(url: str, name: str) -> RedisStorage:
    return RedisStorage(url, key_prefix=f"captioner.{name.replace(' ', '-')}", **REDIS_TIMEOUTS)
