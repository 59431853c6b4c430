"""Runs of the training loop that take seconds, and comparisons of two of them."""

import dataclasses
import json
from pathlib import Path

import torch

from training.options import FitOptions

BATCHES = 3  # of an epoch: 8 photos, 3 at a time
ONE_PHASE = FitOptions(
    epochs=2, batch_size=3, min_count=1, warmup_steps=2, learning_rate=0.02, average_decay=0.5, patience=9,
    self_critical_samples=3,
)  # fmt: skip
ALL_PHASES = dataclasses.replace(
    ONE_PHASE, fine_tune_epochs=2, fine_tune_stages=1, self_critical_epochs=2, mirror=True,
    encoder_learning_rate=0.01, fine_tune_learning_rate=0.01, self_critical_learning_rate=0.005,
)  # fmt: skip


def lines_of(run: Path):
    """Return the lines of the epochs without the seconds."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith("_seconds")} for line in lines]


def state_of(run: Path):
    return torch.load(run / "checkpoint.pt", weights_only=True)


def assert_same_run(run: Path, other: Path):
    assert lines_of(run) == lines_of(other)
    first, second = state_of(run), state_of(other)
    assert first["progress"] == second["progress"]
    for key in ("model", "average", "best_weights"):
        assert first[key].keys() == second[key].keys()
        for name, tensor in first[key].items():
            assert torch.equal(tensor, second[key][name]), f"{key} {name}"
    bundles = [(folder / "bundle" / "model.safetensors").read_bytes() for folder in (run, other)]
    assert bundles[0] == bundles[1]
