"""Results on disk are kept for later runs on the same machine, and read back as they were."""

from dataclasses import dataclass, replace

import pytest

from benchmarks.machine import Machine
from benchmarks.stored import StoredResults, rebuild
from benchmarks.timing import Spread

MACHINE = Machine("A CPU", 2, 23.6, "x86_64", "3.11.7", "2.6.0", 2, ("amx_bf16",), "cpu", None, False)


@dataclass(frozen=True)
class Results:
    rows: tuple[Spread, ...]
    best: Spread | None = None
    note: str | None = None


RESULTS = Results((Spread(1.0, 0.5, 2.0),), Spread(3.0, 3.0, 3.0))


def test_results_are_read_back_as_they_were(tmp_path):
    results = StoredResults(tmp_path / "runs", MACHINE, quick=False)
    results.keep("speed", RESULTS)
    again = StoredResults(tmp_path / "runs", MACHINE, quick=False)
    assert again.get("speed", Results) == RESULTS and again.machine == MACHINE
    assert again.get("other", Results) is None


@pytest.mark.parametrize(("machine", "quick"), [(replace(MACHINE, cores=4), False), (MACHINE, True)])
def test_results_of_another_machine_or_form_are_not_kept(tmp_path, machine, quick):
    StoredResults(tmp_path, MACHINE, quick=False).keep("speed", RESULTS)
    assert StoredResults(tmp_path, machine, quick).get("speed", Results) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"machine": 1, "quick": 2, "sections": 3}'])
def test_a_damaged_file_is_started_anew(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    results = StoredResults(tmp_path, MACHINE, quick=False)
    results.keep("speed", RESULTS)
    assert StoredResults(tmp_path, MACHINE, quick=False).get("speed", Results) == RESULTS


def test_results_of_another_version_count_as_missing(tmp_path):
    results = StoredResults(tmp_path, MACHINE, quick=False)
    results.keep("speed", RESULTS)
    assert results.get("speed", Machine) is None


def test_what_may_be_missing_is_rebuilt():
    assert rebuild(Results, {"rows": [], "best": None, "note": "x"}) == Results((), None, "x")
