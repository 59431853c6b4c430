"""Cases of one kind in a separate process with limits on its memory and on the time of each case."""

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
"""Processor time limit of one case."""
MEMORY_BYTES = 768 << 20
"""Address space by which cases may grow the process; beyond it they get a MemoryError."""
_STUCK_SECONDS = 90
"""Without any output or work for this time, a process counts as stuck."""

_INTERPRETER = sys.executable
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finding:
    """A case with a wrong result."""

    kind: str
    number: int
    """Of the case: `--only KIND --first NUMBER --cases 1` repeats it."""
    what: str
    """The exception, or how the process ended."""
    trace: str = ""

    @property
    def cause(self) -> str:
        """Equal for cases that fail at the same line."""
        frames = [line.strip() for line in self.trace.splitlines() if line.lstrip().startswith("File ")]
        return f"{self.what.partition(':')[0]} {' '.join(frames[-1:])}".strip()


@dataclass
class Tally:
    """Outcomes of the cases of one kind."""

    kind: str
    first: int = 0
    """Number of the first case."""
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Class of the documented exception, or another word for the outcome ("used", a status, "find") -> cases."""
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    """Processor time of one case."""

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
    """Run cases from number `first` on; the same seed and number give the same case.

    A process that crashes, or is too slow or too large, is a finding, and another process continues after that case.
    progress: called at intervals. Raises RuntimeError if no process can be started.
    """
    tally, started = Tally(kind, first), time.monotonic()
    while tally.next < first + cases:
        _run_process(tally, seed, first + cases, progress)
        tally.seconds = time.monotonic() - started
    return tally


def _run_process(tally: Tally, seed: int, end: int, progress: Callable[[Tally], None]) -> None:
    """Run one process until it has finished or ended early."""
    command = [_INTERPRETER, "-m", "stress.fuzz.child", tally.kind, *map(str, (seed, tally.next, end))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            started = _read_results(process.stdout, tally, progress)
        finally:
            process.kill()  # it has ended or is stuck
            status = process.wait()
            process.stdout.close()
        if tally.next < end:
            errors.seek(0)
            output = errors.read().decode(errors="replace")[-3000:]
            if not started:
                raise RuntimeError(f"the process for {tally.kind} did not start: {output}")
            tally.findings.append(Finding(tally.kind, tally.next, _describe_status(status), output))
            tally.count("find")


def _read_results(stream: IO[bytes], tally: Tally, progress: Callable[[Tally], None]) -> bool:
    """Read until the stream ends or nothing arrives any more -> whether the process started."""
    started, buffered = False, b""
    while _is_readable(stream) and (chunk := os.read(stream.fileno(), 1 << 16)):
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in lines:
            result = json.loads(line)
            started = True
            if "outcome" in result:
                if result["outcome"] == "find":
                    tally.findings.append(Finding(tally.kind, tally.next, result["what"], result["trace"]))
                tally.count(result["outcome"], result["seconds"])
        progress(tally)
    return started


def _is_readable(stream: IO[bytes]) -> bool:
    # Twice: if the whole machine was suspended, time has passed for no process.
    return any(select.select([stream], [], [], _STUCK_SECONDS / 2)[0] for _ in range(2))


def _describe_status(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"took more than {CASE_SECONDS} s"
    if status == -signal.SIGKILL:
        return f"stuck: no sign for {_STUCK_SECONDS} s, or killed"
    return f"the process ended with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
