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

from stress.kill_clients import Round, caption, make_wares, promote, train, upload
from stress.kill_journal import Journal, broken_promises, leftovers, orphans
from stress.tiny_captioner import save_tiny_bundle
from stress.tiny_service import TinyService, kill, start_service

MOMENTS = ("caption", "upload", "training", "checkpoint", "promotion", "keeping")
"""keeping: when the result of a training becomes a version."""
KILLED = ("everything", "everything", "everything", "service", "worker", "training")
"""Killed at once; the last two only while they are running, and a moment later everything."""
STAGES = ("starting", "encoding", "training", "validating", "comparing")

_PATIENCE = 40.0
"""Seconds to wait for the moment of a training; after them, the service is killed anyway."""
_CLEANED_SECONDS = 30.0
_HOURS = 2 * 3600.0
_VARIABLES = {"CAPTIONER_HISTORY": "10000000"}
"""Of the service: after some ten thousand captions, the oldest are removed as intended."""
_READ = 20
"""Captions read completely after each round, of all that exist."""


@dataclass
class Found:
    """Results of all rounds."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    """By moment and by the killed process."""
    answered: Counter[str] = field(default_factory=Counter)
    cleaned: int = 0
    """Incomplete files and folders that a kill had left and the next start removed."""
    broken: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        found = Found()
        with contextlib.suppress(KeyboardInterrupt):  # report the findings so far
            kill_rounds(folder, options.rounds, options.seed, found, options.moments, verbose=True)
        print(report(found, options.seed))
    return 1 if found.broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.kill_rounds", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="number of rounds; default: 200")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments; default: 0")
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=MOMENTS, help="default: all")
    parser.add_argument("--folder", type=Path, help="folder for the service's data and log; default: a temporary one")
    return parser


def kill_rounds(
    folder: Path, rounds: int, seed: int, found: Found, moments: Sequence[str] = MOMENTS, verbose: bool = False
) -> None:
    """Run a number of rounds, check everything at the end, and add the results to `found`.

    moments: each of them first, then random ones.
    """
    rng, journal = random.Random(seed), Journal()
    wares = make_wares(folder)
    save_tiny_bundle(folder / "bundle")
    for number in range(rounds):
        moment = moments[number] if number < len(moments) else rng.choice(moments)
        with _alive(folder, journal, found, rng) as service:
            life = Round(service.client, journal, wares, rng.randrange(10**9))
            killed = _live_and_die(service, life, moment, folder / "home", rng)
        found.rounds += 1
        found.killed.update([f"{moment}: {killed}"])
        found.answered.update(life.answered)
        found.broken += [f"round {number}, {moment}: {sentence}" for sentence in life.wrong]
        if verbose:
            print(f"round {number}: {moment}, {killed}, {life.answered}, broken: {found.broken}", flush=True)
    with _alive(folder, journal, found, rng, read=len(journal.captions)):
        pass


@contextlib.contextmanager
def _alive(
    folder: Path, journal: Journal, found: Found, rng: random.Random, read: int = _READ
) -> Iterator[TinyService]:
    """Yield the service, started on the leftovers of the last kill and checked. Ends all of its processes."""
    home = folder / "home"
    left = _age(home)
    service = start_service(home, folder / "bundle", folder / "service.log", variables=_VARIABLES)
    tree = service.tree()
    try:
        some = rng.sample(sorted(journal.captions), min(read, len(journal.captions)))
        broken = broken_promises(journal, service.client, home, some)
        still = _not_removed(left)
        broken += [f"{path.relative_to(home)} is left" for path in still]
        broken += [f"{path.relative_to(home)} is left without an owner" for path in orphans(home, service.client)]
        found.cleaned += len(left) - len(still)
        found.broken += [f"after round {found.rounds - 1}: {sentence}" for sentence in broken]
        yield service
    finally:
        tree += service.tree()
        kill(tree)
        service.client.close()


def _age(home: Path) -> list[Path]:
    """Make the leftovers of a kill two hours older -> their paths: newer ones might still be in use."""
    then = time.time() - _HOURS
    left = leftovers(home) if home.exists() else []
    for path in [*left, *home.glob("photos/*"), *home.glob("*/*/")]:
        os.utime(path, (then, then))
    return left


def _not_removed(left: Sequence[Path]) -> list[Path]:
    """Wait for the worker, which removes leftovers when it starts."""
    end = time.monotonic() + _CLEANED_SECONDS
    while still := [path for path in left if path.exists()]:
        if time.monotonic() > end:
            return still
        time.sleep(0.1)
    return []


def _live_and_die(service: TinyService, life: Round, moment: str, home: Path, rng: random.Random) -> str:
    """Start clients and kill the service during their requests -> the first killed process."""
    clients = {
        "caption": (caption, caption, caption),
        "upload": (upload, caption),
        "promotion": (promote, caption),
    }.get(moment, (train, caption))
    threads = life.begin(*clients)
    try:
        _await(service, life, moment, home, rng)
        killed = rng.choice(KILLED)
        tree = service.tree()
        victims = {"everything": tree, "service": tree[:1], "worker": tree[1:2], "training": tree[2:]}[killed]
        if not victims:
            killed, victims = "everything", tree
        kill(victims)
        if killed in ("worker", "training"):
            time.sleep(rng.uniform(0, 3))
        elif killed == "service":
            psutil.wait_procs(tree, timeout=30)  # the worker and its child processes end without a signal
        kill([*tree, *service.tree()])
        return killed
    finally:
        life.over.set()
        for thread in threads:
            thread.join(90)


def _await(service: TinyService, life: Round, moment: str, home: Path, rng: random.Random) -> None:
    """Wait for a random time within the moment."""
    if moment == "caption":
        time.sleep(rng.uniform(0, 1.5))
    elif moment == "upload":
        time.sleep(rng.uniform(0, 8))
    elif moment == "promotion":
        _wait_until(lambda: {"promotion", "correction"} <= life.answered.keys())  # on a busy machine these take long
        time.sleep(rng.uniform(0, 3))
    elif moment == "training":
        stage = rng.choice(STAGES)
        if _wait_until(lambda: any(stage == each for each in _stages(life)), pause=0.1):
            time.sleep(rng.uniform(0, 0.7))
    elif moment == "checkpoint":
        _wait_until(lambda: any(True for _ in home.glob("trainings/*/run/.*")))
        time.sleep(rng.choice([0, rng.uniform(0, 0.02)]))
    else:
        versions = set(home.glob("models/*")) | set(home.glob("models/.add-*"))
        _wait_until(lambda: set(home.glob("models/.add-*")) - versions)
        time.sleep(rng.uniform(0, 0.3))


def _wait_until(come: Callable[[], object], pause: float = 0.002) -> bool:
    end = time.monotonic() + _PATIENCE
    while not come():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def _stages(life: Round) -> list[str | None]:
    listed = life.ask("list", "GET", "/api/trainings")
    trainings = [] if listed is None else listed.json()["trainings"]
    return [(training["progress"] or {}).get("stage") for training in trainings]


def report(found: Found, seed: int) -> str:
    answered = ", ".join(f"{count} {kind}" for kind, count in sorted(found.answered.items()) if kind != "list")
    lines = [f"{found.rounds} rounds from seed {seed}", f"successful answers: {answered}"]
    lines += [f"killed at {what}: {count}" for what, count in sorted(found.killed.items())]
    lines += [f"left incomplete by kills and removed at the next start: {found.cleaned}"]
    lines += [f"broken promises: {len(found.broken)}", *found.broken[:50]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
