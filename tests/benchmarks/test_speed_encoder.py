"""The benchmark of encoder runtimes: every runtime is measured, and its annotations match the exact ones."""

import pytest

from benchmarks import encoder_runtimes
from benchmarks.encoder_runtimes import QUICK, measure, runtimes_of
from tests.support.benchmark_results import check


def test_every_runtime_gives_the_same_annotations(shipped):
    results = measure(shipped, quick=True)
    check(encoder_runtimes, results, "torch, channels last", "torch, bfloat16", "OpenVINO, bfloat16", "one photo, ms")
    differences = {row.runtime: row.difference or 0.0 for row in results.rows}
    assert differences["torch"] == 0
    assert differences["torch, channels last"] < 1e-4 and differences["OpenVINO"] < 1e-3
    for name, value in differences.items():
        assert value < (0.3 if "8 bits" in name else 0.1), name


def test_a_missing_package_is_left_out_and_reported(shipped, monkeypatch):
    monkeypatch.setattr(encoder_runtimes, "installed", lambda *packages: False)
    runtimes, missing = runtimes_of(shipped, 64, QUICK)
    assert missing == ["ONNX Runtime", "nncf"]
    assert list(runtimes)[-1] == "OpenVINO, bfloat16"


def test_differences_are_relative_to_the_exact_values():
    import torch

    exact = torch.tensor([3.0, 4.0])
    assert encoder_runtimes.difference(exact + torch.tensor([0.3, 0.4]), exact) == pytest.approx(0.1)
