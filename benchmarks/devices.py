"""How training with the encoder learning scales from one process to two, on a core each.

Both take steps of the same batch. Beside them the machine's own ceiling: two processes that know nothing of each other,
each with half of the batch. Two cores that share a memory, or are two threads of one core, are not twice one core.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

import captioner
from benchmarks.drawn import captioned, draw_photos
from benchmarks.our_training import OurTraining
from benchmarks.tables import table
from benchmarks.timing import Spread
from captioner.captioner import Captioner
from captioner.model.allocator import keep_freed_memory
from captioner.ranks import Ranks
from training.distributed import leave, meet
from training.options import FitOptions

TITLE = "Training on two processes"

ROOT = Path(__file__).parents[1]
PHOTOS = "photos"
"""Folder beside those of the contestants."""
PROCESSES = 2
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", str(PROCESSES)]


@dataclass(frozen=True)
class Sizes:
    rounds: int = 3
    photos: int = 64
    """In a batch, shared or not."""
    batches: int = 4
    """Of each contestant in a round, after one that warms up."""
    tuned_stages: int = 3
    """Of the encoder that ships, as it was trained."""
    image_size: int | None = None
    """Side of the square that the encoder sees; None: what it was trained for."""


QUICK = Sizes(rounds=1, photos=2, batches=1, image_size=64)


@dataclass(frozen=True)
class Row:
    contestant: str
    photos_per_second: Spread
    times_one: Spread
    """How many times as many as one process alone, round by round."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    photos: int


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """On CPU cores, with the captioner that ships, which each process loads; the one that is given is left alone."""
    sizes = QUICK if quick else Sizes()
    rates: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        draw_photos(Path(folder) / PHOTOS, sizes.photos)
        for number in range(sizes.rounds):
            for name, rate in _CONTESTANTS.items():
                rates.setdefault(name, []).append(rate(sizes, Path(folder) / f"{number} {name}"))
    (one, *_) = rates.values()
    rows = [
        Row(name, Spread.of(found), Spread.of([each / alone for each, alone in zip(found, one, strict=True)]))
        for name, found in rates.items()
    ]
    return Results(tuple(rows), sizes.photos)


def report(results: Results) -> str:
    rows = [(row.contestant, row.photos_per_second, row.times_one) for row in results.rows]
    note = f"A batch has {results.photos} photos; each process has one thread."
    return "\n\n".join((table(["processes", "photos/s", "times one"], rows), note))


def _one(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos, folder, [[]])


def _two_ranks(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos, folder, [TORCHRUN])


def _two_strangers(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos // PROCESSES, folder, [[]] * PROCESSES)


_CONTESTANTS = {"one": _one, "two ranks": _two_ranks, "two apart, at the same time": _two_strangers}


def _rate(sizes: Sizes, photos: int, folder: Path, launchers: list[list[str]]) -> float:
    """Photos per second of programs that run at the same time, each with batches of so many photos."""
    folder.mkdir()
    options = json.dumps(asdict(sizes) | {"photos": photos})
    programs = [
        subprocess.Popen(
            [sys.executable, *launcher, "-m", "benchmarks.devices", options, str(folder), str(len(launchers))],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
        )
        for launcher in launchers
    ]  # fmt: skip
    said = [program.communicate()[0] for program in programs]
    if any(program.returncode for program in programs):
        raise RuntimeError("a process of the benchmark failed: standard error says why")
    return sum(photos / median(json.loads(seconds)) for seconds in said)


def main(arguments: list[str] | None = None) -> None:
    """One of the processes: learn, and print the seconds of each batch; of ranks, the first prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.split("\n")[0])
    parser.add_argument("sizes", type=lambda text: Sizes(**json.loads(text)))
    parser.add_argument("folder", type=Path)
    parser.add_argument("programs", type=int)
    given = parser.parse_args(arguments)
    sizes, folder = given.sizes, given.folder
    torch.set_num_threads(1)
    keep_freed_memory()
    ranks, _ = meet(Ranks.from_environment(), "cpu")
    model = captioner.load(device="cpu")
    records = captioned(model.bundle.vocabulary, sorted((folder.parent / PHOTOS).iterdir())[: sizes.photos])
    options = FitOptions(epochs=0, fine_tune_epochs=1000, fine_tune_stages=sizes.tuned_stages, batch_size=sizes.photos)
    training = OurTraining.of_photos(model, records, options, sizes.image_size, folder, ranks)
    training.epoch()
    if ranks.leads:
        (folder / f"ready-{os.getpid()}").touch()
        while len(list(folder.glob("ready-*"))) < given.programs:
            time.sleep(0.01)
    seconds = []
    for _ in range(sizes.batches):
        started = time.perf_counter()
        training.epoch()
        seconds.append(time.perf_counter() - started)
    if ranks.leads:
        print(json.dumps(seconds))
    leave(ranks)


if __name__ == "__main__":
    main()
