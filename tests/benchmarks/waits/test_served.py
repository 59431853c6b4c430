"""The memory of a real service and the photos per second of several clients are measured."""

from benchmarks.waits import served
from tests.support.benchmark_results import check


def test_memory_and_clients_are_measured(tiny_served):
    results = served.measure(None, quick=True)
    check(served, results, "when ready")
    assert results.photos == 8 and results.clients == 2
    assert results.all_mb > 100 and results.ready_mb > 100
