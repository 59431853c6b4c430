"""Runs that also train on sentences without photos."""

import dataclasses
import os
import signal

import pytest
import torch
from safetensors.torch import save_file

from captioner.bundle.bundle import load_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError
from captioner.labels.names import LabelNames
from captioner.text.vocabulary import START
from tests.support.training_runs import ALL_PHASES, ONE_PHASE, assert_same_run, lines_of, state_of
from tests.support.training_setups import make_training_setup
from tests.training.conftest import THREE_STAGES
from training import loop
from training.captioning import fit
from training.data.readers.sentence_files import read_sentences
from training.data.records import read_records
from training.loop import Interrupted
from training.options import FitOptions

SENTENCES = ["a zebra stands in a field", "two zebras and a giraffe", "a field of grass", "a giraffe eats grass"]
NAMES = LabelNames.from_json(["zebra", "giraffe", ["field", "meadow"]])
TEXT = dataclasses.replace(ONE_PHASE, sentences_per_batch=3, sentence_min_count=1)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Skip the drawing of curves, which takes longer than everything else here."""
    monkeypatch.setattr(loop.Curves, "add", lambda *_: None)


@pytest.fixture
def labelled_captioner(labelled_encoder, three_stages_config, tmp_path):
    """A captioner's config with labels, and a file of its encoder's weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(labelled_encoder.network().state_dict(), tmp_path / "labelled.safetensors")
    config = dataclasses.replace(three_stages_config, encoder=labelled_encoder.name, labels=2)
    return config, tmp_path / "labelled.safetensors"


@pytest.fixture
def fast_config(three_stages_config):
    """A captioner that learns fast."""
    return dataclasses.replace(three_stages_config, dropout=0.0, embedding_dim=24, hidden_dim=24)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "mine.txt").write_text("\n".join(SENTENCES))
    return lambda: read_sentences([tmp_path / "mine.txt"])


@pytest.fixture
def make_text_setup(tmp_path, make_setup, texts, three_stages, three_stages_config):
    """The training setup of a run on shapes and these sentences."""

    def make_text_setup(options, config=three_stages_config, weights=three_stages, text=True, **values):
        return make_training_setup(
            read_records(tmp_path / "shapes"), config, DecodingOptions(beam_width=2, max_words=9), options,
            tmp_path / "cache", None if "start" in values else weights, "cpu", texts=texts() if text else None,
            **values,
        )  # fmt: skip

    return make_text_setup


@pytest.fixture
def train(tmp_path, make_text_setup):
    def train(name, options, resume=False, **values):
        return fit(make_text_setup(options, **values), options, tmp_path / name, resume)

    return train


LONG = dataclasses.replace(
    TEXT,
    epochs=1,
    batch_size=8,
    least_batches=40,
    learning_rate=0.03,
    sentences_per_batch=8,
    sentence_weight=1.0,
    label_smoothing=0.0,
)
"""Enough to memorise four sentences."""


def probability(setup, words, next_word):
    """Return the probability of a word after others without a photo, at the end of the training."""
    decoder, vocabulary = setup.model.decoder.eval(), setup.vocabulary
    inputs = torch.tensor([[[START, *vocabulary.encode(words)]]])
    with torch.no_grad():
        logits = decoder(decoder.no_photo.view(1, 1, -1), inputs).logits[0, 0, -1]
    return float(logits.softmax(dim=0)[vocabulary.id_of(next_word)])


def test_words_in_no_caption_are_learned_from_sentences(make_text_setup, fast_config, tmp_path, capsys):
    setup = make_text_setup(LONG, config=fast_config)
    assert "zebra" in setup.vocabulary
    assert not any("zebra" in text for record in setup.data.data_sets[0].records for text in record.captions)
    output = capsys.readouterr().err
    assert "more words from the sentences" in output and "none of them unknown with --min-count 1" in output
    bundle = load_bundle(fit(setup, LONG, tmp_path / "run"))
    for words, next_word in (("two", "zebras"), ("two zebras and a", "giraffe"), ("a zebra", "stands")):
        assert probability(setup, words, next_word) > 0.3  # of 25 words
    assert bundle.model.config.text and "zebra" in bundle.vocabulary
    assert "Text without photos: 4 sentences of mine.txt, weight 1." in bundle.card


