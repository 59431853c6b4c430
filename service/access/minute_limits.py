"""Limits per client and minute, counted by one process or by all processes that share a Redis.

The `limits` library counts, within a window that moves with the clock. Flask-Limiter applies a limit to requests of the
app (`service.access.rates`); `MinuteLimit` is for code that runs outside them.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Callable
from typing import TypeVar

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, MovingWindowSupport, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from service.settings import REDIS_TIMEOUTS

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SCHEME = "captioner"
"""URL scheme under which `limits` and Flask-Limiter find CountStorage."""

_IPV6_BITS = 64
"""Prefix length of the IPv6 networks that count as one client: providers usually assign one to each customer."""

_RETRY_SECONDS = 10.0
"""Time between two attempts to reach an unavailable Redis. Requests in between do not wait for it."""


class CountStorage(Storage, MovingWindowSupport):
    """Counts in Redis while it is available, otherwise in the memory of this process. Thread-safe.

    Flask-Limiter's `in_memory_fallback_enabled` only covers requests of Flask, but the web server checks tokens before
    them. And the strategies of `limits` do not recover from a clock that is set back: they refuse clients until the
    clock has caught up.
    """

    STORAGE_SCHEME = [SCHEME]

    def __init__(
        self, uri: str = f"{SCHEME}://", *, name: str, redis_url: str | None = None, **options: object
    ) -> None:
        """name: of the counted thing, for keys and messages; storages with the same name and Redis share counts."""
        super().__init__(uri)
        self._name, self._local = name, MemoryStorage()
        self._shared = None if redis_url is None else _redis(redis_url, name)
        self._is_down, self._retry_at = False, -math.inf

    @property
    def base_exceptions(self) -> type[Exception]:
        from redis.exceptions import RedisError  # imported where it is needed to keep the start fast

        return RedisError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` more, unless that exceeds the limit -> whether it was counted."""
        return self._run_operation(lambda storage: _acquire(storage, key, limit, expiry, amount))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the start of the window in seconds since 1970, and the count in it."""
        return self._run_operation(lambda storage: _window(storage, key, limit, expiry))

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._run_operation(lambda storage: storage.incr(key, expiry, amount=amount))

    def get(self, key: str) -> int:
        return self._run_operation(lambda storage: storage.get(key))

    def get_expiry(self, key: str) -> float:
        return self._run_operation(lambda storage: storage.get_expiry(key))

    def check(self) -> bool:
        return self._run_operation(lambda storage: storage.check())

    def reset(self) -> int | None:
        return self._run_operation(lambda storage: storage.reset())

    def clear(self, key: str) -> None:
        self._run_operation(lambda storage: storage.clear(key))

    def _run_operation(self, operation: Callable[[MemoryStorage | RedisStorage], Result]) -> Result:
        if self._shared is None or time.monotonic() < self._retry_at:
            return operation(self._local)
        if self._is_down:  # this thread retries Redis, the others do not wait
            self._retry_at = time.monotonic() + _RETRY_SECONDS
        try:
            result = operation(self._shared)
        except self.base_exceptions as error:
            log.warning("Redis is unavailable, so each process counts %s alone: %s", self._name, error)
            self._is_down, self._retry_at = True, time.monotonic() + _RETRY_SECONDS
            return operation(self._local)
        self._is_down, self._retry_at = False, -math.inf
        return result


class MinuteLimit:
    """A limit per client over a moving window of one minute. Thread-safe."""

    def __init__(self, max_count: int, name: str, redis_url: str | None = None) -> None:
        """max_count: limit per minute. name and redis_url: as for CountStorage."""
        self._limit = RateLimitItemPerMinute(max_count)
        self._limiter = MovingWindowRateLimiter(CountStorage(name=name, redis_url=redis_url))

    def count(self, client: str) -> int | None:
        """Count one more and return None; beyond the limit, count nothing and return the seconds to wait."""
        return None if self._limiter.hit(self._limit, client) else self._seconds(client)

    def seconds_to_wait(self, client: str) -> int | None:
        """Return the seconds that a client at the limit must wait; None below it."""
        return None if self._limiter.test(self._limit, client) else self._seconds(client)

    def _seconds(self, client: str) -> int:
        return seconds_until(self._limiter.get_window_stats(self._limit, client).reset_time)


def client_of(address: str | None) -> str:
    """Return the client that an address counts as: all of an IPv6 network are one. None: a socket without one."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or "unknown"
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, _IPV6_BITS), strict=False))


def seconds_until(moment: float) -> int:
    """Return whole seconds, at least one, until a time in seconds since 1970."""
    return max(1, math.ceil(moment - time.time()))


def _acquire(storage: MemoryStorage | RedisStorage, key: str, limit: int, expiry: int, amount: int) -> bool:
    if storage.acquire_entry(key, limit, expiry, amount):
        return True
    _, count = _window(storage, key, limit, expiry)
    return count == 0 and storage.acquire_entry(key, limit, expiry, amount)


def _window(storage: MemoryStorage | RedisStorage, key: str, limit: int, expiry: int) -> tuple[float, int]:
    """Return the moving window; cleared if the clock was set back before its start, as clients would wait too long."""
    start, count = storage.get_moving_window(key, limit, expiry)
    if count >= limit and start > time.time():
        storage.clear(key)
        return time.time(), 0
    return start, count


def _redis(url: str, name: str) -> RedisStorage:
    return RedisStorage(url, key_prefix=f"captioner.{name.replace(' ', '-')}", **REDIS_TIMEOUTS)
