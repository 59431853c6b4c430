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
    kinds = options.only or list(KINDS)
    total_share = sum(SHARES[kind] for kind in kinds)
    tallies = []
    for kind in kinds:
        cases = max(1, options.cases * SHARES[kind] // total_share)
        tallies.append(fuzz(kind, cases, options.seed, options.first, _Progress()))
        _print_findings(tallies[-1])
    print(report(tallies))
    return int(any(tally.findings for tally in tallies))


def report(tallies: Sequence[Tally]) -> str:
    """Return a Markdown table and a verdict."""
    rows = [
        (
            tally.kind,
            f"{tally.cases:,}",
            ", ".join(f"{name} {count:,}" for name, count in tally.outcomes.most_common() if name != "find"),
            len(tally.findings),
            tally.slowest_seconds,
            tally.seconds,
        )
        for tally in tallies
    ]
    finding_count = sum(len(tally.findings) for tally in tallies)
    cases = sum(tally.cases for tally in tallies)
    failure = f"{finding_count:,} of {cases:,} cases had a wrong result."
    verdict = failure if finding_count else f"All {cases:,} cases passed."
    limits = f"Limits per case: {CASE_SECONDS} s of processor time and {MEMORY_BYTES >> 20} MB more address space."
    headings = ("kind", "cases", "outcomes", "findings", "slowest (s)", "total (s)")
    return f"{table(headings, rows)}\n\n{verdict} {limits}"


class _Progress:
    """Print a line on standard error at intervals."""

    def __init__(self) -> None:
        self._reported = 0

    def __call__(self, tally: Tally) -> None:
        if tally.cases >= self._reported + _EVERY:
            self._reported = tally.cases
            print(f"{tally.kind}: {tally.cases:,} cases, {len(tally.findings)} findings", file=sys.stderr)


def _print_findings(tally: Tally) -> None:
    """Print one finding of each cause, with its traceback."""
    causes = Counter(finding.cause for finding in tally.findings)
    first = {finding.cause: finding for finding in reversed(tally.findings)}
    for cause, count in causes.most_common():
        finding = first[cause]
        heading = f"{tally.kind} case {finding.number}, {count} of this cause: {finding.what}"
        print(f"\n{heading}\n{finding.trace}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stress.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=5000, metavar="N", help="total of all kinds; default: 5000")
    parser.add_argument("--only", nargs="+", choices=KINDS, metavar="KIND", help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the generator; default: 0")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of each kind's first case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
