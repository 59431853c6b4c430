"""A translator trains by the loop that trains captioners: it learns, is validated freely, and resumes exactly."""

import dataclasses
import json

import pytest
import torch

from captioner.errors import ConfigError, DataError
from captioner.ranks import Ranks
from captioner.translation.bundle import load_translator_bundle
from captioner.translation.config import TRANSLATION
from captioner.translation.translator import Translator
from tests.support.training_runs import assert_same_run, lines_of
from training import loop
from training.loop import Interrupted, train
from training.translation.task import TranslationTask


@pytest.fixture
def make_task(parallel_text, translator_config):
    def make(options, text=parallel_text):
        decoding = dataclasses.replace(TRANSLATION, beam_width=2, max_words=20)
        return TranslationTask(text, translator_config, options, decoding, "cpu")

    return make


def test_a_run_writes_what_a_captioners_run_writes(make_task, translator_options, tmp_path):
    bundle = train(make_task(translator_options), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "bundle", "checkpoint.pt", "log.jsonl", "samples.json", "tensorboard"
    }  # fmt: skip
    lines = lines_of(tmp_path / "run")
    assert [line["epoch"] for line in lines] == [1, 2] and {"BLEU", "chrF", "cross_entropy_loss"} <= lines[0].keys()
    assert lines[0]["pairs"] == 8
    loaded = load_translator_bundle(bundle)
    assert (loaded.source_language, loaded.target_language) == ("en", "de")
    assert loaded.metrics["validation"]["epoch"] in (1, 2) and "8 pairs" in loaded.card
    samples = json.loads((tmp_path / "run" / "samples.json").read_text())["sentences"]
    assert len(samples) == 4 and [entry["epoch"] for entry in samples[0]["translations"]] == [1, 2]


def test_a_translator_learns_its_sentences(make_task, translator_options, parallel_text, tmp_path):
    options = dataclasses.replace(translator_options, epochs=150, average_decay=0.9, label_smoothing=0.0)
    text = dataclasses.replace(parallel_text, splits={**parallel_text.splits, "val": parallel_text.split("train")})
    bundle = load_translator_bundle(train(make_task(options, text), tmp_path / "run"))
    translator = Translator(bundle, "cpu")
    sources, references = zip(*parallel_text.split("train"), strict=True)
    texts = [each.text for each in translator.translate(sources)]
    right = sum(text.rstrip(".") == reference.rstrip(".") for text, reference in zip(texts, references, strict=True))
    assert right >= 6, texts
    (caption,) = translator.translate(["two dogs run"])
    assert caption.text.rstrip(".") == "Zwei Hunde laufen"


def test_validation_pairs_that_a_translator_refuses_are_left_out_and_counted(
    make_task, translator_options, parallel_text, tmp_path
):
    pairs = parallel_text.split("val")
    refused = [("...", "..."), ("\u266a", "\u266a"), ("\u72d7", "Hund"), ("xz" * 250, "Hund")]
    text = dataclasses.replace(parallel_text, splits={**parallel_text.splits, "val": (*refused, *pairs)})
    task = make_task(translator_options, text)
    (note,) = task.notes
    assert note.startswith("left out: 4 x validation pair") and sorted(task.validation) == sorted(pairs)
    bundle = load_translator_bundle(train(task, tmp_path / "run"))
    assert len(lines_of(tmp_path / "run")) == 2 and f"sacrebleu, {len(pairs)} pairs to validate" in bundle.card
    assert make_task(translator_options).notes == ()


def test_validation_pairs_that_are_all_refused_are_an_error(make_task, translator_options, parallel_text):
    text = dataclasses.replace(parallel_text, splits={**parallel_text.splits, "val": (("...", "..."),)})
    with pytest.raises(DataError, match="no validation pair can be translated"):
        make_task(translator_options, text)


@pytest.mark.parametrize("batches", [1, 3, 4])
def test_a_stopped_run_resumes_exactly(make_task, translator_options, tmp_path, monkeypatch, batches):
    train(make_task(translator_options), tmp_path / "whole")
    take_step, steps = loop._take_step, []

    def stop_after(run, result, stop):
        steps.append(1)
        if len(steps) == batches:
            stop.set()
        return take_step(run, result, stop)

    monkeypatch.setattr(loop, "_take_step", stop_after)
    with pytest.raises(Interrupted):
        train(make_task(translator_options), tmp_path / "stopped")
    train(make_task(translator_options), tmp_path / "stopped", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_resumes_only_with_its_own_data_and_model(make_task, translator_options, tmp_path, parallel_text):
    train(make_task(translator_options), tmp_path / "run")
    task = make_task(dataclasses.replace(translator_options, epochs=3))
    task.text = dataclasses.replace(parallel_text, splits={**parallel_text.splits, "train": (("a", "b"),)})
    with pytest.raises(ConfigError, match="train_pairs"):
        train(task, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match="source_pieces 60, not 50: it selected the pieces of words"):
        train(make_task(dataclasses.replace(translator_options, source_pieces=50)), tmp_path / "run", resume=True)
    train(make_task(dataclasses.replace(translator_options, epochs=3)), tmp_path / "run", resume=True)
    assert len(lines_of(tmp_path / "run")) == 3


def test_a_rank_without_a_sentence_of_a_short_batch_adds_nothing_to_its_loss(make_task, translator_options):
    task = make_task(dataclasses.replace(translator_options, batch_size=7))  # batches of 7 and of 1
    phase = task.plan()[0]
    short = [
        min(task.batches(phase, 0, 0, Ranks(rank, 2)), key=lambda batch: batch.batch_slice.batch_size)
        for rank in range(2)
    ]
    assert [len(batch.source) for batch in short] == [0, 1]

    class First(Ranks):
        """Sums over both ranks of this batch."""

        def sum(self, values):
            return (short[1].targets != 0).sum()

    result = task.loss(phase, short[0], 0.0, ranks=First(0, 2))
    result.loss.backward()
    assert result.loss == 0 and all(parameter.grad is not None for parameter in task.model.parameters())


def test_the_loss_of_the_parts_of_a_batch_sums_to_that_of_the_whole(make_task, translator_options):
    task = make_task(dataclasses.replace(translator_options, caption_share=0.0))
    phase = task.plan()[0]
    (batch, *_) = task.batches(phase, 0, 0)

    class Part(Ranks):
        """Sums over both parts of this batch."""

        def sum(self, values):
            return (batch.targets != 0).sum()

    task.model.eval()  # no dropout: parts and whole draw alike only through the loop
    whole = task.loss(phase, batch, 0.0)
    parts = [
        dataclasses.replace(batch, source=batch.source[part], inputs=batch.inputs[part], targets=batch.targets[part])
        for part in (slice(0, 1), slice(1, 3))
    ]
    losses = [task.loss(phase, part, 0.0, ranks=Part(0, 2, 0, 2)).loss for part in parts]
    torch.testing.assert_close(sum(losses), whole.loss, rtol=1e-3, atol=1e-4)
