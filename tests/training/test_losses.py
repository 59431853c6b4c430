"""Every loss equals its value by hand, and padding changes none of them."""

import math

import pytest
import torch

from captioner.text.vocabulary import PAD
from tests.support.weighted_losses import soft_attention_loss
from training.losses import (
    advantages_over_mean,
    caption_nll,
    distillation_loss,
    doubly_stochastic_penalty,
    map_distillation_loss,
    self_critical_loss,
)


def random_captions(seed=0, batch=2, rows=3, length=5, words=9, locations=4):
    """Return logits, alphas, targets; captions of 5, 3, 1 words and of 4, 2, none."""
    torch.manual_seed(seed)
    logits = torch.randn(batch, rows, length, words)
    alphas = torch.rand(batch, rows, length, locations).softmax(dim=-1)
    targets = torch.randint(1, words, (batch, rows, length))
    for image, lengths in enumerate([(5, 3, 1), (4, 2, 0)]):
        for row, words_of_row in enumerate(lengths):
            targets[image, row, words_of_row:] = PAD
    return logits, alphas, targets


def pad_batch(logits, alphas, targets):
    """Return the same captions in a wider and longer batch, with arbitrary values where there is no word."""
    batch, rows, length, words = logits.shape
    wide_logits = torch.full((batch, rows + 2, length + 3, words), 5.0)
    wide_alphas = torch.full((batch, rows + 2, length + 3, alphas.shape[-1]), 0.7)
    wide_targets = torch.full((batch, rows + 2, length + 3), PAD)
    wide_logits[..., 1] = -3
    wide_logits[:, :rows, :length], wide_alphas[:, :rows, :length] = logits, alphas
    wide_targets[:, :rows, :length] = targets
    return wide_logits, wide_alphas, wide_targets


