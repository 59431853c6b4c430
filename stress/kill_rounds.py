"""Check that the service keeps its promises, however it is killed.

    python -m stress.kill_rounds [--rounds N] [--seed S] [--folder FOLDER]

starts the real service, with its worker, on its own folder; sends photos, corrections, data sets, captioners and
trainings; kills it with SIGKILL at a random moment of an upload, a caption, a training, a checkpoint or a promotion;
starts it again; and checks that everything that was acknowledged exists, that everything that exists is complete, and
that nothing else is left. One such round takes some seconds. Exit status 1 if a promise was broken.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stress.kill_clients import RoundState, caption, make_payloads, promote, train, upload
from stress.kill_journal import Journal, broken_promises, leftovers, orphans
from stress.tiny_captioner import save_tiny_bundle
from stress.tiny_service import TinyService, kill, start_service

MOMENTS = ("caption", "upload", "training", "checkpoint", "promotion", "keeping")
"""keeping: when the result of a training becomes a version."""
VICTIMS = ("everything", "everything", "everything", "service", "worker", "training")
"""Killed at once; the last two only while they are running, and a moment later everything."""
STAGES = ("starting", "encoding", "training", "validating", "comparing")

_MOMENT_TIMEOUT = 40.0
"""Seconds to wait for the moment of a training; after them, the service is killed anyway."""
_REMOVAL_TIMEOUT = 30.0
_AGE_SECONDS = 2 * 3600.0
_VARIABLES = {"CAPTIONER_HISTORY": "10000000"}
"""Of the service: after some ten thousand captions, the oldest are removed as intended."""
_READ_COUNT = 20
"""Captions read completely after each round, of all that exist."""


@dataclass
class Results:
    """Results of all rounds."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    """By moment and by the killed process."""
    successes: Counter[str] = field(default_factory=Counter)
    removed: int = 0
    """Incomplete files and folders that a kill had left and the next start removed."""
    broken: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        results = Results()
        with contextlib.suppress(KeyboardInterrupt):  # report the findings so far
            kill_rounds(folder, options.rounds, options.seed, results, options.moments, verbose=True)
        print(report(results, options.seed))
    return 1 if results.broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.kill_rounds", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="number of rounds; default: 200")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments; default: 0")
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=MOMENTS, help="default: all")
    parser.add_argument("--folder", type=Path, help="folder for the service's data and log; default: a temporary one")
    return parser


def kill_rounds(
    folder: Path, rounds: int, seed: int, results: Results, moments: Sequence[str] = MOMENTS, verbose: bool = False
) -> None:
    """Run a number of rounds, check everything at the end, and add them to `results`.

    moments: each of them first, then random ones.
    """
    rng, journal = random.Random(seed), Journal()
    payloads = make_payloads(folder)
    save_tiny_bundle(folder / "bundle")
    for number in range(rounds):
        moment = moments[number] if number < len(moments) else rng.choice(moments)
        with _running_service(folder, journal, results, rng) as service:
            state = RoundState(service.client, journal, payloads, rng.randrange(10**9))
            victim = _run_until_killed(service, state, moment, folder / "home", rng)
        results.rounds += 1
        results.killed.update([f"{moment}: {victim}"])
        results.successes.update(state.successes)
        results.broken += [f"round {number}, {moment}: {sentence}" for sentence in state.wrong_answers]
        if verbose:
            print(f"round {number}: {moment}, {victim}, {state.successes}, broken: {results.broken}", flush=True)
    with _running_service(folder, journal, results, rng, read_count=len(journal.captions)):
        pass


@contextlib.contextmanager
def _running_service(
    folder: Path, journal: Journal, results: Results, rng: random.Random, read_count: int = _READ_COUNT
) -> Iterator[TinyService]:
    """Yield the service, started on the leftovers of the last kill and checked. Ends all of its processes."""
    home = folder / "home"
    leftover_paths = _age_leftovers(home)
    service = start_service(home, folder / "bundle", folder / "service.log", variables=_VARIABLES)
    tree = service.tree()
    try:
        sample = rng.sample(sorted(journal.captions), min(read_count, len(journal.captions)))
        broken = broken_promises(journal, service.client, home, sample)
        remaining = _wait_for_removal(lambda: [path for path in leftover_paths if path.exists()])
        unowned = _wait_for_removal(lambda: orphans(home, service.client))
        broken += [f"{path.relative_to(home)} is left" for path in remaining]
        broken += [f"{path.relative_to(home)} is left without an owner" for path in unowned]
        results.removed += len(leftover_paths) - len(remaining)
        results.broken += [f"after round {results.rounds - 1}: {sentence}" for sentence in broken]
        yield service
    finally:
        tree += service.tree()
        kill(tree)
        service.client.close()


def _age_leftovers(home: Path) -> list[Path]:
    """Make the leftovers of a kill two hours older -> their paths: newer ones might still be in use."""
    timestamp = time.time() - _AGE_SECONDS
    leftover_paths = leftovers(home) if home.exists() else []
    for path in [*leftover_paths, *home.glob("photos/*"), *home.glob("*/*/")]:
        os.utime(path, (timestamp, timestamp))
    return leftover_paths


def _wait_for_removal(find: Callable[[], list[Path]]) -> list[Path]:
    """Wait for the worker, which removes leftovers when it starts -> the paths that `find` still finds at the end."""
    deadline = time.monotonic() + _REMOVAL_TIMEOUT
    while remaining := find():
        if time.monotonic() > deadline:
            return remaining
        time.sleep(0.1)
    return []


def _run_until_killed(service: TinyService, state: RoundState, moment: str, home: Path, rng: random.Random) -> str:
    """Start clients and kill the service during their requests -> the first killed process."""
    clients = {
        "caption": (caption, caption, caption),
        "upload": (upload, caption),
        "promotion": (promote, caption),
    }.get(moment, (train, caption))
    threads = state.start(*clients)
    try:
        _wait_for_moment(service, state, moment, home, rng)
        victim = rng.choice(VICTIMS)
        tree = service.tree()
        victims = {"everything": tree, "service": tree[:1], "worker": tree[1:2], "training": tree[2:]}[victim]
        if not victims:
            victim, victims = "everything", tree
        kill(victims)
        if victim in ("worker", "training"):
            time.sleep(rng.uniform(0, 3))
        elif victim == "service":
            psutil.wait_procs(tree, timeout=30)  # the worker and its child processes end without a signal
        kill([*tree, *service.tree()])
        return victim
    finally:
        state.killed.set()
        for thread in threads:
            thread.join(90)


def _wait_for_moment(service: TinyService, state: RoundState, moment: str, home: Path, rng: random.Random) -> None:
    """Wait for a random time within the moment."""
    if moment == "caption":
        time.sleep(rng.uniform(0, 1.5))
    elif moment == "upload":
        time.sleep(rng.uniform(0, 8))
    elif moment == "promotion":
        _wait_until(lambda: {"promotion", "correction"} <= state.successes.keys())  # on a busy machine these take long
        time.sleep(rng.uniform(0, 3))
    elif moment == "training":
        stage = rng.choice(STAGES)
        if _wait_until(lambda: any(stage == current for current in _training_stages(state)), pause=0.1):
            time.sleep(rng.uniform(0, 0.7))
    elif moment == "checkpoint":
        _wait_until(lambda: any(True for _ in home.glob("trainings/*/run/.*")))
        time.sleep(rng.choice([0, rng.uniform(0, 0.02)]))
    else:
        versions = set(home.glob("models/*")) | set(home.glob("models/.add-*"))
        _wait_until(lambda: set(home.glob("models/.add-*")) - versions)
        time.sleep(rng.uniform(0, 0.3))


def _wait_until(condition: Callable[[], object], pause: float = 0.002) -> bool:
    deadline = time.monotonic() + _MOMENT_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def _training_stages(state: RoundState) -> list[str | None]:
    response = state.send("list", "GET", "/api/trainings")
    trainings = [] if response is None else response.json()["trainings"]
    return [(training["progress"] or {}).get("stage") for training in trainings]


def report(results: Results, seed: int) -> str:
    successes = ", ".join(f"{count} {kind}" for kind, count in sorted(results.successes.items()) if kind != "list")
    lines = [f"{results.rounds} rounds from seed {seed}", f"successful answers: {successes}"]
    lines += [f"killed at {label}: {count}" for label, count in sorted(results.killed.items())]
    lines += [f"left incomplete by kills and removed at the next start: {results.removed}"]
    lines += [f"broken promises: {len(results.broken)}", *results.broken[:50]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
