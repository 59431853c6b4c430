"""Measure the start of whole processes, beside `import torch`: one photo on the command line, and the service.

The service starts with an empty cache of prepared networks, and with those that an earlier start left. The command line
has its cache from the warm-up. Processes take turns, and files are in the system's cache.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.examples import EXAMPLES
from benchmarks.service import running_service
from benchmarks.tables import table
from benchmarks.timing import Spread, ratio, take_turns
from captioner.captioner import Captioner

TITLE = "Start"

ROOT = Path(__file__).parents[2]
ROUNDS, QUICK_ROUNDS = 7, 1
BATCH_SIZE = 8
"""Of the service: its default."""

IMPORT = 'python -c "import torch"'
COMMAND = "python -m captioner photo.jpg"
FIRST_START, LATER_START = "service, first start", "service, later start"
OFFSETS = (1.0, 0.5)
"""Seconds that may come on top of a multiple of the import: for the must and for the aim."""


@dataclass(frozen=True)
class Row:
    process: str
    seconds: Spread
    times_import: Spread
    """Ratio to the time of `import torch`, per round."""
    times_after: tuple[Spread, ...]
    """The same, with the seconds of each of OFFSETS taken off first."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure processes with the shipped captioner; `captioner` is not used."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CAPTIONER_CACHE": cache}
        photo = str(EXAMPLES / "cat.jpg")
        measures = {
            IMPORT: _process([sys.executable, "-c", "import torch"], environment),
            COMMAND: _process([sys.executable, "-m", "captioner", photo], environment),
            FIRST_START: _first_start,
            LATER_START: lambda _: _ready_seconds(cache),
        }
        seconds = take_turns(measures, QUICK_ROUNDS if quick else ROUNDS)
    return Results(tuple(_row(name, times, seconds[IMPORT]) for name, times in seconds.items()))


def report(results: Results) -> str:
    rows = [(f"`{row.process}`" if "python" in row.process else row.process, row.seconds, row.times_import)
            for row in results.rows]  # fmt: skip
    return table(["process", "seconds", f"times `{IMPORT}`"], rows)


def _row(name: str, seconds: list[float], imports: list[float]) -> Row:
    after = tuple(ratio([elapsed - offset for elapsed in seconds], imports) for offset in OFFSETS)
    return Row(name, Spread.of(seconds), ratio(seconds, imports), after)


def _process(command: list[str], environment: dict[str, str]) -> Callable[[int], float]:
    def run(_: int) -> float:
        started_at = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started_at

    return run


def _first_start(_: int) -> float:
    with tempfile.TemporaryDirectory() as empty:
        return _ready_seconds(empty)


def _ready_seconds(cache: str) -> float:
    with running_service(BATCH_SIZE, cache) as service:
        return service.ready_seconds
