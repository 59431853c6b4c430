"""Locks that are released when their holder ends, even if killed: on a file, and in the database."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.store.database import Database

# Not filelock, as for other locks: child processes inherit this open file, which filelock does not expose.
try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True)
class Hold:
    """A held lock."""

    descriptor: int
    """The open lock file. A process that inherits it also holds the file lock until it ends."""
    is_lost: Callable[[], bool]
    """Returns whether the database lock is lost because its connection is. Poll it."""


@contextlib.contextmanager
def hold_shared_lock(path: Path, database: Database, name: str) -> Iterator[Hold | None]:
    """Hold the lock of a file and of a name in a shared database -> None if another process holds one of them.

    The file lock lives on in processes that inherit it, but not every network folder shows it to other machines. The
    database lock is visible to all of them.
    """
    with hold_file_lock(path) as descriptor, contextlib.ExitStack() as stack:
        is_lost = None if descriptor is None else stack.enter_context(database.lock(name))
        yield None if is_lost is None else Hold(descriptor, is_lost)


@contextlib.contextmanager
def hold_file_lock(path: Path) -> Iterator[int | None]:
    """Hold the lock of a file, created if missing -> the open file; None if another process holds the lock.

    A process that inherits the open file also holds the lock until it ends. None as well if the folder is missing.
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
