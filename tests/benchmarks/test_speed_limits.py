"""The benchmark of the machine's limits: operations and bytes are counted correctly and compared with the times."""

import pytest
import torch

from benchmarks import limits
from benchmarks.limits import (
    BANDWIDTH,
    MATRIX,
    QUICK_TRAINING,
    Work,
    count_operations,
    encoder_bytes,
    measure,
    row_of,
    step_bytes,
    training_work,
)
from tests.support.benchmark_results import check


def test_peak_rates_and_work_are_measured(shipped):
    results = measure(shipped, quick=True)
    searches = [f"step of beam search, {photos}, beam 5" for photos in ("1 photo", "2 photos")]
    names = ["encoder, 1 photo", "encoder, 2 photos", *searches]
    check(limits, results, *names, "matrix product, float32", "matrix product, bfloat16", "memory bandwidth")
    one, two, *_ = results.rows
    assert two.giga_operations == pytest.approx(2 * one.giga_operations)


def test_operations_are_counted_for_matrix_products():
    assert count_operations(lambda: torch.ones(2, 3) @ torch.ones(3, 4)) == 2 * 2 * 3 * 4


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_training_step_is_compared_with_products_of_its_precision(shipped, tmp_path, monkeypatch, precision):
    monkeypatch.setattr(limits, "precision_on", lambda device: precision)
    monkeypatch.setattr(limits, "count_operations", lambda run: 1.0)
    assert training_work(shipped, QUICK_TRAINING, tmp_path).precision == precision


def test_the_floor_is_the_longer_of_both_times():
    speeds = {MATRIX.format("float32"): 100.0, BANDWIDTH: 10.0}
    for operations, bytes_moved, bound in ((200.0, 10.0, "operations"), (100.0, 20.0, "bytes")):
        row = row_of(Work("work", operations, bytes_moved, "float32", print), [4.0, 8.0, 5.0], speeds)
        assert (row.floor_ms, row.bound_by) == (2000.0, bound)
        assert (row.fraction.median, row.fraction.least, row.fraction.most) == (0.4, 0.25, 0.5)


def test_each_byte_is_counted_once_per_read_and_write(make_decoder):
    decoder = make_decoder(10, gate="scalar", score="dot")  # D 7, M 6, N 5, A 4, V 14
    weights = sum(parameter.numel() for parameter in decoder.parameters())
    weights -= 14 * 6 + 2 * (7 * 5 + 5) + 7 * 4  # embeddings, initial state, keys
    size_per_hypothesis = 6 + 4 * 5 + 14 + 9
    assert step_bytes(decoder, 2, 9, 4) == 4 * (weights + 2 * 9 * (7 + 4) + 2 * 5 * size_per_hypothesis)
    assert encoder_bytes(torch.nn.Linear(3, 2), 10, 6, 4) == 4 * 8 + 10 + 4 * 6
