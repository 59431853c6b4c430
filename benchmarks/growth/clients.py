"""Measure the service against the number of its clients, and the disk space of a caption.

Each client sends its next photo when it has the caption of the last one. As long as the service has the time, its
answers take equally long; then they take longer in proportion to the clients, and the photos per second stay.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import service
from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.curves import Curve
from benchmarks.timing import Spread, take_turns
from captioner.captioner import Captioner

TITLE = "Time of an answer against clients"

BATCH_SIZE = 8
"""Of the service: its default."""


@dataclass(frozen=True)
class Sizes:
    rounds: int = 5
    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    photos: int = 64
    """Per round at least; the more clients, the more photos."""
    photos_per_client: int = 4


QUICK = Sizes(rounds=1, clients=(1, 2), photos=4, photos_per_client=2)


@dataclass(frozen=True)
class Results:
    curve: Curve
    """Of the median time of an answer."""
    per_second: tuple[Spread, ...]
    """Photos, for each number of clients."""
    photo_kb: float
    """Kilobytes of the home folder per caption: the photo as it is kept."""
    row_kb: float
    """The same of the database, an SQLite file."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure the real service as a process of its own; `captioner` is not used."""
    sizes, photos = QUICK if quick else Sizes(), example_photos()
    counts = {clients: max(sizes.photos, sizes.photos_per_client * clients) for clients in sizes.clients}
    with tempfile.TemporaryDirectory() as cache, service.running_service(BATCH_SIZE, cache) as running:
        service.measure(running, photos, clients=4, count=len(photos))  # warm-up, and the database's first pages
        before = disk_bytes(running.home)
        loads = take_turns(
            {
                clients: lambda _, clients=clients: service.measure(running, photos, clients, counts[clients])
                for clients in sizes.clients
            },
            sizes.rounds,
        )
        after = disk_bytes(running.home)
    captions = sum(counts.values()) * (sizes.rounds + 1)
    ms = {clients: [load.median_ms for load in each] for clients, each in loads.items()}
    per_second = tuple(Spread.of([load.per_second for load in each]) for each in loads.values())
    photo_kb, row_kb = ((then - now) / captions / 1000 for now, then in zip(before, after, strict=True))
    return Results(Curve.of("clients", "ms until the answer", ms), per_second, photo_kb, row_kb)


def disk_bytes(home: Path) -> tuple[int, int]:
    """Return the sizes of the photos and of the database in a home folder."""
    sizes = {path: path.stat().st_size for path in home.rglob("*") if path.is_file()}
    database = sum(size for path, size in sizes.items() if path.parent == home and path.name.startswith("captioner.db"))
    return sum(sizes.values()) - database, database


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    kept = (
        f"A caption takes {results.row_kb:.1f} kB of the database, and its photo {results.photo_kb:.0f} kB of the disk."
    )
    return f"{curves.report(results.curve, {'photos/s': results.per_second})}\n\n{kept}"
