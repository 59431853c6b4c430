"""A folder in batches and one photo at a time."""

from benchmarks.many_photos import BASE, ONE_AT_A_TIME
from benchmarks.waits import folder
from tests.support.benchmark_results import check


def test_a_folder_is_measured_in_batches_and_one_at_a_time(shipped):
    results = folder.measure(shipped, quick=True)
    check(folder, results, BASE, ONE_AT_A_TIME)
    assert [row.contestant for row in results.rows] == [BASE, ONE_AT_A_TIME]
