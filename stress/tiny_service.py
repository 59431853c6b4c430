"""The real service as a process, with a captioner and data so small that it starts, and trains, within seconds."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.service import read_url, wait_until_ready
from service.environment import PREFIX
from service.settings import Settings
from service.store.archives import pack

ROOT = Path(__file__).parents[1]
TOKEN = "0123456789abcdef"
BRIEF = {"epochs": 3, "batch_size": 8, "least_batches": 0, "min_count": 1, "warmup_steps": 2, "learning_rate": 0.01}
"""Options of a training that takes seconds."""


@dataclass(frozen=True)
class TinyService:
    """A service that answers health checks."""

    process: psutil.Process
    client: httpx.Client
    """It sends the token. Threads share it."""

    def tree(self) -> list[psutil.Process]:
        """Return the service, its worker, and their child processes, outermost first."""
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill it and all of its child processes at the same moment."""
        kill(self.tree())
        self.client.close()

    def stop(self) -> int | None:
        """Stop it as its user would -> its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.client.close()


def start_service(
    home: Path, bundle: Path, log: Path, within: tuple[str, ...] = (), variables: Mapping[str, str] | None = None
) -> TinyService:
    """Start the service on a free port, with its own worker, appending its log to a file.

    within: a command that replaces itself with the service, like `unshare`. variables: additional environment.
    """
    settings = Settings(
        home=home, bundle=bundle, port=0, admin_token=TOKEN, device="cpu", runtime="exact", threads=1,
        log_level="warning",
    )  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment = inherited | {"OMP_NUM_THREADS": "1"} | settings.environment() | dict(variables or {})
    with open(log, "ab") as errors:
        process = psutil.Popen(
            [*within, sys.executable, "-m", "service"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        url = read_url(process)
        address = urlsplit(url)
        wait_until_ready(address.hostname, address.port, "/api/health/live")
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
    client = httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60,
        limits=httpx.Limits(max_connections=None),
    )  # fmt: skip
    return TinyService(process, client)


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill all of them at the same moment: all are stopped first. Returns when they are gone."""
    for signal_number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
    psutil.wait_procs(processes, timeout=30)


def zipped(folder: Path) -> bytes:
    """Return the files of a folder as a zip."""
    buffer = io.BytesIO()
    pack(folder, buffer)
    return buffer.getvalue()


def tiny_photo(number: int, size: tuple[int, int] = (96, 72)) -> bytes:
    """Return a JPEG of coarse noise, different for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def tiny_data_set(photos: int = 30) -> bytes:
    """Return a zip of photos and a table with two captions of each."""
    buffer = io.BytesIO()
    captions = ("a dog runs on the grass", "a red ball")
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(photos):
            archive.writestr(f"images/{number}.jpg", tiny_photo(number))
        rows = [f"{number}.jpg,{caption}" for number in range(photos) for caption in captions]
        archive.writestr("captions.csv", "\n".join(["image,caption", *rows]))
    return buffer.getvalue()
