"""Signs of life of the workers: a file that they touch, and how long it has not been touched."""

import contextlib
import time
from pathlib import Path

_SECONDS = 1.0
"""Between two signs."""


class Heartbeat:
    """For a worker to give, and for others to watch. The workers of one data folder share the file.

    It is watched by whether it changes, so that clocks may differ, and jump.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".heartbeat"
        self._given = -_SECONDS
        self._seen, self._changed = self._look(), time.monotonic()

    def give(self) -> None:
        """To be called often."""
        if time.monotonic() - self._given < _SECONDS:
            return
        self._given = time.monotonic()
        with contextlib.suppress(OSError):  # a disk that is full or read-only: the service says so itself
            self._path.touch()

    def silent_seconds(self) -> float:
        """For which there has been no sign, as far as this object has looked; at first, since it was made."""
        seen = self._look()
        if seen != self._seen:
            self._seen, self._changed = seen, time.monotonic()
        return time.monotonic() - self._changed

    def _look(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
