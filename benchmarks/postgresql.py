"""A PostgreSQL of its own, in a temporary folder."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_SECONDS = 60


def find_program(name: str) -> str | None:
    """Return the path of a program, also in Debian's folder of PostgreSQL; None if it is missing."""
    debian = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + _SECONDS
    while not ready():
        assert process.poll() is None and time.monotonic() < end, process.args
        time.sleep(0.02)


class PostgreSQL:
    """A server in a folder that can be stopped and restarted. Its user is postgres, without a password."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        """folder: also of its socket, which takes the place of a host. options: further arguments of the server."""
        # It refuses to run as root.
        self._account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._account:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        make = [find_program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, cwd=folder, check=True, stdout=subprocess.DEVNULL, **self._account)
        self._command = [find_program("postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", *options]
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

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

    def bytes_of(self, url: str) -> int:
        """Return the size of a database on disk, with its indexes."""
        import psycopg

        with psycopg.connect(url) as connection:
            (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return size

    def _status(self) -> str:
        try:
            return (self.folder / "data" / "postmaster.pid").read_text()
        except OSError:
            return ""


@contextlib.contextmanager
def postgresql_server(options: Sequence[str] = ()) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL in a temporary folder. options: as of `PostgreSQL`."""
    with tempfile.TemporaryDirectory(prefix="captioner-postgresql-") as folder:
        server = PostgreSQL(Path(folder), options)
        try:
            yield server
        finally:
            server.stop()
