"""Measure a folder of photos with beam 5: in batches, and one photo at a time.

These are two of the contestants of `benchmarks.many_photos`, without the others.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.many_photos import (
    BASE,
    ONE_AT_A_TIME,
    QUICK,
    Row,
    Sizes,
    copy_examples,
    our_contestants,
    rows_of,
    rows_table,
)
from benchmarks.timing import time_in_turns
from captioner.captioner import Captioner

TITLE = "A folder"

ROUNDS = 9


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    photos: int


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes(rounds=ROUNDS)
    with TemporaryDirectory() as folder:
        paths = copy_examples(Path(folder), sizes.photos)
        contestants = our_contestants(captioner, paths)
        chosen = {name: contestants[name] for name in (BASE, ONE_AT_A_TIME)}
        seconds = time_in_turns(chosen, sizes.rounds, captioner.device)
    return Results(rows_of(seconds, sizes.photos, BASE), sizes.photos)


def report(results: Results) -> str:
    return f"{rows_table(results.rows, BASE)}\n\n{results.photos} photos."
