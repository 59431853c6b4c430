"""Runs that start from a captioner."""

import dataclasses
import os
import signal

import pytest
import torch

from captioner.bundle.bundle import load_bundle
from captioner.errors import ConfigError
from tests.support.shapes import draw_shapes
from tests.support.training_runs import ONE_PHASE, assert_same_run, lines_of
from tests.support.training_setups import make_training_setup
from training.captioning import fit
from training.data.records import read_records
from training.loop import Interrupted


@pytest.fixture
def continue_training(tmp_path, run, make_setup, three_stages, monkeypatch):
    """Train a captioner, then start from it with other data, and replay the first data where asked."""
    run("first", ONE_PHASE)
    first_bundle = tmp_path / "first" / "bundle"
    draw_shapes(tmp_path / "new", {"train": 6, "val": 3}, seed=9)
    table = tmp_path / "new" / "captions.csv"
    table.write_text(table.read_text().replace("a red", "ein rötliches").replace(" square", " Viereck"))

    def continue_training(name, options, replay=False, resume=False):
        start = load_bundle(first_bundle)
        setup = make_training_setup(
            read_records(tmp_path / "new"), start.config, start.decoding, options, tmp_path / "cache", None, "cpu",
            start, read_records(tmp_path / "shapes") if replay else None,
        )  # fmt: skip
        return fit(setup, options, tmp_path / name, resume)

    return continue_training


@pytest.mark.parametrize("replay", [False, True])
def test_a_run_starts_from_a_captioner_and_extends_its_vocabulary(continue_training, tmp_path, replay):
    options = dataclasses.replace(ONE_PHASE, distillation_weight=0.0 if replay else 0.5)
    continue_training("next", options, replay)
    old, new = load_bundle(tmp_path / "first" / "bundle"), load_bundle(tmp_path / "next" / "bundle")
    old_words = old.vocabulary.words
    assert new.vocabulary.words[: len(old_words)] == old_words
    assert {"ein", "rötliches", "viereck"} <= set(new.vocabulary.words[len(old_words) :])
    lines = lines_of(tmp_path / "next")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines[0]["phase"] == "start" and "loss" not in lines[0] and lines[0]["best"]


@pytest.mark.parametrize("replay", [False, True])
def test_a_run_that_started_from_a_captioner_is_resumed_exactly(continue_training, tmp_path, at_batch, replay):
    options = dataclasses.replace(ONE_PHASE, batch_size=4, distillation_weight=0.5)
    continue_training("whole", options, replay)
    at_batch(2, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        continue_training("stopped", options, replay)
    continue_training("stopped", options, replay, resume=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_a_run_with_another_start_is_not_resumed(continue_training, run, tmp_path, at_batch):
    at_batch(2, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        continue_training("stopped", ONE_PHASE)
    with pytest.raises(ConfigError, match="is of a run with (replay None|train_images 6)"):
        continue_training("stopped", ONE_PHASE, replay=True, resume=True)


def test_distillation_keeps_the_captioner_near_its_start(continue_training, tmp_path, at_batch):
    def train_weights(name, weight):
        # Long enough to move; only the first epoch's weights are compared, whichever scored best.
        continue_training(name, dataclasses.replace(ONE_PHASE, epochs=4, distillation_weight=weight))
        return torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"]

    before = load_bundle(tmp_path / "first" / "bundle").model.state_dict()
    free, held = train_weights("free", 0.0), train_weights("held", 20.0)

    def distance(after):
        old_count = before["decoder.output.bias"].shape[0]
        return float((after["decoder.output.bias"][:old_count] - before["decoder.output.bias"]).norm())

    assert distance(held) < distance(free)
