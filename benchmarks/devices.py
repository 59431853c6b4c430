"""Measure how fine-tuning of the encoder scales from one process to two, each on one core.

Both train on the same batches. For comparison with the machine's limit, two independent processes train at the same
time on half of the batch each: two cores that share memory, or two threads of one core, are less than twice as fast as
one core.
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
from benchmarks.drawn import draw_photos, make_records
from benchmarks.our_training import OurTraining
from benchmarks.tables import table
from benchmarks.timing import Spread
from captioner.captioner import Captioner
from captioner.model.allocator import keep_freed_memory
from captioner.ranks import Ranks
from training.distributed import connect, disconnect
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
    """Per batch, of all processes together."""
    batches: int = 4
    """Per contestant and round, after a warm-up batch."""
    tuned_stages: int = 3
    """Final stages of the shipped encoder, as it was fine-tuned."""
    image_size: int | None = None
    """Side of the encoder's input square; None: that of the bundle."""


QUICK = Sizes(rounds=1, photos=2, batches=1, image_size=64)


@dataclass(frozen=True)
class Row:
    contestant: str
    photos_per_second: Spread
    times_one: Spread
    """Ratio to the photos per second of one process, per round."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    photos: int


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure on CPU cores with the shipped captioner, which each process loads; `captioner` is not used."""
    sizes = QUICK if quick else Sizes()
    rates: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        draw_photos(Path(folder) / PHOTOS, sizes.photos)
        for number in range(sizes.rounds):
            for name, rate in _CONTESTANTS.items():
                rates.setdefault(name, []).append(rate(sizes, Path(folder) / f"{number} {name}"))
    (one_process, *_) = rates.values()
    rows = []
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, one_process, strict=True)]
        rows.append(Row(name, Spread.of(values), Spread.of(ratios)))
    return Results(tuple(rows), sizes.photos)


def report(results: Results) -> str:
    rows = [(row.contestant, row.photos_per_second, row.times_one) for row in results.rows]
    note = f"A batch has {results.photos} photos; each process has one thread."
    return "\n\n".join((table(["processes", "photos/s", "times one process"], rows), note))


def _one(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos, folder, [[]])


def _two_ranks(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos, folder, [TORCHRUN])


def _two_strangers(sizes: Sizes, folder: Path) -> float:
    return _rate(sizes, sizes.photos // PROCESSES, folder, [[]] * PROCESSES)


_CONTESTANTS = {"one": _one, "two ranks": _two_ranks, "two independent processes": _two_strangers}


def _rate(sizes: Sizes, photos: int, folder: Path, launchers: list[list[str]]) -> float:
    """Return the photos per second of programs that run at the same time, each with batches of `photos` photos."""
    folder.mkdir()
    options = json.dumps(asdict(sizes) | {"photos": photos})
    programs = [
        subprocess.Popen(
            [sys.executable, *launcher, "-m", "benchmarks.devices", options, str(folder), str(len(launchers))],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
        )
        for launcher in launchers
    ]  # fmt: skip
    outputs = [program.communicate()[0] for program in programs]
    if any(program.returncode for program in programs):
        raise RuntimeError("a process of the benchmark failed: see its message on standard error")
    return sum(photos / median(json.loads(seconds)) for seconds in outputs)


def main(arguments: list[str] | None = None) -> None:
    """Train in one of the processes and print the seconds of each batch; of several ranks, only the first prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.split("\n")[0])
    parser.add_argument("sizes", type=lambda text: Sizes(**json.loads(text)))
    parser.add_argument("folder", type=Path)
    parser.add_argument("programs", type=int)
    parsed = parser.parse_args(arguments)
    sizes, folder = parsed.sizes, parsed.folder
    torch.set_num_threads(1)
    keep_freed_memory()
    ranks, _ = connect(Ranks.from_environment(), "cpu")
    model = captioner.load(device="cpu")
    records = make_records(model.bundle.vocabulary, sorted((folder.parent / PHOTOS).iterdir())[: sizes.photos])
    options = FitOptions(epochs=0, fine_tune_epochs=1000, fine_tune_stages=sizes.tuned_stages, batch_size=sizes.photos)
    training = OurTraining.of_photos(model, records, options, sizes.image_size, folder, ranks)
    training.epoch()
    if ranks.leads:
        (folder / f"ready-{os.getpid()}").touch()
        while len(list(folder.glob("ready-*"))) < parsed.programs:
            time.sleep(0.01)
    seconds = []
    for _ in range(sizes.batches):
        started_at = time.perf_counter()
        training.epoch()
        seconds.append(time.perf_counter() - started_at)
    if ranks.leads:
        print(json.dumps(seconds))
    disconnect(ranks)


if __name__ == "__main__":
    main()
