"""Batches of sentences without photos: their sampling, their parts per rank, and the decoder's learning."""

import numpy as np
import pytest
import torch

from captioner.config import CaptionerConfig, DecodingOptions
from captioner.decoding import decode
from captioner.errors import DataError
from captioner.model.decoder import Decoder
from captioner.model.label_attention import Labels
from captioner.ranks import Ranks
from captioner.text.vocabulary import END, PAD, SPECIAL_WORDS, START, UNKNOWN, Vocabulary
from training.data.readers.sentence_files import read_sentences
from training.data.sentences import MAX_UNKNOWN_SHARE, Sentences
from training.objectives import sentence_loss
from training.options import MAX_TRAINING_WORDS, FitOptions
from training.random_streams import SENTENCES, stream

WORDS = [f"w{number}" for number in range(50)]
VOCABULARY = Vocabulary((*SPECIAL_WORDS, *WORDS))
LABEL_WORDS = [{4 + number: 1.0} for number in range(12)]


@pytest.fixture
def make(tmp_path):
    def make(lines, vocabulary=VOCABULARY, **labels):
        (tmp_path / "sentences.txt").write_text("\n".join(lines))
        return Sentences(read_sentences([tmp_path / "sentences.txt"]), vocabulary, **labels)

    return make


@pytest.fixture
def many(make):
    """500 different sentences of 1 to 25 words."""
    rng = np.random.default_rng(0)
    lines = [" ".join([WORDS[number % 50], *rng.choice(WORDS, number // 20)]) for number in range(500)]
    return make(lines, label_words=LABEL_WORDS, labels=3)


def batch_of(sentences, step=0, size=8, epoch=0):
    return sentences.batch(stream(0, SENTENCES, epoch, step), size)


def test_a_sentence_has_inputs_and_targets_like_a_caption(make):
    batch = batch_of(make(["w0 w1", "w2 w3 w4"]))
    rows = {tuple(row) for row in zip(*(ids[:, 0].tolist() for ids in (batch.inputs, batch.targets)), strict=True)
            for row in [tuple(map(tuple, row))]}  # fmt: skip
    assert rows == {
        ((START, 4, 5, PAD), (4, 5, END, PAD)),
        ((START, 6, 7, 8), (6, 7, 8, END)),
    }
    assert batch.labels is None and batch.batch_slice is None
    assert batch.inputs.dtype == torch.int64


def test_a_cut_sentence_has_no_end(make):
    longest = " ".join(WORDS[:MAX_TRAINING_WORDS])
    complete, cut = (batch_of(make([line])) for line in (longest, f"{longest} w40"))
    assert complete.targets.shape == cut.targets.shape == (1, 1, MAX_TRAINING_WORDS + 1)
    assert torch.equal(complete.inputs, cut.inputs) and torch.equal(complete.targets[..., :-1], cut.targets[..., :-1])
    assert (complete.targets[0, 0, -1], cut.targets[0, 0, -1]) == (END, PAD)


def test_every_sentence_is_equally_likely(make):
    sentences = make([f"w{number // 2} {'w1 ' * (number // 2)}" for number in range(60)])
    batches = [batch_of(sentences, step, size=4) for step in range(1500)]
    lengths = np.concatenate([(batch.targets != PAD).sum(dim=-1).flatten().numpy() for batch in batches])
    counts = np.bincount(np.minimum(lengths, MAX_TRAINING_WORDS + 1))[2:]
    assert counts.sum() == 6000 and counts.min() > 0.7 * counts.mean() and counts.max() < 1.3 * counts.mean()


def test_little_of_a_batch_is_padding(many):
    targets = [batch_of(many, step).targets for step in range(200)]
    padding = sum(int((batch == PAD).sum()) for batch in targets) / sum(batch.numel() for batch in targets)
    assert padding < 0.15
    assert np.mean([len(set((batch != PAD).sum(dim=-1).flatten().tolist())) for batch in targets]) > 1


def test_sentences_do_not_repeat_within_a_batch(many, make):
    rows = batch_of(many, size=100).inputs.flatten(1)
    assert len(rows) == len(rows.unique(dim=0)) == 100
    assert len(batch_of(make(["w0", "w1", "w2"]), size=8).inputs) == 3


def test_a_steps_batch_does_not_depend_on_earlier_steps(many):
    first, again, next_step, later = (batch_of(many, *arguments) for arguments in ((3,), (3,), (4,), (3, 8, 1)))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.labels.classes, again.labels.classes)
    assert torch.equal(first.labels.probabilities, again.labels.probabilities)
    assert first.inputs.shape != next_step.inputs.shape or not torch.equal(first.inputs, next_step.inputs)
    assert first.inputs.shape != later.inputs.shape or not torch.equal(first.inputs, later.inputs)


@pytest.mark.parametrize("size", [2, 3, 10])
def test_ranks_have_parts_of_the_same_batch(many, size):
    batch = batch_of(many)
    parts = [batch_of(many).part(Ranks(rank, size)) for rank in range(size)]
    for name in ("inputs", "targets"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    assert torch.equal(torch.cat([part.labels.classes for part in parts]), batch.labels.classes)
    assert [part.batch_slice.first for part in parts] == [rank * 8 // size for rank in range(size)]
    assert {part.batch_slice.batch_size for part in parts} == {8}


def test_labels_mostly_match_the_words_of_their_sentence(many):
    hits = total = 0
    for step in range(100):
        batch = batch_of(many, step)
        for row, classes in zip(batch.inputs[:, 0].tolist(), batch.labels.classes.tolist(), strict=True):
            sentence_classes = {word - 4 for word in row if 4 <= word < 16}
            if sentence_classes:
                total += 1
                hits += bool(sentence_classes & set(classes))
    assert 0.6 < hits / total < 1


def test_rare_words_become_unknown_and_sentences_of_them_are_left_out(make):
    sentences = make(["w0 w1 nobody knows", "w0 nobody knows", "w1 w2", "quite unknown"])
    assert MAX_UNKNOWN_SHARE == 0.5 and len(sentences) == 2
    batch = batch_of(sentences)
    assert sorted(batch.targets[:, 0].tolist()) == [[4, 5, UNKNOWN, UNKNOWN, END], [5, 6, END, PAD, PAD]]
    assert sentences.lines() == ["left out: 2 sentences of which most words are unknown; 2 are learned from"]
    assert make(["w0"]).lines() == []
    with pytest.raises(DataError, match="most words of every sentence of sentences.txt are unknown: lower --sentence"):
        make(["nothing of", "that"])


def decoder_of(attention="soft", labels=0, **options):
    config = CaptionerConfig(
        attention=attention, embedding_dim=12, hidden_dim=16, attention_dim=8, dropout=0.3, text=True, labels=labels,
        **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Decoder(config, 7, len(VOCABULARY), LABEL_WORDS if labels else ())


@pytest.mark.parametrize("attention", ["soft", "hard", "none"])
@pytest.mark.parametrize("labels", [0, 3])
def test_the_losses_of_ranks_sum_to_that_of_the_batch_and_every_part_learns(many, attention, labels):
    decoder, options = decoder_of(attention, labels), FitOptions()
    full_batch = batch_of(many)

    class Counted(Ranks):
        def sum(self, values):
            return (full_batch.targets != PAD).sum()

    losses, gradients = [], []
    for size in (1, 3):
        decoder.zero_grad()
        values = []
        for rank in range(size):
            torch.manual_seed(1)
            loss = sentence_loss(decoder, batch_of(many).part(Ranks(rank, size)), options, torch.float32, Counted())
            loss.backward()
            values.append(loss.item())
        losses.append(sum(values))
        gradients.append(torch.cat([p.grad.flatten() for p in decoder.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
    assert decoder.no_photo.grad.abs().sum() > 0
    assert labels == 0 or decoder.labels.query.weight.grad.abs().sum() > 0


def test_a_decoder_reproduces_a_sentence_learned_without_a_photo(make):
    decoder, options = decoder_of(), FitOptions(label_smoothing=0.0)
    sentences = make(["w7 w8 w9"])
    optimizer = torch.optim.AdamW(decoder.parameters(), 0.02)
    for step in range(120):
        optimizer.zero_grad()
        loss = sentence_loss(decoder, batch_of(sentences, step), options, torch.float32)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    decoded = decode(decoder.eval(), decoder.no_photo.detach().view(1, 1, -1), DecodingOptions(beam_width=1))
    assert VOCABULARY.decode(decoded.tokens[0, 0].tolist())[:3] == ["w7", "w8", "w9"]


def test_a_decoder_learns_to_name_a_label(make):
    """The noun of each sentence follows from the labels alone, which are right most of the time."""
    decoder, options = decoder_of(labels=3, tied_output=True), FitOptions(label_smoothing=0.0)
    sentences = make([f"w20 w{number} w21" for number in range(12)], label_words=LABEL_WORDS, labels=3)
    optimizer = torch.optim.AdamW(decoder.parameters(), 0.02)
    for step in range(100):
        optimizer.zero_grad()
        sentence_loss(decoder, batch_of(sentences, step, size=12), options, torch.float32).backward()
        optimizer.step()
    classes = torch.arange(12)
    labels = Labels(
        torch.stack([classes, (classes + 3) % 12, (classes + 7) % 12], dim=1),
        torch.tensor([0.5, 0.05, 0.03]).expand(12, 3),
    )
    inputs = torch.tensor([[[START, 24]]]).expand(12, 1, 2)
    annotations = decoder.no_photo.detach().expand(12, 1, -1)
    predicted = decoder.eval()(annotations, inputs, labels=labels).logits[:, 0, 1].argmax(dim=-1)
    assert (predicted == 4 + classes).float().mean() > 0.7
