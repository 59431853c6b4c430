"""Measure the service against the number of its replicas, which share a PostgreSQL on the same machine.

All replicas run all the time, and each round sends its load to some of them. They share the machine's cores with the
clients and the database, so more of them answer hardly more photos. What more machines would give follows from the
processor time of a photo in a replica and in the database.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from benchmarks import service
from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.curves import Curve
from benchmarks.postgresql import PostgreSQL, find_program, postgresql_server
from benchmarks.processes import cpu_seconds
from benchmarks.service import Load, Service
from benchmarks.timing import Spread, take_turns
from captioner.captioner import Captioner

TITLE = "Photos per second against replicas"

BATCH_SIZE = 8
"""Default of CAPTIONER_BATCH_SIZE, which every replica uses."""


@dataclass(frozen=True)
class Sizes:
    rounds: int = 5
    replicas: tuple[int, ...] = (1, 2, 3, 4)
    clients: int = 16
    photos: int = 160
    """Per round."""


QUICK = Sizes(rounds=1, replicas=(1, 2), clients=2, photos=6)


@dataclass(frozen=True)
class Results:
    curve: Curve
    """Of the photos per second."""
    replica_ms: tuple[Spread, ...]
    """Processor time of a photo in all replicas together, in milliseconds, for each number of replicas."""
    database_ms: tuple[Spread, ...]
    """The same in the database."""
    row_kb: float
    """Kilobytes of the database per caption, with indexes."""
    cores: int
    """Of the machine, which replicas, database and clients share."""
    clients: int


@dataclass(frozen=True)
class _Round:
    load: Load
    replica_seconds: float
    database_seconds: float


def missing() -> str | None:
    """Return why replicas cannot be measured here."""
    names = [name for name in ("initdb", "postgres") if find_program(name) is None]
    return f"there is no {' and no '.join(names)}: install PostgreSQL's server" if names else None


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure real services as processes; `captioner` is not used."""
    sizes, photos = QUICK if quick else Sizes(), example_photos()
    with postgresql_server() as server, server.database() as url:
        with running_replicas(max(sizes.replicas), url) as replicas:
            service.measure(replicas, photos, clients=len(replicas), count=4 * len(replicas))  # warm-up
            before = server.bytes_of(url)
            rounds = take_turns(
                {count: _round_of(replicas[:count], server, photos, sizes) for count in sizes.replicas}, sizes.rounds
            )
            grown = server.bytes_of(url) - before
    rates = {count: [each.load.per_second for each in of_count] for count, of_count in rounds.items()}
    replica_ms, database_ms = (
        tuple(
            Spread.of([1000 * getattr(each, name) / sizes.photos for each in of_count]) for of_count in rounds.values()
        )
        for name in ("replica_seconds", "database_seconds")
    )
    captions = sizes.photos * (sizes.rounds + 1) * len(sizes.replicas)
    curve_ = Curve.of("replicas", "photos per second", rates)
    return Results(curve_, replica_ms, database_ms, grown / captions / 1000, os.cpu_count() or 1, sizes.clients)


@contextlib.contextmanager
def running_replicas(count: int, database_url: str) -> Iterator[list[Service]]:
    """Run replicas with one database, one home folder and no training worker."""
    with contextlib.ExitStack() as stack:
        home, cache = (stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2))
        settings = {
            "CAPTIONER_HOME": home, "CAPTIONER_DATABASE_URL": database_url, "CAPTIONER_WORKER": "external",
            "CAPTIONER_ADMIN_TOKEN": "a secret of the benchmark",
        }  # fmt: skip
        start = service.running_service
        yield [stack.enter_context(start(BATCH_SIZE, cache, settings)) for _ in range(count)]


def _round_of(
    replicas: Sequence[Service], server: PostgreSQL, photos: Sequence[bytes], sizes: Sizes
) -> Callable[[int], _Round]:
    processes, database = [replica.process for replica in replicas], psutil.Process(server.pid)

    def measure_round(_: int) -> _Round:
        before = sum(map(cpu_seconds, processes)), cpu_seconds(database)
        load = service.measure(replicas, photos, sizes.clients, sizes.photos)
        after = sum(map(cpu_seconds, processes)), cpu_seconds(database)
        return _Round(load, *(then - now for now, then in zip(before, after, strict=True)))

    return measure_round


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    further = {"CPU ms of a photo, replicas": results.replica_ms, "CPU ms, database": results.database_ms}
    one, database = results.curve.points[0].y.median, results.database_ms[0].median / 1000
    model = (
        f"{results.clients} clients; replicas, database and clients share {results.cores} cores. A replica on a machine"
        f" of its own answers at least {one:.0f} photos/s like the first one here, and R of them R times that, until"
        " the database's cores are busy. "
    )
    model += (
        f"One core of the database carries {1 / database:,.0f} photos/s, {1 / database / one:.0f} such machines."
        if database > 0
        else "The database took too little time to measure."
    )
    kept = f"A caption takes {results.row_kb:.1f} kB of PostgreSQL, with indexes."
    return f"{curves.report(results.curve, further)}\n\n{model} {kept}"
