"""Follow what other processes change in the database."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Time between two checks for a version that another process promoted."""

CLOSE_SECONDS = 10.0
"""Maximum time to wait for a call in progress, which may load a captioner."""


class Follower:
    """Thread that calls a function again and again. A failure is logged, and the next call tries again."""

    def __init__(self, follow: Callable[[], None], what: str) -> None:
        """what: is followed, in words, for the log."""
        self._follow, self._what = follow, what
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follower of {what}", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Call no more, and wait for a call in progress.

        A process that ended meanwhile would end this thread inside a library in C++, which aborts the process.
        """
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        is_down = False
        while not self._closed.wait(POLL_SECONDS):
            try:
                self._follow()
                is_down = False
            except SQLAlchemyError as error:  # keep what is in use
                if not is_down:
                    log.error("The current %s cannot be read from the database: %s", self._what, error)
                is_down = True
            except Exception:
                log.exception("The current %s cannot be used: the previous one stays in use", self._what)
