"""Batches of pairs: every pair once an epoch, of similar length, the same when resumed and on any number of ranks."""

import numpy as np
import pytest
import torch

from captioner.ranks import Ranks
from captioner.text.vocabulary import END, PAD, START
from captioner.translation.config import MAX_PIECES
from captioner.translation.subwords import Subwords
from training.translation.dataset import PairDataset, as_caption

WORDS = "dog cat man woman runs sits over the grass bench red blue".split()


def sentence(rng, length):
    return " ".join(rng.choice(WORDS, length)).capitalize() + "."


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return [(sentence(rng, length), sentence(rng, length + 1)) for length in rng.integers(2, 15, size=50)]


@pytest.fixture(scope="module")
def subwords(pairs):
    return Subwords.learn([text for pair in pairs for text in pair], 80)


@pytest.fixture
def data(pairs, subwords):
    return PairDataset(pairs, subwords, subwords)


def texts(subwords, batch):
    return [
        (subwords.decode(source.tolist()), subwords.decode(target.tolist()))
        for source, target in zip(batch.source, batch.targets[:, 0], strict=True)
    ]


def test_every_pair_comes_once_in_an_epoch(data, pairs, subwords):
    batches = list(data.batches(epoch=0, batch_size=8, seed=1))
    assert len(batches) == data.batch_count(8) == 7
    assert sorted(pair for batch in batches for pair in texts(subwords, batch)) == sorted(pairs)


def test_inputs_begin_with_the_start_and_targets_finish_with_the_end(data):
    for batch in data.batches(0, 8, 1):
        assert (batch.inputs[:, 0, 0] == START).all() and ((batch.targets == END).sum(dim=-1) == 1).all()
        inside = batch.inputs[:, 0, 1:]
        torch.testing.assert_close(inside, batch.targets[:, 0, :-1].masked_fill(batch.targets[:, 0, :-1] == END, PAD))


def test_sentences_of_a_batch_have_similar_lengths(data):
    spread = [
        int(lengths.max() - lengths.min()) for lengths in ((b.targets != PAD).sum(-1) for b in data.batches(0, 8, 1))
    ]
    assert np.mean(spread) < 4


def test_epochs_and_seeds_differ_and_a_run_resumes_in_the_middle(data):
    whole = [batch.source for batch in data.batches(3, 8, 1)]
    again = [batch.source for batch in data.batches(3, 8, 1, first=4)]
    assert all(map(torch.equal, whole[4:], again)) and len(again) == 3
    for epoch, seed in ((4, 1), (3, 2)):
        other = [batch.source for batch in data.batches(epoch, 8, seed)]
        assert not all(one.shape == two.shape and torch.equal(one, two) for one, two in zip(whole, other, strict=True))


def test_ranks_share_each_batch(data):
    whole = list(data.batches(0, 8, 1))
    parts = [list(data.batches(0, 8, 1, ranks=Ranks(rank, 3, rank, 3))) for rank in range(3)]
    for number, batch in enumerate(whole):
        for name in ("source", "inputs", "targets"):
            torch.testing.assert_close(torch.cat([getattr(part[number], name) for part in parts]), getattr(batch, name))
        assert {part[number].seed for part in parts} == {batch.seed}


def test_some_pairs_are_learned_as_captions(pairs, subwords):
    data = PairDataset(pairs, subwords, subwords, caption_share=0.5)
    seen = [pair for epoch in range(8) for batch in data.batches(epoch, 8, 1) for pair in texts(subwords, batch)]
    captions = [pair for pair in seen if not pair[0].endswith(".")]
    assert 0.4 < len(captions) / len(seen) < 0.6
    assert {pair[0] for pair in captions} <= {as_caption(pair)[0] for pair in pairs}


@pytest.mark.parametrize("caption_share", [0.0, 0.5, 1.0])
def test_every_source_has_a_piece(pairs, subwords, caption_share):
    odd = [("!", "!"), (".", "."), ("\x07", "Hund."), ("\x07.", "Hund."), ("", "Hund.")]
    data = PairDataset([*odd, *pairs], subwords, subwords, caption_share)
    assert len(data) == len(pairs) + 3 and len(data.pairs) == len(data)
    for epoch in range(4):
        assert all((batch.source != PAD).any(dim=1).all() for batch in data.batches(epoch, 8, 1))


@pytest.mark.parametrize(
    ("pair", "caption"),
    [
        (("A dog runs.", "Ein Hund läuft."), ("a dog runs", "Ein Hund läuft")),
        (("Two men !", "Zwei Männer!"), ("two men", "Zwei Männer")),
        (("Is it 3.5 m", "Ist es 3,5 m"), ("is it 3.5 m", "Ist es 3,5 m")),
        (("!", "!"), ("!", "!")),
        (("Stop.", "."), ("Stop.", ".")),
        (("\x07.", "Hund."), ("\x07.", "Hund.")),
    ],
)
def test_a_pair_as_a_caption_is_in_lower_case_without_a_full_stop(pair, caption):
    assert as_caption(pair) == caption


@pytest.mark.parametrize("caption_share", [0.0, 0.5])
def test_pairs_that_nothing_can_be_learned_from_are_left_out_and_counted(pairs, subwords, caption_share):
    long = " ".join(["xz"] * 250)  # a piece for each letter and space
    assert len(subwords.encode(long)) > MAX_PIECES
    odd = [(long, "A dog."), ("A dog.", long), (long, long)]
    data = PairDataset([*odd, *pairs], subwords, subwords, caption_share)
    assert data.pairs == tuple(pairs)
    ((reason, count),) = data.left_out.items()
    assert count == 3 and f"more than {MAX_PIECES} pieces of words" in reason and "cut it into sentences" in reason


def test_pairs_up_to_the_limit_are_learned_whole(pairs, subwords):
    text = "dog"
    while len(subwords.encode(f"{text} dog")) <= MAX_PIECES:
        text += " dog"
    data = PairDataset([(text, text), *pairs], subwords, subwords)
    longest = max((batch.source for batch in data.batches(0, 8, 1)), key=lambda source: source.shape[1])
    assert not data.left_out and longest.shape[1] == len(subwords.encode(text))
