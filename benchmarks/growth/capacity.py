"""Compute what 10 million photos a day need, from the measured sections.

    machines = photos per second / (photos per second of a machine x utilisation), rounded up
    cores of the database = photos per second x processor time of a photo in the database / utilisation
    disk = captions kept x (size of a row + size of a photo)

Captions need no training workers: each retraining that runs at the same time needs one.
"""

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.machine import Machine
from benchmarks.tables import figure, table

TITLE = "What 10 million photos a day need"

PHOTOS_A_DAY = 10_000_000
PER_SECOND = PHOTOS_A_DAY / 86_400
UTILISATION = 0.7
"""Share of the measured speed to plan with."""
WORTH_A_REPLICA = 1.05
"""A further replica on a machine must answer so many times as many photos to be worth its memory."""
DEFAULT_HISTORY = 10_000
MOST_HISTORY = 10_000_000
"""Captions that the service keeps: the default of CAPTIONER_HISTORY, and the most that it allows."""
UNMEASURED = "not measured"

Cells = tuple[str, str, str, str]


def report(measured: Mapping[str, Any], machine: Machine) -> str:
    """measured: section -> its results; None or nothing if it was not measured."""
    rows = [
        *_service(measured.get("clients"), machine),
        *_replicas(measured.get("replicas")),
        *_database(measured.get("replicas")),
        *_disk(measured.get("clients"), measured.get("replicas")),
        *_folders(measured.get("memory"), machine),
    ]
    introduction = (
        f"{PHOTOS_A_DAY:,} photos a day are {figure(PER_SECOND)} photos/s. A machine is planned at"
        f" {100 * UTILISATION:.0f} % of its measured speed; the rest is for busy hours and for machines that are away."
    )
    return f"{introduction}\n\n{table(['what', 'measured', 'computation', 'needed'], rows)}"


def machines(per_second: float) -> int:
    """Return the number of machines for all photos. per_second: photos per second of one."""
    return math.ceil(PER_SECOND / (per_second * UTILISATION))


def _service(clients: Any, machine: Machine) -> list[Cells]:
    what = f"service: machines with {machine.cores} cores"
    if clients is None:
        return [_unmeasured(what)]
    points = zip(clients.per_second, clients.curve.points, strict=True)
    rate, count = max((spread.median, point.x) for spread, point in points)
    return [(what, f"{figure(rate)} photos/s with {count:.0f} clients", _division(rate), f"{machines(rate):,}")]


def _replicas(replicas: Any) -> list[Cells]:
    what = "service: replicas on each machine"
    if replicas is None:
        return [_unmeasured(what)]
    points = replicas.curve.points
    best = max(point.y.median for point in points)
    fewest = next(point for point in points if point.y.median >= best / WORTH_A_REPLICA)
    measured = f"{figure(fewest.y.median)} photos/s; the most with more: {figure(best)}"
    rule = f"the fewest within {100 * (WORTH_A_REPLICA - 1):.0f} % of the most"
    return [(what, measured, rule, f"{fewest.x:.0f}")]


def _database(replicas: Any) -> list[Cells]:
    what = "service: cores of PostgreSQL"
    if replicas is None:
        return [_unmeasured(what)]
    ms = replicas.database_ms[0].median
    needed = PER_SECOND * ms / 1000 / UTILISATION
    return [
        (what, f"{figure(ms)} ms per photo", f"{figure(PER_SECOND)} x {figure(ms)} ms / {UTILISATION}", figure(needed))
    ]


def _disk(clients: Any, replicas: Any) -> list[Cells]:
    row = replicas or clients
    rows = [("service: new rows of captions", "1 per photo", f"{PHOTOS_A_DAY:,} x 1", f"{PHOTOS_A_DAY:,} a day")]
    what = "service: disk of {} kept captions"
    if clients is None:
        return [*rows, _unmeasured(what.format(f"{MOST_HISTORY:,}"))]
    measured = f"row {figure(row.row_kb)} kB, photo {figure(clients.photo_kb)} kB"
    for kept in (DEFAULT_HISTORY, MOST_HISTORY):
        sizes = [kept * kilobytes / 1e6 for kilobytes in (row.row_kb, clients.photo_kb)]
        computed = f"{kept:,} x {figure(row.row_kb + clients.photo_kb)} kB"
        needed = f"{figure(sizes[0])} GB database, {figure(sizes[1])} GB photos"
        rows.append((what.format(f"{kept:,}"), measured, computed, needed))
    return rows


def _folders(memory: Any, machine: Machine) -> list[Cells]:
    what = f"folders: machines with {machine.cores} cores"
    if memory is None:
        return [_unmeasured(what)]
    rate, size = memory.per_second, memory.line_bytes
    disk = PHOTOS_A_DAY * size / 1e9
    return [
        (what, f"{figure(rate)} photos/s", _division(rate), f"{machines(rate):,}"),
        ("folders: captions.jsonl", f"{figure(size)} bytes a line", f"{PHOTOS_A_DAY:,} x {figure(size)} bytes",
         f"{figure(disk)} GB a day"),
        ("folders: memory of a machine", f"{figure(memory.curve.points[-1].y.most)} MB", "the most at the last point",
         f"{figure(memory.curve.points[-1].y.most / 1000)} GB"),
    ]  # fmt: skip


def _division(rate: float) -> str:
    return f"{figure(PER_SECOND)} / ({figure(rate)} x {UTILISATION})"


def _unmeasured(what: str) -> Cells:
    return what, UNMEASURED, "", ""