def test_the_penalty_sums_over_locations_and_averages_over_captions():
    # One image, two captions of 2 and 1 words, three locations.
    alphas = torch.tensor([[[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [[1.0, 0.0, 0.0], [9.0, 9.0, 9.0]]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    first = (1 - 0.7) ** 2 + (1 - 0.8) ** 2 + (1 - 0.5) ** 2
    second = 0 + 1 + 1
    assert doubly_stochastic_penalty(alphas, mask).item() == pytest.approx((first + second) / 2)


def test_the_penalty_of_a_batch_without_captions_is_zero():
    assert doubly_stochastic_penalty(torch.rand(1, 2, 3, 4), torch.zeros(1, 2, 3, dtype=torch.bool)) == 0


def test_the_penalty_is_zero_where_every_location_is_attended_to_once():
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    assert doubly_stochastic_penalty(torch.eye(4).view(1, 1, 4, 4), mask) == 0
    everywhere = torch.full((1, 1, 4, 4), 0.25)
    assert doubly_stochastic_penalty(everywhere, mask) == 0
    constant = torch.zeros(1, 1, 4, 4)
    constant[..., 2] = 1
    assert doubly_stochastic_penalty(constant, mask) == 3 + 3**2


def test_nll_without_smoothing_is_the_sum_over_words():
    logits, _, targets = random_captions()
    log_probs = torch.log(logits.double().exp() / logits.double().exp().sum(dim=-1, keepdim=True))
    by_hand = 0.0
    for index, word in zip(
        torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(5)), targets.flatten(), strict=True
    ):
        if word != PAD:
            by_hand -= log_probs[tuple(index)][word].item()
    assert caption_nll(logits, targets).item() == pytest.approx(by_hand, rel=1e-5)


def test_label_smoothing_mixes_in_the_uniform_distribution():
    logits, _, targets = random_captions()
    uniform = -(logits.log_softmax(dim=-1).mean(dim=-1) * (targets != PAD)).sum()
    expected = 0.9 * caption_nll(logits, targets) + 0.1 * uniform
    torch.testing.assert_close(caption_nll(logits, targets, 0.1), expected)


def test_without_words_the_loss_is_zero():
    logits, _, targets = random_captions()
    logits.requires_grad_()
    loss = caption_nll(logits, torch.full_like(targets, PAD))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_the_loss_adds_both_terms_in_nats_per_word():
    logits, alphas, targets = random_captions()
    words, captions = 15, 5
    penalty = doubly_stochastic_penalty(alphas, targets != PAD)
    expected = (caption_nll(logits, targets, 0.1) + 0.7 * captions * penalty) / words
    torch.testing.assert_close(soft_attention_loss(logits, alphas, targets, 0.7, 0.1), expected)
    guess = torch.zeros_like(logits)  # of nine words
    assert soft_attention_loss(guess, alphas, targets, 0.0, 0.0).item() == pytest.approx(math.log(9))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_padding_changes_neither_loss_nor_penalty(smoothing):
    captions = random_captions()
    padded = pad_batch(*captions)
    torch.testing.assert_close(
        soft_attention_loss(*captions, 1.0, smoothing), soft_attention_loss(*padded, 1.0, smoothing)
    )
    torch.testing.assert_close(
        doubly_stochastic_penalty(captions[1], captions[2] != PAD),
        doubly_stochastic_penalty(padded[1], padded[2] != PAD),
    )
    advantages = torch.tensor([[1.0, -0.5, 0.3], [0.2, -1.0, 0.0]])
    wide_advantages = torch.cat([advantages, torch.full((2, 2), 9.0)], dim=1)
    torch.testing.assert_close(
        self_critical_loss(captions[0], captions[2], advantages),
        self_critical_loss(padded[0], padded[2], wide_advantages),
    )


def test_16_bit_logits_are_summed_in_32_bits():
    logits, _, targets = random_captions()
    assert caption_nll(logits.bfloat16(), targets).dtype == torch.float32


def test_the_self_critical_loss_equals_that_by_hand():
    probs = torch.tensor([[[[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], [[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]]])
    tokens = torch.tensor([[[2, 1], [1, PAD]]])
    advantages = torch.tensor([[2.0, -1.0]])
    expected = -(2.0 * (math.log(0.7) + math.log(0.3)) - 1.0 * math.log(0.5)) / 3
    assert self_critical_loss(probs.log(), tokens, advantages).item() == pytest.approx(expected)


def test_samples_above_the_baseline_become_likelier_and_those_below_rarer():
    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)
    tokens = torch.tensor([[[1], [2]]])
    self_critical_loss(logits, tokens, torch.tensor([[0.5, -0.5]])).backward()
    after = (logits - logits.grad).softmax(dim=-1).detach()
    assert after[0, 0, 0, 1] > 0.25
    assert after[0, 1, 0, 2] < 0.25


def test_advantages_are_relative_to_the_mean_of_the_other_samples():
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.5, 0.5, 0.5]])
    advantages = advantages_over_mean(rewards)
    assert advantages[0].tolist() == pytest.approx([1 - 8 / 2, 2 - 7 / 2, 6 - 3 / 2])
    assert advantages[1].tolist() == pytest.approx([0, 0, 0])
    assert advantages.sum(dim=1).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_distillation_is_zero_without_a_change_and_ignores_new_words():
    teacher = torch.randn(2, 3, 4, 6)
    mask = torch.rand(2, 3, 4) > 0.3
    student = torch.cat([teacher, torch.randn(2, 3, 4, 5) * 4], dim=-1)
    torch.testing.assert_close(distillation_loss(student, teacher, mask), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_distillation_equals_the_divergence_over_existing_words():
    teacher, student = torch.randn(1, 1, 2, 3), torch.randn(1, 1, 2, 3)
    p, q = teacher[0, 0, 0].softmax(-1), student[0, 0, 0].softmax(-1)
    expected = (p * (p / q).log()).sum()
    mask = torch.tensor([[[True, False]]])
    torch.testing.assert_close(distillation_loss(student, teacher, mask), expected)


def test_map_distillation_equals_the_divergence_and_is_zero_for_equal_maps():
    teacher = torch.tensor([[[[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]]]])  # [B, K, T, L]
    alphas = torch.tensor([[[[0.25, 0.75], [0.9, 0.1], [0.0, 1.0]]]])
    mask = torch.tensor([[[True, True, False]]])
    by_hand = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2
    assert map_distillation_loss(alphas, teacher, mask).item() == pytest.approx(by_hand, rel=1e-5)
    assert map_distillation_loss(teacher, teacher, mask).item() == pytest.approx(0, abs=1e-7)
