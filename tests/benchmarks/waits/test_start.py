"""The start of real processes is measured beside `import torch`."""

from dataclasses import replace

from benchmarks.waits import start
from benchmarks.waits.start import COMMAND, FIRST_START, IMPORT, LATER_START
from tests.support.benchmark_results import check


def test_processes_are_measured_beside_the_import_of_torch(tiny_served):
    results = start.measure(None, quick=True)
    rows = {row.process: row for row in results.rows}
    assert list(rows) == [IMPORT, COMMAND, FIRST_START, LATER_START]
    check(
        start, start.Results(tuple(replace(row, times_after=()) for row in results.rows)), FIRST_START, f"`{COMMAND}`"
    )
    for row in results.rows:
        one_less = (row.seconds.median - 1) / rows[IMPORT].seconds.median
        assert abs(row.times_after[0].median - one_less) < 1e-9
