"""The benchmark of what the encoder runs on: each way is there, and none makes other annotations than the exact one."""

import pytest

from benchmarks import encoder_runtimes
from benchmarks.encoder_runtimes import QUICK, measure, runtimes_of
from tests.benchmarks.figures import check


def test_each_way_encodes_the_same(shipped):
    results = measure(shipped, quick=True)
    check(encoder_runtimes, results, "torch, channels last", "torch, bfloat16", "OpenVINO, bfloat16", "one photo, ms")
    differences = {row.runtime: row.difference or 0.0 for row in results.rows}
    assert differences["torch"] == 0
    assert differences["torch, channels last"] < 1e-4 and differences["OpenVINO"] < 1e-3
    for name, found in differences.items():
        assert found < (0.3 if "8 bits" in name else 0.1), name


def test_what_is_not_installed_is_left_out_and_said(shipped, monkeypatch):
    monkeypatch.setattr(encoder_runtimes, "installed", lambda *packages: False)
    runtimes, missing = runtimes_of(shipped, 64, QUICK)
    assert missing == ["ONNX Runtime", "nncf"]
    assert list(runtimes)[-1] == "OpenVINO, bfloat16"


def test_differences_are_shares_of_what_is_exact():
    import torch

    exact = torch.tensor([3.0, 4.0])
    assert encoder_runtimes.difference(exact + torch.tensor([0.3, 0.4]), exact) == pytest.approx(0.1)
