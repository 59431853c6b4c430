"""Weighted sums of losses, which the optimiser takes a step on."""

from captioner.text.vocabulary import PAD
from training.criterion import loss_weights, weighted_sum
from training.losses import soft_attention_losses
from training.options import FitOptions


def captions_loss(learned, options=None):
    """Return the loss of captions in the first phase. learned: as `caption_losses` returns it."""
    return weighted_sum(learned.losses, loss_weights("cross_entropy", options or FitOptions()))


def soft_attention_loss(logits, alphas, targets, doubly_stochastic_weight, label_smoothing, ranks=None):
    """Return the loss of Xu et al. 2015, eq. 14, in nats per word."""
    more = {} if ranks is None else {"ranks": ranks}
    losses = soft_attention_losses(logits[targets != PAD], alphas, targets, label_smoothing, **more)
    return weighted_sum(losses, {"cross_entropy": 1.0, "doubly_stochastic": doubly_stochastic_weight})
