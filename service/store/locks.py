"""Locks that are let go of when whoever holds them ends, in whatever way: on a file, and in the database."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.store.database import Database

# filelock, which other locks of the project are, keeps its open file to itself; this one is handed to child processes.
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
    """A lock that is held."""

    descriptor: int
    """The open file: a process that is given it holds that part of the lock, too, until it ends."""
    is_lost: Callable[[], bool]
    """Whether the part in the database is gone, as its connection is. To be asked now and then."""


@contextlib.contextmanager
def held_everywhere(path: Path, database: Database, name: str) -> Iterator[Hold | None]:
    """Hold the lock of a file, and that of a name in a database that machines share -> None where somebody else does.

    The file's outlives its holder in the processes that were given it; not on every folder that machines share do they
    see each other's. The database's they see, wherever they are.
    """
    with held(path) as descriptor, contextlib.ExitStack() as entered:
        is_lost = None if descriptor is None else entered.enter_context(database.lock(name))
        yield None if is_lost is None else Hold(descriptor, is_lost)


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
