"""How much the service keeps on disk, and the most that it may."""

import os
import threading
import time
from pathlib import Path

from captioner.errors import CaptionerError

_FRESH_SECONDS = 10
"""For which a measurement is used again: to add up a hundred thousand files takes a while."""


class StorageFull(CaptionerError):
    """What is kept has reached the limit that was set."""


class Storage:
    """The size of the home folder, which trainings and other processes change, too. Threads share it."""

    def __init__(self, home: Path, most_bytes: int | None) -> None:
        """most_bytes: None for as much as the disk holds."""
        self._home, self._most = home, most_bytes
        self._lock = threading.Lock()
        self._used = 0
        self._measured = -float("inf")

    def take(self, size: int) -> None:
        """Count `size` bytes that are about to be kept. Raises StorageFull where they do not fit any more."""
        if self._most is None:
            return
        with self._lock:
            self._measure()
            if self._used + size > self._most:
                raise StorageFull(
                    f"the service keeps {self._used / 1e6:,.0f} MB, and {self._most / 1e6:,.0f} MB are the most: delete"
                    " captions, data sets or trainings, or tell who runs it to raise CAPTIONER_MAX_HOME_MB"
                )
            self._used += size

    def room(self, most: int) -> int:
        """How many bytes may be kept yet, at most `most`."""
        if self._most is None:
            return most
        with self._lock:
            self._measure()
            return max(0, min(most, self._most - self._used))

    def _measure(self) -> None:
        if time.monotonic() - self._measured > _FRESH_SECONDS:
            self._used = size_of(self._home)
            self._measured = time.monotonic()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; of those that vanish meanwhile, nothing."""
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return size
