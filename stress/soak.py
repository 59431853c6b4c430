"""Check that the service stays the same after thousands of requests of every kind.

    python -m stress.soak [--requests N] [--clients N] [--seed S]

starts the real service, with a tiny captioner and on its own folder, and sends it a mixture of valid, invalid and
unfinished requests. All answers must be right. After a warm-up its resident memory is tracked, and at the end it must
have no more open files and threads than before. Exit status 1 if it has, or if memory grows.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.machine import machine
from stress.soak_requests import Visitor, photos, visit
from stress.tiny_captioner import save_tiny_bundle
from stress.tiny_service import TOKEN, TinyService, start_service

MEASUREMENTS = 20
"""Measurements of memory, over all requests after the warm-up."""
GROWTH_MB = 30.0
"""Allowed growth of the fitted memory over all requests: the noise of an allocator."""
SPARE_FILES = 10
"""Connections to the database, as many as were needed at the same time."""
HISTORY = 500
_SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Usage:
    """Resources of the service's process at one moment."""

    requests: int
    """Sent so far."""
    memory_mb: float
    files: int
    threads: int


@dataclass
class SoakResult:
    """Results of a soak."""

    seconds: float = 0.0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and status; 0 if the client left."""
    wrong_answers: list[str] = field(default_factory=list)
    """Wrong answers."""
    usages: list[Usage] = field(default_factory=list)
    """From the end of the warm-up on; the first and the last without any requests."""

    @property
    def slope(self) -> float:
        """Return the slope of the line fitted to memory over the later half of the requests, in MB per request.

        The earlier half counts as warm-up: the allocator keeps the peak of what was needed at the same time.
        """
        second_half = self.usages[len(self.usages) // 2 :]
        requests, memory_mb = zip(*((usage.requests, usage.memory_mb) for usage in second_half), strict=True)
        return float(np.polyfit(requests, memory_mb, 1)[0])

    @property
    def growth_mb(self) -> float:
        """Return the growth at that slope over all requests."""
        return self.slope * (self.usages[-1].requests - self.usages[0].requests)

    def complaints(self) -> list[str]:
        first, last = self.usages[0], self.usages[-1]
        complaints = list(self.wrong_answers)
        if self.growth_mb > GROWTH_MB:
            complaints.append(f"memory grew by {self.growth_mb:.1f} MB, more than the {GROWTH_MB:.0f} MB of noise")
        if last.files > first.files + SPARE_FILES:
            complaints.append(f"{last.files} files are open, {first.files} were before")
        if last.threads > first.threads:
            complaints.append(f"{last.threads} threads are running, {first.threads} were before")
        return complaints


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = soak(Path(folder), options.requests, options.clients, options.seed)
    print(report(result))
    return 1 if result.complaints() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="requests after a warm-up; default: 20000")
    parser.add_argument("--clients", type=int, default=4, help="concurrent clients; default: 4")
    parser.add_argument("--seed", type=int, default=0, help="seed of the requests; default: 0")
    return parser


def soak(folder: Path, requests: int, clients: int, seed: int) -> SoakResult:
    """Send a warm-up of a tenth as many requests, enough to fill the history, then `requests` requests."""
    save_tiny_bundle(folder / "bundle")
    limits = {"CAPTIONER_HISTORY": str(HISTORY), "CAPTIONER_MAX_UPLOAD_MB": "1", "CAPTIONER_REQUESTS_PER_MINUTE": "0"}
    service = start_service(folder / "home", folder / "bundle", folder / "log", variables=limits)
    result, sent_count = SoakResult(), 0
    visitors = [_make_visitor(service, f"{seed} {number}") for number in range(clients)]
    try:
        _send(visitors, max(requests // 10, min(3 * HISTORY, requests)), SoakResult())
        result.usages.append(_measure_idle_usage(service, visitors, sent_count))
        started = time.monotonic()
        for number in range(1, MEASUREMENTS + 1):
            _send(visitors, requests * number // MEASUREMENTS - sent_count, result)
            sent_count = requests * number // MEASUREMENTS
            result.usages.append(_measure_usage(service, sent_count))
        result.seconds = time.monotonic() - started
        result.usages.append(_measure_idle_usage(service, visitors, sent_count))
    finally:
        for visitor in visitors:
            visitor.client.close()
        if service.stop() != 0:
            result.wrong_answers.append("the service did not exit cleanly")
    result.wrong_answers += [line for line in (folder / "log").read_text().splitlines() if "Traceback" in line]
    return result


def _make_visitor(service: TinyService, seed: str) -> Visitor:
    client = httpx.Client(
        base_url=service.client.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
    )
    return Visitor(client, random.Random(seed), photos())


def _send(visitors: Sequence[Visitor], count: int, result: SoakResult) -> None:
    """Send requests by all visitors at the same time; each sends its next one after its answer."""
    numbers, lock = itertools.count(), threading.Lock()

    def send_requests(visitor: Visitor) -> None:
        while next(numbers) < count:
            try:
                kind, (status, allowed) = visit(visitor)
            except httpx.HTTPError as error:
                kind, status, allowed = f"no answer ({type(error).__name__})", 0, []
            with lock:
                result.statuses[kind, status] += 1
                if status not in allowed:
                    result.wrong_answers.append(f"{kind} was answered with {status}, not one of {list(allowed)}")

    threads = [threading.Thread(target=send_requests, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _measure_usage(service: TinyService, requests: int) -> Usage:
    process = service.process
    with process.oneshot():
        return Usage(requests, round(process.memory_info().rss / 1e6, 1), _count_files(process), process.num_threads())


def _count_files(process: psutil.Process) -> int:
    return process.num_fds() if psutil.POSIX else process.num_handles()


def _measure_idle_usage(service: TinyService, visitors: Sequence[Visitor], requests: int) -> Usage:
    """Measure once all visitors have left and the service has noticed."""
    for visitor in visitors:
        visitor.client.close()
        visitor.client = _make_visitor(service, "").client
    deadline = time.monotonic() + _SETTLE_SECONDS
    while any(connection.status == psutil.CONN_ESTABLISHED for connection in service.process.net_connections()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    return _measure_usage(service, requests)


def report(result: SoakResult) -> str:
    first, last = result.usages[0], result.usages[-1]
    total, memory = sum(result.statuses.values()), ", ".join(f"{usage.memory_mb:.0f}" for usage in result.usages)
    kinds: dict[str, list[str]] = {}
    for (kind, status), count in sorted(result.statuses.items()):
        kinds.setdefault(kind, []).append(f"{count} x {status or 'left'}")
    complaints = result.complaints()
    return "\n".join([
        machine(),
        f"{total} requests in {result.seconds:.0f} s, {total / max(result.seconds, 1e-9):.0f} a second",
        *(f"  {kind}: {', '.join(counts)}" for kind, counts in kinds.items()),
        f"resident memory in MB: {memory}",
        f"memory's slope over the later half: {1000 * result.slope:+.2f} MB per 1000 requests",
        f"open files: {first.files} before, {last.files} after; threads: {first.threads} before, {last.threads} after",
        f"verdict: {'no complaints' if not complaints else f'{len(complaints)} complaints'}",
        *complaints[:50],
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
