"""Cases of one kind in a process of their own, with a limit on its memory and on the time of each case."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CASE_SECONDS = 5
"""Of the processor, which one case may take."""
MEMORY_BYTES = 768 << 20
"""Of addresses, by which cases may make the process grow: beyond that it meets a MemoryError."""
_STUCK_SECONDS = 90
"""Without any sign, neither work nor result, after which a process counts as stuck."""

_INTERPRETER = sys.executable
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Found:
    """What one case did that it must not."""

    kind: str
    number: int
    """Of the case: `--only KIND --first NUMBER --cases 1` tries it again."""
    what: str
    """The exception, or how the process ended."""
    trace: str = ""

    @property
    def cause(self) -> str:
        """Alike for cases that fail in the same place."""
        places = [line.strip() for line in self.trace.splitlines() if line.lstrip().startswith("File ")]
        return f"{self.what.partition(':')[0]} {' '.join(places[-1:])}".strip()


@dataclass
class Tally:
    """How the cases of one kind ended."""

    kind: str
    first: int = 0
    """Number of the first case."""
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Class of the documented exception, or another word for how it ended ("used", a status, "find") -> cases."""
    found: list[Found] = field(default_factory=list)
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    """Of the processor, in one case."""

    @property
    def next(self) -> int:
        return self.first + self.cases

    def count(self, outcome: str, seconds: float = 0.0) -> None:
        self.cases += 1
        self.outcomes[outcome] += 1
        self.slowest_seconds = max(self.slowest_seconds, seconds)


def fuzz(
    kind: str, cases: int, seed: int = 0, first: int = 0, progress: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Try so many cases, from number `first` on; the same seed and number are the same case.

    A process that crashes, or is too slow or too large, is a find, and another one goes on after that case.
    progress: called after some cases. Raises RuntimeError where no process can be started.
    """
    tally, started = Tally(kind, first), time.monotonic()
    while tally.next < first + cases:
        _run_process(tally, seed, first + cases, progress)
        tally.seconds = time.monotonic() - started
    return tally


def _run_process(tally: Tally, seed: int, end: int, progress: Callable[[Tally], None]) -> None:
    """One process, until it is through or has ended before its time."""
    command = [_INTERPRETER, "-m", "stress.fuzz.child", tally.kind, *map(str, (seed, tally.next, end))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            started = _take_results(process.stdout, tally, progress)
        finally:
            process.kill()  # it has ended, or is stuck
            status = process.wait()
            process.stdout.close()
        if tally.next < end:
            errors.seek(0)
            told = errors.read().decode(errors="replace")[-3000:]
            if not started:
                raise RuntimeError(f"the process for {tally.kind} did not start: {told}")
            tally.found.append(Found(tally.kind, tally.next, _ending(status), told))
            tally.count("find")


def _take_results(stream: IO[bytes], tally: Tally, progress: Callable[[Tally], None]) -> bool:
    """Until the stream ends, or nothing comes any more -> whether the process began at all."""
    started, buffered = False, b""
    while _is_readable(stream) and (chunk := os.read(stream.fileno(), 1 << 16)):
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in lines:
            result = json.loads(line)
            started = True
            if "outcome" in result:
                if result["outcome"] == "find":
                    tally.found.append(Found(tally.kind, tally.next, result["what"], result["trace"]))
                tally.count(result["outcome"], result["seconds"])
        progress(tally)
    return started


def _is_readable(stream: IO[bytes]) -> bool:
    # Twice: where a whole machine was held, time has passed for nobody.
    return any(select.select([stream], [], [], _STUCK_SECONDS / 2)[0] for _ in range(2))


def _ending(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"took more than {CASE_SECONDS} s"
    if status == -signal.SIGKILL:
        return f"stuck: no sign for {_STUCK_SECONDS} s, or killed"
    return f"the process ended with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
