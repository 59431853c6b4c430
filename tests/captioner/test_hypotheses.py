"""Hypotheses by hand: the words that all of a beam share, tracing back to the first word, ranks, and joined batches."""

import numpy as np
import pytest
import torch

from captioner.config import DecodingOptions
from captioner.hypotheses import IMPOSSIBLE, Choice, Hypotheses, agreed_lengths, join, rank
from captioner.text.vocabulary import END, PAD

WORDS = np.array([[[4, 5, END, PAD], [4, 6, 5, END], [4, 7, END, PAD]]])  # [1, 3, 4]
TOTALS = np.array([[-6.0, -3.0, IMPOSSIBLE]], np.float32)


def steps() -> list[Choice]:
    """Return steps whose outputs show their position and row: a map of row r at position t holds t + r / 10."""
    parents = [[0, 0, 0], [0, 0, 0], [0, 1, 2], [1, 0, 2]]  # the last step exchanges the first two
    rows = torch.arange(3.0)[None] / 10  # [1, 3]
    return [
        Choice(np.array([row]), -(position + rows), (position + rows)[..., None], rows, rows[..., None])
        for position, row in enumerate(parents)
    ]


def ranked(captions: int, length_penalty: float = 0.0) -> Hypotheses:
    options = DecodingOptions(3, captions_per_image=captions, length_penalty=length_penalty)
    return rank(steps(), WORDS, TOTALS, options)


def test_the_agreed_beginning_counts_possible_hypotheses_alone():
    assert agreed_lengths(WORDS, TOTALS).tolist() == [1]
    assert agreed_lengths(WORDS, np.array([[-6.0, IMPOSSIBLE, IMPOSSIBLE]])).tolist() == [2]  # the end is no word
    assert agreed_lengths(WORDS[:, :, 1:], TOTALS).tolist() == [0]


@pytest.mark.parametrize("captions", [1, 2])
def test_the_best_hypotheses_are_traced_back_to_their_first_words(captions):
    best = ranked(captions)
    assert best.tokens.tolist() == [[[4, 6, 5], [4, 5, 0]][:captions]]
    assert best.lengths.tolist() == [[3, 2][:captions]]
    assert best.log_probs.tolist() == best.scores.tolist() == [[-3.0, -6.0][:captions]]
    # Rows before the last step: hypothesis 1 continues row 0, and hypothesis 0 continues row 1.
    np.testing.assert_allclose(best.word_log_probs[0, 0], [0, -1, -2], atol=1e-6)
    np.testing.assert_allclose(best.alphas[0, 0, :, 0], [0, 1, 2], atol=1e-6)
    if captions == 2:
        np.testing.assert_allclose(best.word_log_probs[0, 1], [0, -1.1, 0], atol=1e-6)
        np.testing.assert_allclose(best.alphas[0, 1, :, 0], [0, 1, 0], atol=1e-6)


def test_scores_divide_by_the_length():
    np.testing.assert_allclose(ranked(2, length_penalty=1.0).scores, [[-1.0, -3.0]])
    np.testing.assert_allclose(ranked(2, length_penalty=2.0).scores, [[-3 / 9, -6 / 4]])


def test_agreement_is_the_share_of_the_other_possible_hypotheses():
    assert ranked(2).agreement[0].tolist() == [[1, 0, 1], [1, 1, 0]]


def test_joined_hypotheses_are_in_the_order_of_the_batch_and_padded_with_zeros():
    values = vars(ranked(2))
    shorter = Hypotheses(**{name: value[:, :, :2] if value.dim() > 2 else value for name, value in values.items()})
    joined = join([(np.array([1]), ranked(2)), (np.array([0]), shorter)])
    assert joined.tokens.tolist() == [[[4, 6, 0], [4, 5, 0]], [[4, 6, 5], [4, 5, 0]]]
    assert joined.alphas.shape == (2, 2, 3, 1) and not joined.alphas[0, :, 2].any()
    assert torch.equal(joined.alphas[1], ranked(2).alphas[0])
    assert join([(np.array([0]), shorter)]) is shorter
