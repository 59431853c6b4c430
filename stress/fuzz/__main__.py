"""Feed broken and malicious inputs by the thousand: only documented errors may occur, in bounded time and memory.

    python -m stress.fuzz [--cases 50000] [--only KIND ...] [--seed N] [--first N]

Photos, pictures of maps, zips, caption files, boxes, bundles, checkpoints and requests are broken at random, the same
ones for the same seed, and given to the product in a process with limits on memory and on the time of each case. The
product must read each case or refuse it with a documented error; everything else is reported with the number of the
case. Linux only.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from benchmarks.tables import table
from stress.fuzz.kinds import KINDS
from stress.fuzz.runner import CASE_SECONDS, MEMORY_BYTES, Tally, fuzz

SHARES = {
    "images": 35, "drawings": 5, "archives": 15, "captions": 15, "boxes": 10, "bundles": 3, "checkpoints": 2, "api": 8,
    "connections": 7,
}  # fmt: skip
"""Of the cases, in percent: a bundle takes a hundred times as long as a photo."""
_EVERY = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was found, 1 otherwise."""
    options = _parser().parse_args(arguments)
    chosen = options.only or list(KINDS)
    whole = sum(SHARES[kind] for kind in chosen)
    tallies = []
    for kind in chosen:
        cases = max(1, options.cases * SHARES[kind] // whole)
        tallies.append(fuzz(kind, cases, options.seed, options.first, _Progress()))
        _tell_finds(tallies[-1])
    print(report(tallies))
    return int(any(tally.found for tally in tallies))


def report(tallies: Sequence[Tally]) -> str:
    """Return a Markdown table and a verdict."""
    rows = [
        (
            tally.kind,
            f"{tally.cases:,}",
            ", ".join(f"{name} {count:,}" for name, count in tally.outcomes.most_common() if name != "find"),
            len(tally.found),
            tally.slowest_seconds,
            tally.seconds,
        )
        for tally in tallies
    ]
    found = sum(len(tally.found) for tally in tallies)
    cases = sum(tally.cases for tally in tallies)
    verdict = f"{found:,} of {cases:,} cases had a wrong result." if found else f"All {cases:,} cases passed."
    limits = f"Limits per case: {CASE_SECONDS} s of processor time and {MEMORY_BYTES >> 20} MB more address space."
    headings = ("kind", "cases", "outcomes", "findings", "slowest (s)", "total (s)")
    return f"{table(headings, rows)}\n\n{verdict} {limits}"


class _Progress:
    """Print a line on standard error at intervals."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, tally: Tally) -> None:
        if tally.cases >= self._told + _EVERY:
            self._told = tally.cases
            print(f"{tally.kind}: {tally.cases:,} cases, {len(tally.found)} findings", file=sys.stderr)


def _tell_finds(tally: Tally) -> None:
    """Print one finding of each cause, with its traceback."""
    causes = Counter(found.cause for found in tally.found)
    first = {found.cause: found for found in reversed(tally.found)}
    for cause, count in causes.most_common():
        found = first[cause]
        print(f"\n{tally.kind} case {found.number}, {count} of this cause: {found.what}\n{found.trace}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=5000, metavar="N", help="total of all kinds; default: 5000")
    parser.add_argument("--only", nargs="+", choices=KINDS, metavar="KIND", help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the generator; default: 0")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of each kind's first case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
