"""The additive score and soft attention equal figures computed by hand and with numpy."""

import numpy as np
import pytest
import torch

from captioner.model.attention import AdditiveScore, attend


def score_with(activation: str) -> AdditiveScore:
    """W_a = [[1, 2], [0, -1]] with bias [0.5, 0], W_h = [[3], [1]], w = [2, -1]."""
    score = AdditiveScore(annotation_dim=2, hidden_dim=1, attention_dim=2, activation=activation)
    with torch.no_grad():
        score.annotation_to_key.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        score.annotation_to_key.bias.copy_(torch.tensor([0.5, 0.0]))
        score.hidden_to_query.weight.copy_(torch.tensor([[3.0], [1.0]]))
        score.key_to_score.weight.copy_(torch.tensor([[2.0, -1.0]]))
    return score


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_additive_score_by_hand(activation):
    """Eq. 4 for a_1 = (1, 1), a_2 = (0, -2) and h = 1, h = -1."""
    score = score_with(activation)
    annotations = torch.tensor([[[1.0, 1.0], [0.0, -2.0]]])
    # W_a a + b: (3.5, -1) and (-3.5, 2); W_h h: (3, 1) and (-3, -1)
    compared = np.array([[[6.5, 0.0], [-0.5, 3.0]], [[0.5, -2.0], [-6.5, 1.0]]])  # [K, L, A]
    activated = np.maximum(compared, 0) if activation == "relu" else np.tanh(compared)
    expected = 2 * activated[..., 0] - activated[..., 1]
    scores = score(score.keys(annotations), score.query(torch.tensor([[[1.0], [-1.0]]])))
    assert scores.shape == (1, 2, 2)
    np.testing.assert_allclose(scores[0].detach().numpy(), expected, rtol=1e-6)
    if activation == "relu":
        assert scores[0].tolist() == [[13.0, -3.0], [1.0, -1.0]]


def test_attend_equals_numpy():
    generator = np.random.default_rng(0)
    scores, annotations = generator.normal(size=(2, 3, 5)) * 4, generator.normal(size=(2, 5, 7))
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    alpha, context = attend(torch.from_numpy(scores), torch.from_numpy(annotations))
    np.testing.assert_allclose(alpha.numpy(), weights, rtol=1e-5)
    np.testing.assert_allclose(context.numpy(), np.einsum("bkl,bld->bkd", weights, annotations), rtol=1e-5, atol=1e-6)


def test_a_constant_added_to_all_scores_changes_nothing():
    scores, annotations = torch.randn(1, 2, 6), torch.randn(1, 6, 3)
    for before, after in zip(attend(scores, annotations), attend(scores + 100, annotations), strict=True):
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_weights_stay_exact_in_low_precision():
    """196 weights in bfloat16 would sum to 1 only within one per cent."""
    alpha, context = attend(torch.randn(1, 4, 196).bfloat16(), torch.randn(1, 196, 8).bfloat16())
    assert alpha.dtype == torch.float32 and context.dtype == torch.bfloat16
    torch.testing.assert_close(alpha.sum(dim=-1), torch.ones(1, 4))
