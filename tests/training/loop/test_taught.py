"""Runs with maps supervised by boxes, and runs with hard attention."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from captioner.bundle.bundle import load_bundle
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError
from tests.support.shapes import draw_shapes, write_boxes
from tests.support.training_runs import ALL_PHASES, ONE_PHASE, lines_of
from tests.support.training_setups import make_training_setup
from training import criterion
from training.captioning import fit
from training.data.boxes.readers.formats import read_boxes
from training.data.records import read_records
from training.loop import Interrupted


@pytest.fixture
def make_setup(tmp_path, three_stages, three_stages_config, words_without_java):
    """A training setup whose boxes locate the shapes; `config` changes the captioner."""
    drawings = draw_shapes(tmp_path / "shapes", {"train": 24, "val": 6})
    write_boxes(tmp_path / "boxes.json", drawings)

    def make(options, **config):
        return make_training_setup(
            read_records(tmp_path / "shapes"), dataclasses.replace(three_stages_config, **config),
            DecodingOptions(beam_width=2, max_words=9), options, tmp_path / "cache", three_stages, "cpu",
            boxes=read_boxes(tmp_path / "boxes.json"),
        )  # fmt: skip

    return make


def test_maps_are_supervised_by_boxes_and_measured_after_every_epoch(make_setup, tmp_path, capsys):
    options = dataclasses.replace(ONE_PHASE, epochs=12, patience=12, batch_size=8, doubly_stochastic_weight=0.0)
    correctness = {}
    for weight in (0.0, 2.0):
        torch.manual_seed(0)
        weighted_options = dataclasses.replace(options, supervision_weight=weight)
        bundle = load_bundle(fit(make_setup(weighted_options), weighted_options, tmp_path / f"{weight}"))
        lines = lines_of(tmp_path / f"{weight}")
        assert len(lines) == 12
        correctness[weight] = max(line["attention_correctness"] for line in lines)
        assert bundle.metrics["validation"].keys() >= {"CIDEr", "attention_correctness", "pointing"}
        assert ("object was supervised: boxes of boxes, weight 2" in bundle.card) == (weight > 0)
    assert "boxes: 48 words of 24 of 24 photos learn where to look" in capsys.readouterr().err
    assert correctness[2.0] > correctness[0.0] + 0.02  # 0.214 and 0.174 of an encoder with random weights


def test_a_stopped_run_with_boxes_resumes_exactly(make_setup, tmp_path, at_batch):
    options = dataclasses.replace(ALL_PHASES, batch_size=8)
    fit(make_setup(options), options, tmp_path / "whole")
    at_batch(8, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        fit(make_setup(options), options, tmp_path / "stopped")
    at_batch(10**6, lambda loss: None)
    fit(make_setup(options), options, tmp_path / "stopped", resume=True)
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "stopped")


def test_hard_attention_resumes_with_its_baseline(make_setup, tmp_path, at_batch):
    options = dataclasses.replace(ONE_PHASE, expected_share=0.0, supervision_weight=0.0)
    fit(make_setup(options, attention="hard"), options, tmp_path / "whole")
    at_batch(12, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        fit(make_setup(options, attention="hard"), options, tmp_path / "stopped")
    baseline = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["progress"]["baseline"]
    assert baseline < 0
    at_batch(10**6, lambda loss: None)
    fit(make_setup(options, attention="hard"), options, tmp_path / "stopped", resume=True)
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "stopped")


def test_the_share_of_expected_contexts_in_hard_attention_decreases(make_setup, tmp_path, monkeypatch):
    shares, original = [], criterion.caption_losses

    def caption_losses(model, annotations, batch, options, *others, **more):
        shares.append(options.expected_share)
        return original(model, annotations, batch, options, *others, **more)

    monkeypatch.setattr(criterion, "caption_losses", caption_losses)
    options = dataclasses.replace(ONE_PHASE, expected_share=0.25, supervision_weight=0.0)
    fit(make_setup(options, attention="hard"), options, tmp_path / "run")
    steps = len(shares)
    assert steps > 3
    assert shares == pytest.approx([1 - 0.75 * step / steps for step in range(steps)])


def test_without_attention_boxes_cannot_supervise(make_setup):
    with pytest.raises(ConfigError, match="without attention there is no map that boxes could teach"):
        make_setup(ONE_PHASE, attention="none")
    make_setup(dataclasses.replace(ONE_PHASE, supervision_weight=0.0), attention="none")


def test_boxes_of_other_photos_are_refused(make_setup, tmp_path):
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    (tmp_path / "boxes.json").write_text(json.dumps({f"other-{name}": photo for name, photo in boxes.items()}))
    with pytest.raises(DataError, match="no caption of the 24 photos names anything that boxes has a box of"):
        make_setup(ONE_PHASE)
