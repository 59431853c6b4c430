"""The benchmark of two processes: each contestant trains in real processes that report their times."""

from benchmarks import devices
from benchmarks.devices import measure
from tests.support.benchmark_results import check


def test_one_process_two_ranks_and_two_separate_processes_are_measured(shipped):
    results = measure(shipped, quick=True)
    check(devices, results, "one", "two ranks", "two independent processes")
    assert results.rows[0].times_one.median == 1
