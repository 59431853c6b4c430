"""A lock with a bounded number of waiting threads."""

import threading


class LineFull(Exception):
    """Too many threads are waiting."""


class WaitedTooLong(Exception):
    """The lock was not free in time."""


class Turns:
    """A lock for which at most `waiting` threads wait, each at most `seconds`; by default without limit.

    `with turns:` raises LineFull or WaitedTooLong.
    """

    def __init__(self, waiting: int, seconds: float | None = None) -> None:
        self._seconds = -1 if seconds is None else seconds
        self._line = threading.BoundedSemaphore(waiting)
        self._turn = threading.Lock()

    def __enter__(self) -> None:
        if self._turn.acquire(blocking=False):
            return
        if not self._line.acquire(blocking=False):
            raise LineFull
        try:
            if not self._turn.acquire(timeout=self._seconds):
                raise WaitedTooLong
        finally:
            self._line.release()

    def __exit__(self, *_: object) -> None:
        self._turn.release()
