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
        self._touched_at = -_SECONDS
        self._last_mtime, self._changed_at = self._read_mtime(), time.monotonic()

    def beat(self) -> None:
        """Touch the file, at most once per second. Call it often."""
        if time.monotonic() - self._touched_at < _SECONDS:
            return
        self._touched_at = time.monotonic()
        with contextlib.suppress(OSError):  # a full or read-only disk: the service reports it
            self._path.touch()

    def silent_seconds(self) -> float:
        """Return the seconds since this object last saw a heartbeat, or since its creation."""
        mtime = self._read_mtime()
        if mtime != self._last_mtime:
            self._last_mtime, self._changed_at = mtime, time.monotonic()
        return time.monotonic() - self._changed_at

    def _read_mtime(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
