"""Runs that also train on sentences without photos."""

import dataclasses
import os
import signal

import pytest
import torch
from safetensors.torch import save_file

from captioner.bundle import load_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError
from captioner.labels.names import LabelNames
from captioner.vocabulary import START
from tests.support.training_runs import ALL_PHASES, ONE_PHASE, assert_same_run, lines_of, state_of
from tests.support.training_setups import make_training_setup
from tests.training.conftest import THREE_STAGES
from training import loop
from training.data.readers.sentence_files import read_sentences
from training.data.records import read_records
from training.loop import Interrupted, fit
from training.options import FitOptions

SENTENCES = ["a zebra stands in a field", "two zebras and a giraffe", "a field of grass", "a giraffe eats grass"]
NAMES = LabelNames.from_json(["zebra", "giraffe", ["field", "meadow"]])
TEXT = dataclasses.replace(ONE_PHASE, sentences_per_batch=3, sentence_min_count=1)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Skip the drawing of curves, which takes longer than everything else here."""
    monkeypatch.setattr(loop.Curves, "add", lambda *_: None)


@pytest.fixture
def labelled(labelled_encoder, three_stages_config, tmp_path):
    """A captioner's config with labels, and a file of its encoder's weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(labelled_encoder.network().state_dict(), tmp_path / "labelled.safetensors")
    config = dataclasses.replace(three_stages_config, encoder=labelled_encoder.name, labels=2)
    return config, tmp_path / "labelled.safetensors"


@pytest.fixture
def apt(three_stages_config):
    """A captioner that learns fast."""
    return dataclasses.replace(three_stages_config, dropout=0.0, embedding_dim=24, hidden_dim=24)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "mine.txt").write_text("\n".join(SENTENCES))
    return lambda: read_sentences([tmp_path / "mine.txt"])


@pytest.fixture
def prepared(tmp_path, make_setup, texts, three_stages, three_stages_config):
    """The training setup of a run on shapes and these sentences."""

    def prepared(options, config=three_stages_config, weights=three_stages, text=True, **values):
        return make_training_setup(
            read_records(tmp_path / "shapes"), config, DecodingOptions(beam_width=2, max_words=9), options,
            tmp_path / "cache", None if "start" in values else weights, "cpu", texts=texts() if text else None,
            **values,
        )  # fmt: skip

    return prepared


@pytest.fixture
def learn(tmp_path, prepared):
    def learn(name, options, resume=False, **values):
        return fit(prepared(options, **values), options, tmp_path / name, resume)

    return learn


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


def probability(setup, words, following):
    """Return the probability of a word after others without a photo, at the end of the training."""
    decoder, vocabulary = setup.model.decoder.eval(), setup.vocabulary
    told = torch.tensor([[[START, *vocabulary.encode(words)]]])
    with torch.no_grad():
        logits = decoder(decoder.no_photo.view(1, 1, -1), told).logits[0, 0, -1]
    return float(logits.softmax(dim=0)[vocabulary.id_of(following)])


def test_words_in_no_caption_are_learned_from_sentences(prepared, apt, tmp_path, capsys):
    setup = prepared(LONG, config=apt)
    assert "zebra" in setup.vocabulary
    assert not any("zebra" in text for record in setup.data.data_sets[0].records for text in record.captions)
    output = capsys.readouterr().err
    assert "more words from the sentences" in output and "none of them unknown with --min-count 1" in output
    bundle = load_bundle(fit(setup, LONG, tmp_path / "run"))
    for words, following in (("two", "zebras"), ("two zebras and a", "giraffe"), ("a zebra", "stands")):
        assert probability(setup, words, following) > 0.3  # of 25 words
    assert bundle.model.config.text and "zebra" in bundle.vocabulary
    assert "Text without photos: 4 sentences of mine.txt, weight 1." in bundle.card


