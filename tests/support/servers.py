"""A PostgreSQL and a Redis in temporary folders; tests that need a missing one are skipped.

With REQUIRE_SERVERS=1 they fail instead.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import postgresql
from benchmarks.postgresql import PostgreSQL, find_program, wait_for

__all__ = ["PostgreSQL", "postgresql_server", "program", "redis_address", "redis_process", "redis_server"]

_SECONDS = 60


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is missing."""
    path = find_program(name)
    if path is None:
        report = pytest.fail if os.environ.get("REQUIRE_SERVERS") else pytest.skip
        report(f"there is no {name} here: install Debian's postgresql and redis-server")
    return path


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    for name in ("initdb", "postgres"):
        program(name)
    with postgresql.postgresql_server(["-c", "fsync=off"]) as server:
        yield server


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yield the URL of a Redis."""
    with redis_process(folder):
        yield redis_address(folder)


@contextlib.contextmanager
def redis_process(folder: Path) -> Iterator[subprocess.Popen]:
    """Yield a Redis that accepts connections and has no data of an earlier one."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program("redis-server"), *options], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(socket.exists, process)
            yield process
        finally:
            process.terminate()
            process.wait(_SECONDS)


def redis_address(folder: Path) -> str:
    return f"unix://{folder}/redis.sock"
