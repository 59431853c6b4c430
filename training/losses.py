"""Losses: sums or means, as each says, in nats and without padding.

If ranks share a batch, each computes the loss of its own part, divided by the counts of the whole batch, so that the
losses of all ranks sum to that of the batch. (The mean of their means would differ, as parts differ in their counts.)
"""

import torch
from torch import Tensor
from torch.nn import functional

from captioner.model.kernels.cross_entropy import cross_entropy
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import PAD


def caption_nll(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log p(y|x), summed over the words of all captions, the end included.

    logits [..., V], targets [...] with PAD where there is no word -> scalar, in nats.
    """
    return cross_entropy(logits.flatten(0, -2), targets.flatten(), label_smoothing, ignored=PAD)


def doubly_stochastic_penalty(alphas: Tensor, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Penalise locations that a whole caption attends to more or less than once.

    Xu et al. 2015, eq. 14: sum_i (1 - sum_t alpha_ti)^2, summed over locations, averaged over captions.
    alphas [B, K, T, L], mask bool [B, K, T] of the positions that exist -> scalar. Rows of the mask without any
    position are no captions and do not count.
    """
    attention_sums = (alphas * mask.unsqueeze(-1)).sum(dim=2)  # [B, K, L]
    penalties = (1 - attention_sums).square().sum(dim=-1)  # [B, K]
    is_caption = mask.any(dim=-1)
    return (penalties * is_caption).sum() / ranks.sum(is_caption.sum()).clamp(min=1)


def soft_attention_losses(
    logits: Tensor, alphas: Tensor, targets: Tensor, label_smoothing: float, ranks: Ranks = ALONE
) -> dict[str, Tensor]:
    """Return both terms of Xu et al. 2015, eq. 14, per caption, divided by the mean length of the batch's captions.

    The division changes no trade-off; it keeps the figure in nats per word, whatever the captions' length.
    logits [N, V] of the N targets that are not PAD, in their order; alphas [B, K, T, L], targets [B, K, T].
    """
    mask = targets != PAD
    words, captions = ranks.sum(torch.stack([mask.sum(), mask.any(dim=-1).sum()]))
    return {
        "cross_entropy": caption_nll(logits, targets[mask], label_smoothing) / words,
        "doubly_stochastic": doubly_stochastic_penalty(alphas, mask, ranks) * captions / words,
    }


def reinforce_loss(
    logits: Tensor, alphas: Tensor, locations: Tensor, targets: Tensor, baseline: float, ranks: Ranks = ALONE
) -> Tensor:
    """Gradient estimate for the sampled locations of hard attention: -(log p(y|s) - b) log p(s|a), in nats per word.

    The second term of Xu et al. 2015, eq. 12: with the gradient of log p(y|s) itself, the first term, its gradient is
    an unbiased estimate of that of the variational bound, eq. 10. A location is credited with log p of its own word and
    of the words after it, each against the baseline of one word: earlier words do not depend on it, so the expectation
    is the same, with less noise.
    logits [B, K, T, V], alphas [B, K, T, L], locations [B, K, T], targets [B, K, T] with PAD -> scalar.
    baseline: moving average of the log-probability of a word, in nats.
    """
    mask = targets != PAD
    credits = (_word_log_probs(logits.detach(), targets) - baseline) * mask
    returns = credits.flip(-1).cumsum(dim=-1).flip(-1)  # [B, K, T]
    location_log_probs = alphas.gather(-1, locations.unsqueeze(-1)).squeeze(-1).clamp(min=1e-9).log()
    return -(returns * location_log_probs * mask).sum() / ranks.sum(mask.sum()).clamp(min=1)


def mean_word_log_prob(logits: Tensor, targets: Tensor, ranks: Ranks = ALONE) -> float:
    """Mean log p(y|s) of a word of the batch, in nats, for the moving average of hard attention."""
    mask = targets != PAD
    log_prob_sum = (_word_log_probs(logits.detach(), targets) * mask).sum()
    log_prob, words = ranks.sum(torch.stack([log_prob_sum, mask.sum()])).tolist()
    return log_prob / words


def _word_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each target: [B, K, T, V], [B, K, T] -> [B, K, T], in nats."""
    return logits.float().log_softmax(dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def map_entropy(alphas: Tensor, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """H[s] of Xu et al. 2015, eq. 11: the entropy of the maps, in nats, averaged over the positions that exist.

    alphas [B, K, T, L], mask bool [B, K, T] -> scalar.
    """
    entropies = -(alphas * alphas.clamp(min=1e-9).log()).sum(dim=-1)
    return (entropies * mask).sum() / ranks.sum(mask.sum()).clamp(min=1)


def attention_supervision_loss(alphas: Tensor, inside: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Penalise attention outside the boxes of what a word names, averaged over the words that name something.

    With m = sum_i alpha_ti inside_ti, the attention inside the boxes ("attention correctness", Liu et al. 2017), a word
    costs -log m, whose gradient stays large for a map far off, and 1 - m, whose gradient stays until the map is sharp.
    alphas [B, K, T, L], inside [B, K, T, L] with 0 for all other words -> scalar; 0 where no word names a thing.
    """
    is_named = inside.any(dim=-1)  # [B, K, T]
    mass = (alphas * inside).sum(dim=-1)
    losses = (1 - mass) - (mass + 1e-3).log()
    return (losses * is_named).sum() / ranks.sum(is_named.sum()).clamp(min=1)


def distillation_loss(logits: Tensor, teacher_logits: Tensor, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """KL(teacher || student) over the words that the teacher knows, in nats, averaged over the positions that exist.

    Li and Hoiem 2016 (learning without forgetting), at temperature 1. The student's probabilities are renormalised over
    the teacher's words, so that learning a new word costs nothing here.
    logits [..., V], teacher_logits [..., V'] with V' <= V, mask bool [...] -> scalar.
    """
    student = logits[..., : teacher_logits.shape[-1]].float().log_softmax(dim=-1)
    teacher = teacher_logits.float().log_softmax(dim=-1)
    divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return (divergence * mask).sum() / ranks.sum(mask.sum()).clamp(min=1)


def label_distillation_loss(logits: Tensor, teacher_logits: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """KL(teacher || student) over the classes of a classifier, in nats, averaged over the photos of a batch.

    logits, teacher_logits [B, C] -> scalar.
    """
    student, teacher = (values.float().log_softmax(dim=-1) for values in (logits, teacher_logits))
    divergence = functional.kl_div(student, teacher, reduction="sum", log_target=True)
    return divergence / ranks.sum(divergence.new_tensor(len(logits))).clamp(min=1)


def map_distillation_loss(alphas: Tensor, teacher_alphas: Tensor, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """KL(teacher || student) over the locations, in nats, averaged over the positions that exist.

    Keeps maps that boxes have taught while a captioner learns from photos without boxes.
    alphas, teacher_alphas [..., L], mask bool [...] -> scalar.
    """
    log_ratio = teacher_alphas.clamp(min=1e-9).log() - alphas.clamp(min=1e-9).log()
    return ((teacher_alphas * log_ratio).sum(dim=-1) * mask).sum() / ranks.sum(mask.sum()).clamp(min=1)


def self_critical_loss(logits: Tensor, tokens: Tensor, advantages: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """Rennie et al. 2017, eq. 7: -(r(w) - b) log p(w) of sampled captions, averaged over their words.

    logits [B, K, T, V], tokens [B, K, T] sampled, PAD where there is none, advantages [B, K] -> scalar.
    """
    log_probs = _word_log_probs(logits, tokens)
    mask = tokens != PAD
    return -(advantages.unsqueeze(-1) * log_probs * mask).sum() / ranks.sum(mask.sum())


def advantages_over_mean(rewards: Tensor) -> Tensor:
    """Each sample against the mean of the other samples of its image (Luo 2020, arXiv 2003.09971). [B, K] -> [B, K]."""
    samples = rewards.shape[1]
    return (rewards - rewards.mean(dim=1, keepdim=True)) * samples / (samples - 1)