def test_sentences_change_the_training_and_with_weight_0_only_the_vocabulary(learn, prepared, tmp_path):
    with_text, words_alone = TEXT, dataclasses.replace(TEXT, sentence_weight=0.0)
    learn("text", with_text)
    learn("words", words_alone)
    first, second = (state_of(tmp_path / name) for name in ("text", "words"))
    fresh = prepared(words_alone).model.state_dict()
    row = prepared(TEXT).vocabulary.id_of("zebra")
    assert torch.equal(second["model"]["decoder.no_photo"], fresh["decoder.no_photo"])
    assert not torch.equal(first["model"]["decoder.no_photo"], fresh["decoder.no_photo"])
    assert not torch.equal(
        first["model"]["decoder.embedding.weight"][row], second["model"]["decoder.embedding.weight"][row]
    )
    assert all(line["sentence_loss"] > 1 for line in lines_of(tmp_path / "text"))
    assert not any("sentence_loss" in line for line in lines_of(tmp_path / "words"))
    assert "mine.txt, for their words only" in load_bundle(tmp_path / "words" / "bundle").card


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_a_run_with_labels_and_sentences_is_resumed_exactly(learn, tmp_path, labelled, at_batch, attention):
    config, weights = labelled
    config = dataclasses.replace(config, attention=attention)
    options = dataclasses.replace(ALL_PHASES, sentences_per_batch=3, sentence_min_count=1, epochs=2, mirror=False)
    options = dataclasses.replace(options, fine_tune_epochs=1, self_critical_epochs=1)
    values = {"config": config, "weights": weights, "label_names": NAMES}
    learn("whole", options, **values)
    assert [line["phase"] for line in lines_of(tmp_path / "whole")] == ["cross_entropy"] * 2 + [
        "fine_tune", "self_critical",
    ]  # fmt: skip
    resume = False
    for after in (2, 3, 3, 3):  # one stop in each epoch, the first in the middle of it
        at_batch(after, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            learn("stopped", options, resume, **values)
        resume = True
    learn("stopped", options, resume, **values)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_a_run_is_not_resumed_with_other_sentences(learn, tmp_path, at_batch):
    at_batch(2, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        learn("run", TEXT)
    with pytest.raises(ConfigError, match="is of a run with other sentences, or none"):
        learn("run", TEXT, resume=True, text=False)
    (tmp_path / "mine.txt").write_text("\n".join([*SENTENCES[:-1], "a giraffe eats leaves"]))
    with pytest.raises(ConfigError, match=r"is of a run with other sentences, or none \(--sentences\)"):
        learn("run", TEXT, resume=True)
    (tmp_path / "mine.txt").write_text("\n".join(SENTENCES).upper())
    learn("run", TEXT, resume=True)


def test_training_continues_with_sentences_and_later_without(prepared, learn, apt, tmp_path):
    old = load_bundle(learn("old", TEXT, text=False, config=apt))
    assert not old.model.config.text and "zebra" not in old.vocabulary
    options = dataclasses.replace(LONG, least_batches=20, distillation_weight=0.5)
    setup = prepared(options, config=old.model.config, start=old)
    before = probability(setup, "two", "zebras")
    new = load_bundle(fit(setup, options, tmp_path / "new"))
    words = old.vocabulary.words
    assert new.vocabulary.words[: len(words)] == words and new.model.config.text
    assert probability(setup, "two", "zebras") > 2 * before
    at_first, judged = lines_of(tmp_path / "new")[0], max(line["CIDEr"] for line in lines_of(tmp_path / "old"))
    assert at_first["epoch"] == 0 and at_first["CIDEr"] == pytest.approx(judged, abs=1e-3)
    last = load_bundle(learn("last", TEXT, config=new.model.config, start=new, text=False))
    assert last.model.config.text and last.vocabulary.words == new.vocabulary.words


def test_label_words_join_the_vocabulary_if_they_occur_twice(prepared, labelled):
    config, weights = labelled
    options = dataclasses.replace(TEXT, sentence_min_count=90)
    vocabulary = prepared(options, config=config, weights=weights, label_names=NAMES).vocabulary
    assert "giraffe" in vocabulary and "field" in vocabulary and "zebra" not in vocabulary
    assert "giraffe" not in prepared(options).vocabulary


def test_options_of_sentences_are_checked():
    for name, value in (("sentences_per_batch", 0), ("sentence_min_count", 0), ("sentence_weight", -1.0)):
        with pytest.raises(ConfigError, match=f"{name} must be"):
            FitOptions(**{name: value})
    assert CaptionerConfig(THREE_STAGES).text is False
