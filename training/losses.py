"""What training minimises. Sums over words and locations, in nats, with padding left out."""

from torch import Tensor
from torch.nn import functional

from captioner.vocabulary import PAD


def caption_nll(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log p(y|x), summed over the words of all captions, the end included.

    logits [B, K, T, V], targets [B, K, T] with PAD where there is no word -> scalar, in nats.
    """
    return functional.cross_entropy(
        logits.flatten(0, 2).float(),
        targets.flatten(),
        ignore_index=PAD,
        label_smoothing=label_smoothing,
        reduction="sum",
    )


def doubly_stochastic_penalty(alphas: Tensor, mask: Tensor) -> Tensor:
    """Penalise locations that a whole caption attends to more or less than once.

    Xu et al. 2015, eq. 14: sum_i (1 - sum_t alpha_ti)^2, summed over locations, averaged over captions.
    alphas [B, K, T, L], mask bool [B, K, T] of the positions that exist -> scalar. Rows of the mask without any
    position are no captions and do not count.
    """
    attended = (alphas * mask.unsqueeze(-1)).sum(dim=2)  # [B, K, L]
    penalties = (1 - attended).square().sum(dim=-1)  # [B, K]
    exists = mask.any(dim=-1)
    return (penalties * exists).sum() / exists.sum().clamp(min=1)


def soft_attention_loss(
    logits: Tensor, alphas: Tensor, targets: Tensor, doubly_stochastic_weight: float, label_smoothing: float
) -> Tensor:
    """Xu et al. 2015, eq. 14, with both its terms per caption, divided by the mean length of the batch's captions.

    The division changes no trade-off; it keeps the figure in nats per word, whatever the captions' length.
    """
    mask = targets != PAD
    words, captions = mask.sum(), mask.any(dim=-1).sum()
    penalty = doubly_stochastic_penalty(alphas, mask)
    return (caption_nll(logits, targets, label_smoothing) + doubly_stochastic_weight * captions * penalty) / words


def distillation_loss(logits: Tensor, teacher_logits: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher || student) over the words that the teacher knows, in nats, averaged over the positions that exist.

    Li and Hoiem 2016 (learning without forgetting), at temperature 1. The student's chances are taken among the
    teacher's words, so that learning a new word costs nothing here.
    logits [B, K, T, V], teacher_logits [B, K, T, V'] with V' <= V, mask bool [B, K, T] -> scalar.
    """
    student = logits[..., : teacher_logits.shape[-1]].float().log_softmax(dim=-1)
    teacher = teacher_logits.float().log_softmax(dim=-1)
    divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return (divergence * mask).sum() / mask.sum().clamp(min=1)


def self_critical_loss(logits: Tensor, tokens: Tensor, advantages: Tensor) -> Tensor:
    """Rennie et al. 2017, eq. 7: -(r(w) - b) log p(w) of sampled captions, averaged over their words.

    logits [B, K, T, V], tokens [B, K, T] sampled, PAD where there is none, advantages [B, K] -> scalar.
    """
    log_probs = logits.float().log_softmax(dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    mask = tokens != PAD
    return -(advantages.unsqueeze(-1) * log_probs * mask).sum() / mask.sum()


def advantages_over_mean(rewards: Tensor) -> Tensor:
    """Each sample against the mean of the other samples of its image (Luo 2020, arXiv 2003.09971). [B, K] -> [B, K]."""
    samples = rewards.shape[1]
    return (rewards - rewards.mean(dim=1, keepdim=True)) * samples / (samples - 1)
