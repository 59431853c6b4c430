"""Some hundreds of broken inputs of each kind; `python -m stress.fuzz` tries as many as time allows."""

import os
import signal
import sys
from random import Random

import pytest

from stress.fuzz import child, runner
from stress.fuzz.__main__ import SHARES, report
from stress.fuzz.kinds import KINDS, WrongResult
from stress.fuzz.mutations import json_bytes, mutate_bytes, mutate_text
from stress.fuzz.runner import Finding, Tally, fuzz

CASES = {
    "images": 1500, "drawings": 300, "archives": 300, "captions": 150, "boxes": 250, "bundles": 30, "checkpoints": 60,
    "api": 100, "connections": 60,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_broken_inputs_raise_documented_errors_only(kind):
    tally = fuzz(kind, CASES[kind])
    assert not tally.findings, "\n".join(
        f"case {finding.number}: {finding.what}\n{finding.trace}" for finding in tally.findings[:3]
    )
    assert tally.cases == CASES[kind] == sum(tally.outcomes.values())
    assert len(tally.outcomes) > 1, "all cases had the same outcome: they test nothing"


def test_every_kind_gets_a_share_of_the_long_run():
    assert set(SHARES) == set(KINDS) and sum(SHARES.values()) == 100


def test_the_same_seed_gives_the_same_cases():
    def mutate(seed: int) -> list[bytes]:
        rng = Random(seed)
        value = {"a": [1, {"b": "c"}], "d": None}
        return [mutate_bytes(b"0123456789" * 20, (b"abc",), rng), json_bytes(value, rng), mutate_text("a\nb\nc", rng)]

    assert mutate(1) == mutate(1) != mutate(2)


class Bad:
    """A product that breaks every rule."""

    expected = (KeyError,)

    def case(self, rng: Random) -> str:
        match rng.randrange(5):
            case 0:
                raise KeyError("as documented")
            case 1:
                raise IndexError("not documented")
            case 2:
                raise WrongResult("wrong")
            case 3:
                raise KeyError("")
            case _:
                return "201"


def test_findings_are_reported():
    outcomes = [child._run_case(Bad(), Random(number)) for number in range(60)]
    assert {outcome["outcome"] for outcome in outcomes} == {"KeyError", "find", "201"}
    whats = {outcome["what"] for outcome in outcomes if outcome["outcome"] == "find"}
    assert whats == {"IndexError: not documented", "WrongResult: wrong"}


@pytest.mark.parametrize(
    "does, what",
    [
        ("while True: pass", "took more than 0.2 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process ended with SIGSEGV"),
        ("import os; os._exit(3)", "the process ended with status 3"),
        ("[bytearray(1 << 30)]", "MemoryError"),
    ],
)
def test_a_process_that_ends_early_is_a_finding(tmp_path, monkeypatch, does, what):
    """A real process, whose kind is a file of this test; the cases before and after continue."""
    module = tmp_path / "bad_kind.py"
    module.write_text(
        "class Kind:\n    expected = ()\n    number = 0\n    def case(self, rng):\n"
        f"        if rng.random() < 0.5:\n            {does}\n        return 'well'\n"
    )
    start_script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from stress.fuzz import child, kinds\n"
        "kinds.KINDS['bad'] = 'bad_kind:Kind'; child.CASE_SECONDS = 0.2\n"
        "child.main(sys.argv[1:])\n"
    )
    executable = tmp_path / "python"
    (tmp_path / "start.py").write_text(start_script)
    executable.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {tmp_path / "start.py"} "$@"\n')
    executable.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(runner._ROOT))
    monkeypatch.setattr(runner, "CASE_SECONDS", 0.2)
    monkeypatch.setattr(runner, "_INTERPRETER", str(executable))
    tally = fuzz("bad", 6)
    assert tally.cases == 6 and tally.outcomes["well"] > 0
    assert tally.findings and all(what in finding.what for finding in tally.findings), tally.findings
    assert len(tally.findings) == tally.outcomes["find"] == 6 - tally.outcomes["well"]


def test_the_verdict_counts_findings():
    good, bad = Tally("images", cases=3), Tally("archives", cases=2)
    good.outcomes["used"] = 3
    assert "All 3 cases passed." in report([good])
    bad.findings.append(Finding("archives", 1, "ValueError: x"))
    assert "1 of 5 cases had a wrong result." in report([good, bad])
    assert runner._describe_status(-signal.SIGPROF).startswith("took more") and os.name == "posix"
