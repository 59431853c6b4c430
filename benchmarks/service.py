"""Measure how fast the service answers, the effect of batching, and whether its memory stays constant.

    python -m benchmarks.service

starts the real service as a process (the shipped captioner, its own folder) and sends it the photos of examples/ over
HTTP. Clients and service share the machine, so results are those of a machine that runs both.
"""

import argparse
import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.examples import example_photos
from benchmarks.machine import machine
from captioner.files import write_json

ROOT = Path(__file__).parents[1]
START_SECONDS = 120
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Load:
    """Captions requested by `clients` clients, each of which sends its next photo after the last one's caption."""

    clients: int
    photos: int
    per_second: float
    median_ms: float
    p95_ms: float
    """From upload to caption."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: psutil.Process
    host: str
    port: int
    ready_seconds: float
    home: Path
    """Folder of its database and photos."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    photos = example_photos()
    figures = {"machine": machine(), "loads": {}, "memory_mb": []}
    with tempfile.TemporaryDirectory() as cache:
        with running_service(options.batch_size, cache) as service:
            figures["first_ready_seconds"] = round(service.ready_seconds, 2)
        for batching, batch_size in (("on", options.batch_size), ("off", 1)):
            with running_service(batch_size, cache) as service:
                figures[f"ready_seconds_{batching}"] = round(service.ready_seconds, 2)
                measure(service, photos, clients=4, count=16)  # warm-up
                loads = [measure(service, photos, clients, options.photos) for clients in options.clients]
                figures["loads"][batching] = [asdict(load) for load in loads]
                if batching == "on":
                    figures["memory_mb"] = memory_over(service, photos, options.memory_requests)
    print(report(figures))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.output, figures, indent=1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 2, 4, 16], help="numbers of concurrent clients; default: 1 2 4 16"
    )
    parser.add_argument(
        "--photos", type=int, default=160, help="photos to caption at each number of clients; default: 160"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="maximum with batching; default: 8")
    parser.add_argument(
        "--memory-requests", type=int, default=2000, help="requests during which memory is measured; default: 2000"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="file for the results")
    return parser


@contextlib.contextmanager
def running_service(batch_size: int, cache: str, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Service]:
    """Run the service as a process on a free port, and measure the time from its start until it is ready.

    cache: folder of its prepared networks, which only its first start makes. settings: further environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CAPTIONER_HOME": folder, "CAPTIONER_BATCH_SIZE": str(batch_size)}
        environment |= {"CAPTIONER_LOG_LEVEL": "warning", "CAPTIONER_REQUESTS_PER_MINUTE": "0"}
        environment |= {"CAPTIONER_CACHE": cache, **settings}
        started_at = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            address = urlsplit(read_url(process))
            wait_until_ready(address.hostname, address.port)
            ready = time.perf_counter() - started_at
            home = Path(environment["CAPTIONER_HOME"])
            yield Service(psutil.Process(process.pid), address.hostname, address.port, ready, home)
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def read_url(process: subprocess.Popen) -> str:
    """Return the URL that the service prints when it is ready."""
    for line in process.stdout:
        if match := re.search(r"http://\S+", line):
            return match.group()
    raise RuntimeError("the service ended before it was ready: run `python -m service` to see why")


def wait_until_ready(host: str, port: int, path: str = "/api/health/ready") -> None:
    """Wait until the address answers with 200."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection(host, port)) as connection:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(0.02)
    raise RuntimeError("the service did not become ready: run `python -m service` to see why")


def caption(connection: http.client.HTTPConnection, photo: bytes) -> None:
    connection.request("POST", "/api/captions", photo, {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 201:
        raise RuntimeError(f"the service answered {response.status}: {body[:200]!r}")


def measure(service: Service | Sequence[Service], photos: Sequence[bytes], clients: int, count: int) -> Load:
    """Caption `count` photos by `clients` concurrent clients. service: several are replicas that share the clients."""
    services = [service] if isinstance(service, Service) else service
    numbers = iter(range(count))
    lock, seconds, failures = threading.Lock(), [], []

    def client(replica: Service) -> None:
        with contextlib.closing(http.client.HTTPConnection(replica.host, replica.port, timeout=60)) as connection:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                started_at = time.perf_counter()
                try:
                    caption(connection, photos[number % len(photos)])
                except Exception as error:
                    failures.append(error)
                    return
                seconds.append(time.perf_counter() - started_at)

    threads = [threading.Thread(target=client, args=[services[each % len(services)]]) for each in range(clients)]
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started_at
    if failures:
        raise failures[0]
    median, p95 = np.percentile(seconds, [50, 95])
    return Load(clients, count, round(count / elapsed, 2), round(1000 * float(median), 1), round(1000 * float(p95), 1))


def memory_over(service: Service, photos: Sequence[bytes], requests: int, steps: int = 10) -> list[float]:
    """Return the service's resident memory in MB before and after each tenth of `requests` requests by four clients."""
    megabytes = [resident_mb(service)]
    for _ in range(steps):
        measure(service, photos, clients=4, count=requests // steps)
        megabytes.append(resident_mb(service))
    return megabytes


def resident_mb(service: Service) -> float:
    """Return the resident memory of the service's process in MB, without that of its training worker."""
    return round(service.process.memory_info().rss / 1e6, 1)


def report(figures: dict) -> str:
    ready = f"ready after {figures['ready_seconds_on']} s, at the first start {figures['first_ready_seconds']} s"
    lines = [figures["machine"], ready, ""]
    lines += ["| clients | batching | photos/s | median ms | p95 ms |", "|---|---|---|---|---|"]
    for on, off in zip(figures["loads"]["on"], figures["loads"]["off"], strict=True):
        for name, load in (("on", on), ("off", off)):
            lines.append(
                f"| {load['clients']} | {name} | {load['per_second']} | {load['median_ms']} | {load['p95_ms']} |"
            )
    if figures["memory_mb"]:
        lines += ["", "resident memory in MB: " + ", ".join(f"{size:.0f}" for size in figures["memory_mb"])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
