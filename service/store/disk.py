"""Disk usage of the service, and its limit."""

import os
import threading
import time
from pathlib import Path

from captioner.errors import CaptionerError

_FRESH_SECONDS = 10
"""Time for which a measurement is reused: measuring a hundred thousand files is slow."""


class StorageFull(CaptionerError):
    """The stored data has reached the configured limit."""


_ADVICE = "delete captions, data sets, collections or trainings, or ask its operator to raise CAPTIONER_MAX_HOME_MB"


class Storage:
    """Size of the home folder, or a folder in it, which other processes also change. Thread-safe."""

    def __init__(
        self, folder: Path, max_bytes: int | None, stored: str = "the service stores", advice: str = _ADVICE
    ) -> None:
        """max_bytes: limit in bytes; None for no limit. stored: what has a size; advice: what to do at the limit."""
        self._folder, self._max_bytes = folder, max_bytes
        self._stored, self._advice = stored, advice
        self._lock = threading.Lock()
        self._used_bytes = 0
        self._measured_at = -float("inf")

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes. Raises StorageFull if they exceed the limit."""
        if self._max_bytes is None:
            return
        with self._lock:
            self._measure()
            if self._used_bytes + size > self._max_bytes:
                raise StorageFull(
                    f"{self._stored} {self._used_bytes / 1e6:,.0f} MB, and its limit is"
                    f" {self._max_bytes / 1e6:,.0f} MB: {self._advice}"
                )
            self._used_bytes += size

    def free_bytes(self, limit: int) -> int:
        """Return the bytes that are still free, at most `limit`."""
        if self._max_bytes is None:
            return limit
        with self._lock:
            self._measure()
            return max(0, min(limit, self._max_bytes - self._used_bytes))

    def _measure(self) -> None:
        if time.monotonic() - self._measured_at > _FRESH_SECONDS:
            self._used_bytes = size_of(self._folder)
            self._measured_at = time.monotonic()


def size_of(folder: Path) -> int:
    """Return the total size of all files below a folder, in bytes. Files that disappear meanwhile count as 0."""
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return size
