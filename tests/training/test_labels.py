"""Training a captioner that attends to labels: fine-tuning and retraining keep them, and invalid labels are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from captioner.bundle.bundle import load_bundle
from captioner.captioner import Captioner
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError, WeightsError
from captioner.labels.names import LabelNames
from tests.support.shapes import draw_shapes
from tests.support.training_runs import ALL_PHASES, ONE_PHASE, assert_same_run
from tests.support.training_setups import make_training_setup
from training import captioning, loop
from training.__main__ import main
from training.data.records import read_records
from training.losses import label_distillation_loss
from training.start_config import extended_config

NAMES = LabelNames.from_json(["square", "circle", {"names": ["trigon"], "words": ["triangle"]}])


@pytest.fixture
def weights(labelled_encoder, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(labelled_encoder.network().state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def config(labelled_encoder) -> CaptionerConfig:
    return CaptionerConfig(
        labelled_encoder.name, 64, "squash", embedding_dim=8, hidden_dim=12, attention_dim=8, labels=2, tied_output=True
    )


@pytest.fixture
def train(tmp_path, weights, config, words_without_java, monkeypatch):
    draw_shapes(tmp_path / "shapes", {"train": 8, "val": 3})
    monkeypatch.setattr(loop.Curves, "add", lambda *_: None)

    def train(name, options, resume=False, start=None):
        setup = make_training_setup(
            read_records(tmp_path / "shapes"), start.config if start else config,
            DecodingOptions(beam_width=1, max_words=9), options, tmp_path / "cache", None if start else weights, "cpu",
            start, label_names=None if start else NAMES,
        )  # fmt: skip
        return load_bundle(captioning.fit(setup, options, tmp_path / name, resume))

    return train


def labels_of(bundle, folder):
    """Return the classifier's output for photos, unrounded."""
    captioner = Captioner(bundle)
    pixels = [captioner.prepare(path)[0] for path in sorted(folder.glob("*.png"))]
    with torch.no_grad():
        mean = captioner.model.encoder(torch.from_numpy(np.stack(pixels))).flatten(1, 2).mean(dim=1)
        return captioner.model.decoder.labels.class_logits(mean).softmax(dim=-1)


def test_a_run_with_all_phases_keeps_label_names_and_classifier(train, weights, tmp_path):
    bundle = train("run", ALL_PHASES)
    assert bundle.label_names == NAMES and bundle.config.labels == 2
    published = load_file(weights)["classifier.weight"]
    torch.testing.assert_close(bundle.model.decoder.labels.class_weight, published, atol=1e-3, rtol=1e-3)
    (caption,) = Captioner(bundle).caption([next((tmp_path / "shapes").rglob("*.png"))])
    assert {label.name for label in caption.labels} < {"square", "circle", "trigon"}


def test_label_distillation_keeps_fine_tuned_labels_near_the_original_ones(train, tmp_path):
    options = replace(
        ONE_PHASE, epochs=0, fine_tune_epochs=6, fine_tune_stages=2, encoder_learning_rate=0.05, patience=99
    )
    before = labels_of(
        train("before", replace(options, fine_tune_epochs=1, encoder_learning_rate=1e-9)), photos(tmp_path)
    )

    def label_change(name, weight):
        train(name, replace(options, label_weight=weight))
        state = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"]
        bundle = load_bundle(tmp_path / name / "bundle")
        bundle.model.load_state_dict(state)
        return float((labels_of(bundle, photos(tmp_path)) - before).abs().mean())

    assert label_change("held", 20.0) < 0.5 * label_change("free", 0.0)


def photos(folder):
    return next((folder / "shapes").rglob("*.png")).parent


def test_a_stopped_run_with_labels_resumes_exactly(train, tmp_path, monkeypatch):
    options = replace(ONE_PHASE, fine_tune_epochs=2, fine_tune_stages=1)
    train("whole", options)
    original, calls = captioning.batch_loss, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(captioning, "batch_loss", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train("stopped", options)
    train("stopped", options, resume=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_retraining_keeps_the_labels_which_also_name_new_words(train, tmp_path):
    first_bundle = train("first", ONE_PHASE)
    table = next((tmp_path / "shapes").rglob("captions.csv"))
    table.write_text(table.read_text().replace("triangle", "trigon"))
    next_bundle = train("next", ONE_PHASE, start=load_bundle(tmp_path / "first" / "bundle"))
    assert next_bundle.label_names == first_bundle.label_names
    labels, words = next_bundle.model.decoder.labels, next_bundle.vocabulary
    (trigon,) = words.encode("trigon")
    assert "trigon" not in first_bundle.vocabulary and trigon in labels.words[2].tolist()
    torch.testing.assert_close(labels.class_weight, first_bundle.model.decoder.labels.class_weight)


def test_the_label_loss_is_the_divergence_of_the_probabilities():
    teacher, student = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.5, 0.0], [1.0, 0.0]])
    p, q = teacher.softmax(-1), student.softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(label_distillation_loss(student, teacher), expected)
    assert float(label_distillation_loss(teacher, teacher)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--encoder", "vgg16", "--labels", "3"], "vgg16 has no classifier that reads the mean of its map"),
        (["--label-names", "names.json"], "give --labels, too"),
        (["--labels", "3", "--label-names", "missing.json"], "missing.json cannot be read as JSON"),
        (["--labels", "1000"], "labels must be at most 100"),
        (
            ["--labels", "3", "--label-names", "two.json", "--encoder", "test:labelled"],
            "the classifier of test:labelled tells 3 classes apart, and 2 have names: give a file with a name for each",
        ),
        (["--labels", "3", "--encoder", "test:labelled"], "tells 3 classes apart, and 1,000 have names: give a file"),
    ],
)
def test_invalid_labels_are_refused_in_one_sentence(
    arguments, problem, tmp_path, weights, monkeypatch, capsys, words_without_java
):
    draw_shapes(tmp_path / "shapes", {"train": 4, "val": 2})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.json").write_text(json.dumps(NAMES.to_json()))
    (tmp_path / "two.json").write_text('["one", "two"]')
    options = ["fit", "--data", "shapes", "--output", "run", "--image-size", "64", "--encoder-weights", str(weights)]
    status = main([*options, *arguments])
    assert status == 2 and problem in capsys.readouterr().err


def test_a_weights_file_without_the_classifier_is_refused(train, weights, labelled_encoder):
    save_file(labelled_encoder.network()["stages"].state_dict(prefix="stages."), weights)
    with pytest.raises(WeightsError, match="lacks classifier"):
        train("run", ONE_PHASE)


def test_adding_labels_to_a_captioner_without_any_is_refused():
    with pytest.raises(ConfigError, match="--labels 8 contradicts"):
        extended_config(CaptionerConfig(), {"labels": 8}, "bundle")