def test_sentences_change_the_training_and_with_weight_0_only_the_vocabulary(train, make_text_setup, tmp_path):
    with_text, words_alone = TEXT, dataclasses.replace(TEXT, sentence_weight=0.0)
    train("text", with_text)
    train("words", words_alone)
    first, second = (state_of(tmp_path / name) for name in ("text", "words"))
    initial_weights = make_text_setup(words_alone).model.state_dict()
    row = make_text_setup(TEXT).vocabulary.id_of("zebra")
    assert torch.equal(second["model"]["decoder.no_photo"], initial_weights["decoder.no_photo"])
    assert not torch.equal(first["model"]["decoder.no_photo"], initial_weights["decoder.no_photo"])
    assert not torch.equal(
        first["model"]["decoder.embedding.weight"][row], second["model"]["decoder.embedding.weight"][row]
    )
    assert all(line["sentence_loss"] > 1 for line in lines_of(tmp_path / "text"))
    assert not any("sentence_loss" in line for line in lines_of(tmp_path / "words"))
    assert "mine.txt, for their words only" in load_bundle(tmp_path / "words" / "bundle").card


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_a_run_with_labels_and_sentences_is_resumed_exactly(train, tmp_path, labelled_captioner, at_batch, attention):
    config, weights = labelled_captioner
    config = dataclasses.replace(config, attention=attention)
    options = dataclasses.replace(ALL_PHASES, sentences_per_batch=3, sentence_min_count=1, epochs=2, mirror=False)
    options = dataclasses.replace(options, fine_tune_epochs=1, self_critical_epochs=1)
    values = {"config": config, "weights": weights, "label_names": NAMES}
    train("whole", options, **values)
    assert [line["phase"] for line in lines_of(tmp_path / "whole")] == ["cross_entropy"] * 2 + [
        "fine_tune", "self_critical",
    ]  # fmt: skip
    resume = False
    for after in (2, 3, 3, 3):  # one stop in each epoch, the first in the middle of it
        at_batch(after, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            train("stopped", options, resume, **values)
        resume = True
    train("stopped", options, resume, **values)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_a_run_is_not_resumed_with_other_sentences(train, tmp_path, at_batch):
    at_batch(2, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        train("run", TEXT)
    with pytest.raises(ConfigError, match="is of a run with other sentences, or none"):
        train("run", TEXT, resume=True, text=False)
    (tmp_path / "mine.txt").write_text("\n".join([*SENTENCES[:-1], "a giraffe eats leaves"]))
    with pytest.raises(ConfigError, match=r"is of a run with other sentences, or none \(--sentences\)"):
        train("run", TEXT, resume=True)
    (tmp_path / "mine.txt").write_text("\n".join(SENTENCES).upper())
    train("run", TEXT, resume=True)


def test_training_continues_with_sentences_and_later_without(make_text_setup, train, fast_config, tmp_path):
    old = load_bundle(train("old", TEXT, text=False, config=fast_config))
    assert not old.model.config.text and "zebra" not in old.vocabulary
    options = dataclasses.replace(LONG, least_batches=20, distillation_weight=0.5)
    setup = make_text_setup(options, config=old.model.config, start=old)
    before = probability(setup, "two", "zebras")
    new = load_bundle(fit(setup, options, tmp_path / "new"))
    words = old.vocabulary.words
    assert new.vocabulary.words[: len(words)] == words and new.model.config.text
    assert probability(setup, "two", "zebras") > 2 * before
    first_line, old_cider = lines_of(tmp_path / "new")[0], max(line["CIDEr"] for line in lines_of(tmp_path / "old"))
    assert first_line["epoch"] == 0 and first_line["CIDEr"] == pytest.approx(old_cider, abs=1e-3)
    last = load_bundle(train("last", TEXT, config=new.model.config, start=new, text=False))
    assert last.model.config.text and last.vocabulary.words == new.vocabulary.words


def test_label_words_join_the_vocabulary_if_they_occur_twice(make_text_setup, labelled_captioner):
    config, weights = labelled_captioner
    options = dataclasses.replace(TEXT, sentence_min_count=90)
    vocabulary = make_text_setup(options, config=config, weights=weights, label_names=NAMES).vocabulary
    assert "giraffe" in vocabulary and "field" in vocabulary and "zebra" not in vocabulary
    assert "giraffe" not in make_text_setup(options).vocabulary


def test_options_of_sentences_are_checked():
    for name, value in (("sentences_per_batch", 0), ("sentence_min_count", 0), ("sentence_weight", -1.0)):
        with pytest.raises(ConfigError, match=f"{name} must be"):
            FitOptions(**{name: value})
    assert CaptionerConfig(THREE_STAGES).text is False
