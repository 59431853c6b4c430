"""Measure the memory of a bulk run against the photos that it has captioned.

`python -m captioner FOLDER --output captions.jsonl` runs as a process. The folder holds one photo many times, as links.
The memory is that of all its processes. The run is also the figure of photos per second for large folders.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.examples import EXAMPLES
from benchmarks.growth import curves
from benchmarks.growth.curves import Curve
from benchmarks.processes import memory_mb
from captioner.captioner import Captioner

TITLE = "Memory of a bulk run against photos"

ROOT = Path(__file__).parents[2]
FIRST = 100
"""Photos at the first point."""
STEPS = 1, 2, 5
"""Points are these, times powers of ten."""
QUICK_PHOTOS = 24
QUICK_MARKS = (8, 16)
LINKS = 10_000
"""Links to one file: file systems have a limit."""
INTERVAL = 0.05
"""Seconds between two readings."""

Reading = tuple[float, int, float]
"""Seconds since the start, photos captioned, MB."""


@dataclass(frozen=True)
class Results:
    curve: Curve
    per_second: float
    """Photos, between the first point and the last."""
    line_bytes: float
    """Size of the output per photo."""


def measure(captioner: Captioner, quick: bool = False, bulk_photos: int = 10_000) -> Results:
    """Measure the command as a process of its own; `captioner` is not used."""
    photos = QUICK_PHOTOS if quick else bulk_photos
    marks = (*QUICK_MARKS, photos) if quick else marks_up_to(photos)
    with tempfile.TemporaryDirectory() as folder:
        link_photos(Path(folder) / "photos", photos)
        output = Path(folder) / "captions.jsonl"
        readings = bulk_run(Path(folder) / "photos", output, photos)
        line_bytes = output.stat().st_size / photos
    memory = Curve.of("photos captioned", "MB", by_marks(readings, marks), logarithmic=True)
    began, first, _ = next((reading for reading in readings[:-1] if reading[1] >= marks[0]), (0.0, 0, 0.0))
    ended, last, _ = readings[-1]
    return Results(memory, (last - first) / (ended - began), line_bytes)


def marks_up_to(photos: int) -> tuple[int, ...]:
    """Return 100, 200, 500, 1000, ... up to and with `photos`."""
    marks = [step * FIRST * 10**power for power in range(8) for step in STEPS]
    return (*(mark for mark in marks if mark < photos), photos)


def link_photos(folder: Path, count: int) -> None:
    """Make `count` names of one photo."""
    folder.mkdir()
    content = min(EXAMPLES.glob("*.jpg"), key=lambda path: path.stat().st_size).read_bytes()
    for number in range(count):
        path = folder / f"{number:07}.jpg"
        if number % LINKS == 0:
            path.write_bytes(content)
            first = path
        else:
            os.link(first, path)


def bulk_run(photos: Path, output: Path, count: int) -> list[Reading]:
    """Caption a folder and return the readings from the first caption to the last. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "captioner", str(photos), "--output", str(output)]
    log = output.with_suffix(".log")
    with log.open("w") as messages, subprocess.Popen(command, cwd=ROOT, stdout=messages, stderr=messages) as process:
        try:
            readings = list(_readings(process, output))
        finally:
            process.kill()
    if not readings or readings[-1][1] != count:
        raise RuntimeError(f"`python -m captioner` did not caption all photos: {log.read_text()[-500:]}")
    return readings


def _readings(process: subprocess.Popen, output: Path) -> Iterator[Reading]:
    """Yield a reading whenever more photos are captioned."""
    started_at, count, position, observed = time.perf_counter(), 0, 0, psutil.Process(process.pid)
    running = True
    megabytes = 0.0
    while running:
        running = process.poll() is None
        if running:
            megabytes = memory_mb(observed) or megabytes
        if output.is_file():
            with output.open("rb") as file:
                file.seek(position)
                lines = file.read().count(b"\n")
                position = file.tell()
            if lines:
                count += lines
                yield time.perf_counter() - started_at, count, megabytes
        time.sleep(INTERVAL)


def by_marks(readings: Sequence[Reading], marks: Sequence[int]) -> dict[int, list[float]]:
    """Return for each mark the memory in MB between the mark before it and itself, or else right after it."""
    values: dict[int, list[float]] = {}
    for previous, mark in zip((0, *marks), marks, strict=False):
        between = [megabytes for _, count, megabytes in readings if previous < count <= mark]
        later = [megabytes for _, count, megabytes in readings if count > mark]
        values[mark] = between or later[:1]
    return values


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    return f"{curves.report(results.curve)}\n\n{results.per_second:.1f} photos/s, without the start of the processes."
