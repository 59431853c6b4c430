"""A PostgreSQL and a Redis of the tests' own, in temporary folders; tests that need one are skipped where it is absent.

Set REQUIRE_SERVERS=1, and they fail instead.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_SECONDS = 60


def program(name: str) -> str:
    """The path of a program, also where Debian puts those of PostgreSQL. Skips the test where there is none."""
    debian = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))
    if found is None:
        tell = pytest.fail if os.environ.get("REQUIRE_SERVERS") else pytest.skip
        tell(f"there is no {name} here: install Debian's postgresql and redis-server")
    return found


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + _SECONDS
    while not ready():
        assert process.poll() is None and time.monotonic() < end, process.args
        time.sleep(0.02)


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """-> the folder of its socket, which stands for a host. Its user is postgres, without a password."""
    initdb, postgres = program("initdb"), program("postgres")
    # It refuses to run as root.
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="captioner-postgresql-") as folder:
        if account:
            shutil.chown(folder, "postgres", "postgres")
        make = [initdb, "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, cwd=folder, check=True, stdout=subprocess.DEVNULL, **account)
        serve = [postgres, "-D", f"{folder}/data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with subprocess.Popen(serve, cwd=folder, stderr=subprocess.DEVNULL, **account) as process:
            try:
                wait_for(lambda: "ready" in _status(Path(folder)), process)
                yield folder
            finally:
                process.send_signal(signal.SIGINT)  # without waiting for those who are connected
                process.wait(_SECONDS)


def _status(folder: Path) -> str:
    try:
        return (folder / "data" / "postmaster.pid").read_text()
    except OSError:
        return ""


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """-> its address."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program("redis-server"), *options], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(socket.exists, process)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait(_SECONDS)
