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

LOOKS = 20
"""Measurements of memory, over all requests after the warm-up."""
GROWTH_MB = 30.0
"""Allowed growth of the fitted memory over all requests: the noise of an allocator."""
SPARE_FILES = 10
"""Connections to the database, as many as were needed at the same time."""
HISTORY = 500
_SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Use:
    """Resources of the service's process at one moment."""

    requests: int
    """Sent so far."""
    memory_mb: float
    files: int
    threads: int


@dataclass
class Soaked:
    """Results of a soak."""

    seconds: float = 0.0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and status; 0 if the client left."""
    wrong: list[str] = field(default_factory=list)
    """Wrong answers."""
    uses: list[Use] = field(default_factory=list)
    """From the end of the warm-up on; the first and the last without any requests."""

    @property
    def slope(self) -> float:
        """Return the slope of the line fitted to memory over the later half of the requests, in MB per request.

        The earlier half counts as warm-up: the allocator keeps the peak of what was needed at the same time.
        """
        later = self.uses[len(self.uses) // 2 :]
        return float(np.polyfit([use.requests for use in later], [use.memory_mb for use in later], 1)[0])

    @property
    def growth_mb(self) -> float:
        """Return the growth at that slope over all requests."""
        return self.slope * (self.uses[-1].requests - self.uses[0].requests)

    def complaints(self) -> list[str]:
        first, last = self.uses[0], self.uses[-1]
        found = list(self.wrong)
        if self.growth_mb > GROWTH_MB:
            found.append(f"memory grew by {self.growth_mb:.1f} MB, more than the {GROWTH_MB:.0f} MB of noise")
        if last.files > first.files + SPARE_FILES:
            found.append(f"{last.files} files are open, {first.files} were before")
        if last.threads > first.threads:
            found.append(f"{last.threads} threads are running, {first.threads} were before")
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(Path(folder), options.requests, options.clients, options.seed)
    print(report(soaked))
    return 1 if soaked.complaints() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="requests after a warm-up; default: 20000")
    parser.add_argument("--clients", type=int, default=4, help="concurrent clients; default: 4")
    parser.add_argument("--seed", type=int, default=0, help="seed of the requests; default: 0")
    return parser


def soak(folder: Path, requests: int, clients: int, seed: int) -> Soaked:
    """Send a warm-up of a tenth as many requests, enough to fill the history, then `requests` requests."""
    save_tiny_bundle(folder / "bundle")
    limits = {"CAPTIONER_HISTORY": str(HISTORY), "CAPTIONER_MAX_UPLOAD_MB": "1", "CAPTIONER_REQUESTS_PER_MINUTE": "0"}
    service = start_service(folder / "home", folder / "bundle", folder / "log", variables=limits)
    soaked, sent = Soaked(), 0
    visitors = [_visitor(service, f"{seed} {number}") for number in range(clients)]
    try:
        _send(visitors, max(requests // 10, min(3 * HISTORY, requests)), Soaked())
        soaked.uses.append(_use_at_rest(service, visitors, sent))
        started = time.monotonic()
        for look in range(1, LOOKS + 1):
            _send(visitors, requests * look // LOOKS - sent, soaked)
            sent = requests * look // LOOKS
            soaked.uses.append(_use(service, sent))
        soaked.seconds = time.monotonic() - started
        soaked.uses.append(_use_at_rest(service, visitors, sent))
    finally:
        for visitor in visitors:
            visitor.client.close()
        if service.stop() != 0:
            soaked.wrong.append("the service did not exit cleanly")
    soaked.wrong += [line for line in (folder / "log").read_text().splitlines() if "Traceback" in line]
    return soaked


def _visitor(service: TinyService, seed: str) -> Visitor:
    client = httpx.Client(
        base_url=service.client.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
    )
    return Visitor(client, random.Random(seed), photos())


def _send(visitors: Sequence[Visitor], count: int, soaked: Soaked) -> None:
    """Send requests by all visitors at the same time; each sends its next one after its answer."""
    numbers, lock = itertools.count(), threading.Lock()

    def go_on(visitor: Visitor) -> None:
        while next(numbers) < count:
            try:
                kind, (status, right) = visit(visitor)
            except httpx.HTTPError as error:
                kind, status, right = f"no answer ({type(error).__name__})", 0, []
            with lock:
                soaked.statuses[kind, status] += 1
                if status not in right:
                    soaked.wrong.append(f"{kind} was answered with {status}, not one of {list(right)}")

    threads = [threading.Thread(target=go_on, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _use(service: TinyService, requests: int) -> Use:
    process = service.process
    with process.oneshot():
        return Use(requests, round(process.memory_info().rss / 1e6, 1), _files(process), process.num_threads())


def _files(process: psutil.Process) -> int:
    return process.num_fds() if psutil.POSIX else process.num_handles()


def _use_at_rest(service: TinyService, visitors: Sequence[Visitor], requests: int) -> Use:
    """Measure once all visitors have left and the service has noticed."""
    for visitor in visitors:
        visitor.client.close()
        visitor.client = _visitor(service, "").client
    end = time.monotonic() + _SETTLE_SECONDS
    while any(each.status == psutil.CONN_ESTABLISHED for each in service.process.net_connections()):
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    return _use(service, requests)


def report(soaked: Soaked) -> str:
    first, last = soaked.uses[0], soaked.uses[-1]
    sent, memory = sum(soaked.statuses.values()), ", ".join(f"{use.memory_mb:.0f}" for use in soaked.uses)
    kinds: dict[str, list[str]] = {}
    for (kind, status), count in sorted(soaked.statuses.items()):
        kinds.setdefault(kind, []).append(f"{count} x {status or 'left'}")
    complaints = soaked.complaints()
    return "\n".join([
        machine(),
        f"{sent} requests in {soaked.seconds:.0f} s, {sent / max(soaked.seconds, 1e-9):.0f} a second",
        *(f"  {kind}: {', '.join(counts)}" for kind, counts in kinds.items()),
        f"resident memory in MB: {memory}",
        f"memory's slope over the later half: {1000 * soaked.slope:+.2f} MB per 1000 requests",
        f"open files: {first.files} before, {last.files} after; threads: {first.threads} before, {last.threads} after",
        f"verdict: {'no complaints' if not complaints else f'{len(complaints)} complaints'}",
        *complaints[:50],
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
