"""Measure the service in use: its memory when ready and after many photos, and 16 clients at the same time."""

import tempfile
from dataclasses import dataclass

from benchmarks import service
from benchmarks.examples import example_photos
from benchmarks.processes import memory_mb
from benchmarks.tables import table
from benchmarks.timing import Spread
from captioner.captioner import Captioner

TITLE = "The service in use"

BATCH_SIZE = 8
"""Of the service: its default."""


@dataclass(frozen=True)
class Sizes:
    rounds: int = 5
    clients: int = 16
    photos: int = 160
    """Per round."""
    memory_photos: int = 2000
    """Photos before the second reading of the memory, those of the rounds included."""


QUICK = Sizes(rounds=1, clients=2, photos=4, memory_photos=8)


@dataclass(frozen=True)
class Results:
    ready_mb: float
    """Resident memory of the service's process when it is ready, after a later start."""
    used_mb: float
    """The same after `photos` photos."""
    all_mb: float
    """Memory of all its processes after that, its training worker included; shared pages count once."""
    photos: int
    clients: int
    per_second: Spread
    """Photos."""
    median_ms: Spread
    p95_ms: Spread


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure the real service as a process of its own; `captioner` is not used."""
    sizes, photos = QUICK if quick else Sizes(), example_photos()
    with tempfile.TemporaryDirectory() as cache:
        with service.running_service(BATCH_SIZE, cache):
            pass  # prepares the networks: a first start takes more memory
        with service.running_service(BATCH_SIZE, cache) as running:
            ready_mb = service.resident_mb(running)
            rounds = [service.measure(running, photos, sizes.clients, sizes.photos) for _ in range(sizes.rounds + 1)]
            remaining = sizes.memory_photos - sizes.photos * len(rounds)
            if remaining > 0:
                service.measure(running, photos, clients=4, count=remaining)
            used_mb, all_mb = service.resident_mb(running), memory_mb(running.process)
    loads = rounds[1:]  # the first is the warm-up
    spreads = (Spread.of([getattr(load, name) for load in loads]) for name in ("per_second", "median_ms", "p95_ms"))
    return Results(ready_mb, used_mb, all_mb, max(sizes.memory_photos, sizes.photos * len(rounds)), sizes.clients,
                   *spreads)  # fmt: skip


def report(results: Results) -> str:
    memory = [
        ("when ready", results.ready_mb),
        (f"after {results.photos:,} photos", results.used_mb),
        ("of all its processes then, shared pages once", results.all_mb),
    ]
    load = [(results.clients, results.per_second, results.median_ms, results.p95_ms)]
    return "\n\n".join(
        (
            table(["memory of the service", "MB"], memory),
            table(["clients", "photos/s", "median of an answer, ms", "95 % within, ms"], load),
        )
    )
