"""Heartbeat of the workers: a file that they touch."""

import contextlib
import time
from pathlib import Path

_SECONDS = 1.0
"""Time between two heartbeats."""


class Heartbeat:
    """Written by workers and watched by other processes. The workers of one data folder share the file.

    Watchers only compare modification times for change, so clocks may differ or jump.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".heartbeat"
        self._given = -_SECONDS
        self._seen, self._changed = self._look(), time.monotonic()

    def give(self) -> None:
        """Touch the file, at most once per second. Call it often."""
        if time.monotonic() - self._given < _SECONDS:
            return
        self._given = time.monotonic()
        with contextlib.suppress(OSError):  # a full or read-only disk: the service reports it
            self._path.touch()

    def silent_seconds(self) -> float:
        """Return the seconds since this object last saw a heartbeat, or since its creation."""
        seen = self._look()
        if seen != self._seen:
            self._seen, self._changed = seen, time.monotonic()
        return time.monotonic() - self._changed

    def _look(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
