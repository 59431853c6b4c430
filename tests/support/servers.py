"""A PostgreSQL and a Redis in temporary folders; tests that need a missing one are skipped.

With REQUIRE_SERVERS=1 they fail instead.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_SECONDS = 60


def program(name: str) -> str:
    """Return the path of a program, also in Debian's folder of PostgreSQL; skip the test if it is missing."""
    debian = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))
    if path is None:
        report = pytest.fail if os.environ.get("REQUIRE_SERVERS") else pytest.skip
        report(f"there is no {name} here: install Debian's postgresql and redis-server")
    return path


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + _SECONDS
    while not ready():
        assert process.poll() is None and time.monotonic() < end, process.args
        time.sleep(0.02)


class PostgreSQL:
    """A server in a folder that can be stopped and restarted. Its user is postgres, without a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """folder: also of its socket, which takes the place of a host."""
        # It refuses to run as root.
        self._account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._account:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        make = [program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, cwd=folder, check=True, stdout=subprocess.DEVNULL, **self._account)
        self._command = [program("postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.start()

    def start(self) -> None:
        """Start, and return once it accepts connections."""
        self._process = subprocess.Popen(self._command, cwd=self.folder, stderr=subprocess.DEVNULL, **self._account)
        wait_for(lambda: "ready" in self._status(), self._process)

    def stop(self) -> None:
        """Stop without waiting for connected clients."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_SECONDS)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a new empty database."""
        import psycopg

        name = f"captioner_{uuid.uuid4().hex}"
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield f"postgresql://postgres@/{name}?host={self.folder}"
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _status(self) -> str:
        try:
            return (self.folder / "data" / "postmaster.pid").read_text()
        except OSError:
            return ""


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="captioner-postgresql-") as folder:
        server = PostgreSQL(Path(folder))
        try:
            yield server
        finally:
            server.stop()


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
