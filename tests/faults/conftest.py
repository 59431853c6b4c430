"""Faults of the service's environment: real services, real disks, real locks."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stress.tiny_captioner import save_tiny_bundle
from tests.service.conftest import start  # noqa: F401  (the fixture)

DISK_MB = 12


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """The folder of a captioner, for processes."""
    folder = tmp_path_factory.mktemp("captioner") / "bundle"
    save_tiny_bundle(folder)
    return folder


@dataclass(frozen=True)
class SmallDisk:
    """A file system of `DISK_MB`, visible at `path` only to processes in its namespace."""

    path: Path
    within: tuple[str, ...]
    """The command prefix that runs another command in the namespace."""
    outside: Path
    """The same folder as seen from outside the namespace."""

    def run(self, *command: str) -> None:
        subprocess.run([*self.within, *command], check=True)

    def fill(self) -> Path:
        """Write a file that fills the disk, and return its path."""
        filler = self.outside / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return filler
        raise AssertionError("the disk never became full")


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory) -> Iterator[SmallDisk]:
    """Skips where a process may not mount anything, not even in its own namespace."""
    path = tmp_path_factory.mktemp("disk")
    tools = [shutil.which(tool) for tool in ("unshare", "nsenter", "mount")]
    apart = ["unshare", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size={DISK_MB}m,mode=755 none '{path}'"
    if None in tools or subprocess.run([*apart, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted: user namespaces are disabled")
    holder = subprocess.Popen(
        [*apart, "sh", "-c", f"{mount} && echo mounted && exec sleep 600"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "mounted\n"
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials", "--wd=.")
        yield SmallDisk(path, enter, Path(f"/proc/{holder.pid}/root{path}"))
    finally:
        holder.kill()
        holder.communicate()


def faults(client: httpx.Client) -> dict[str, str]:
    """Return the faults that the service reports: part -> sentence."""
    response = client.get("/api/health/ready")
    document = response.json()
    messages = {error["where"]: error["message"] for error in document["errors"]}
    if messages.keys() <= {"worker", "redis"}:
        assert response.status_code == 200 and document["status"] == ("limited" if messages else "ready")
    else:
        detail = document["detail"][:1].lower() + document["detail"][1:]
        assert response.status_code == 503 and response.headers["Retry-After"]
        assert all(message in detail for message in messages.values())
    return messages


@pytest.fixture
def wait_for() -> Callable[..., dict[str, str]]:
    """Return a function that waits until exactly these faults are reported -> their sentences."""

    def wait(client: httpx.Client, *where: str, seconds: float = 20) -> dict[str, str]:
        end = time.monotonic() + seconds
        while (messages := faults(client)).keys() != set(where):
            assert time.monotonic() < end, messages
            time.sleep(0.1)
        return messages

    return wait
