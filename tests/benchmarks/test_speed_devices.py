"""The benchmark of two processes: real ones, of which each contestant's learn and say how long they took."""

from benchmarks import devices
from benchmarks.devices import measure
from tests.benchmarks.figures import check


def test_one_process_two_ranks_and_two_apart_are_measured(shipped):
    results = measure(shipped, quick=True)
    check(devices, results, "one", "two ranks", "two apart, at the same time")
    assert results.rows[0].times_one.median == 1
