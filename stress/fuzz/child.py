"""The process that runs cases: `python -m stress.fuzz.child KIND SEED FIRST END` prints a line per case."""

import gc
import json
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from random import Random
from typing import Any

from stress.fuzz.kinds import Kind, make
from stress.fuzz.runner import CASE_SECONDS, MEMORY_BYTES


def main(arguments: Sequence[str]) -> None:
    name, seed, first, end = arguments[0], *map(int, arguments[1:])
    kind = make(name)
    _emit(ready=True)
    for number in range(first, end):
        # A new limit for each case, so that leftovers of one do not affect the next.
        _limit_memory()
        _emit(**_run_case(kind, Random(f"{name} {seed} {number}")))


def _run_case(kind: Kind, rng: Random) -> dict[str, Any]:
    """Return the outcome of one case. SIGPROF ends the process if a case takes too long."""
    started_at = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
    try:
        outcome: dict[str, Any] = {"outcome": kind.case(rng) or "used"}
    except kind.expected as error:
        outcome = {"outcome": type(error).__name__}
        # Lists of findings and formats follow the sentence.
        if not str(error) or "\n" in re.split(r"\s(?:Why not:|Known formats:)\n", str(error))[0]:
            outcome = {"outcome": "find", "what": f"no sentence: {str(error)!r}", "trace": traceback.format_exc()}
    except Exception as error:
        what = f"{type(error).__name__}: {error}"[:1000]
        outcome = {"outcome": "find", "what": what, "trace": traceback.format_exc()[-4000:]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if outcome["outcome"] == "find":
        gc.collect()
    return outcome | {"seconds": round(time.process_time() - started_at, 4)}


def _limit_memory() -> None:
    with open("/proc/self/statm") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + MEMORY_BYTES, resource.RLIM_INFINITY))


def _emit(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
