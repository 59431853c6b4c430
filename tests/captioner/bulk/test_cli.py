"""Arguments of bulk captioning are parsed and checked. Runs are tested in test_run.py."""

import os

import pytest
import torch

from captioner.__main__ import main
from captioner.bulk import cli as bulk_command
from captioner.bulk.cli import default_workers
from captioner.ranks import ALONE, Ranks


@pytest.mark.parametrize(("cores", "ranks", "workers"), [(1, 1, 1), (2, 1, 1), (16, 1, 8), (16, 4, 2), (4, 4, 1)])
def test_ranks_share_the_cores(monkeypatch, cores, ranks, workers):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_workers(Ranks(0, ranks, 0, ranks)) == workers


@pytest.mark.parametrize(
    ("given", "rank", "gpus", "device"),
    [
        (None, Ranks(5, 8, 1, 4), 4, "cuda:1"),
        ("cuda", Ranks(5, 8, 1, 4), 4, "cuda:1"),
        (None, Ranks(1, 2, 1, 2), 1, "cuda:0"),
        ("cuda:3", Ranks(5, 8, 1, 4), 4, "cuda:3"),
        ("cpu", Ranks(5, 8, 1, 4), 4, "cpu"),
        (None, Ranks(5, 8, 1, 4), 0, None),
        (None, ALONE, 4, None),
    ],
)
def test_each_rank_gets_its_own_gpu(monkeypatch, given, rank, gpus, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert bulk_command._device(given, rank) == device


@pytest.mark.parametrize(
    "arguments", [["--workers", "0"], ["--photo-seconds", "-1"], ["--photo-seconds", "nan"], ["--format", "xml"]]
)
def test_a_bad_value_is_named(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["photos", "--output", "a.jsonl", *arguments])
    assert stopped.value.code == 2 and arguments[0] in capsys.readouterr().err
