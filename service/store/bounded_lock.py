"""A lock with a bounded number of waiting threads."""

import threading


class TooManyWaiting(Exception):
    """Too many threads are waiting."""


class WaitTimeout(Exception):
    """The lock was not free in time."""


class BoundedLock:
    """A lock for which at most `max_waiting` threads wait, each at most `seconds`; by default without limit.

    `with lock:` raises TooManyWaiting or WaitTimeout.
    """

    def __init__(self, max_waiting: int, seconds: float | None = None) -> None:
        self._seconds = -1 if seconds is None else seconds
        self._waiters = threading.BoundedSemaphore(max_waiting)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        if not self._waiters.acquire(blocking=False):
            raise TooManyWaiting
        try:
            if not self._lock.acquire(timeout=self._seconds):
                raise WaitTimeout
        finally:
            self._waiters.release()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
