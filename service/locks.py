"""A lock on a file, which the system lets go of when whoever holds it ends, in whatever way."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def held(path: Path) -> Iterator[int | None]:
    """Hold the lock of a file, made where there is none -> the open file, or None where somebody else holds it.

    A process that is given the open file holds it, too, until it ends. None as well where the folder is gone.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            _lock(descriptor)
        except OSError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)
