"""Steps of a finished caption: the scores, weights and gate of each word, and the likeliest words at its position.

A search keeps only the weights. The other numbers are recomputed by teacher forcing: the decoder reads the words of the
caption one by one, whatever search found them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioner.decoding import IMPOSSIBLE
from captioner.forbidden_words import NEVER_GENERATED
from captioner.model.decoder import LIKELIEST, Decoder, Step
from captioner.text.vocabulary import START

CANDIDATES = 5
"""Number of likeliest words at each step."""


@dataclass(frozen=True)
class CaptionSteps:
    """Numbers of the steps of one caption: T words, L locations (the rows of the grid one after the other)."""

    scores: np.ndarray | None
    """[T, L] scores e_t before the softmax; None without attention."""
    alphas: np.ndarray
    """[T, L] attention weights; every row sums to 1, and all weights are equal without attention."""
    gates: np.ndarray
    """[T] gating scalar, 0 to 1."""
    word_log_probs: np.ndarray
    """[T] log-probability of each word given those before it, in nats."""
    candidates: np.ndarray
    """[T, C] ids of the likeliest words at each step, most probable first. The caption's own word may be missing."""
    candidate_log_probs: np.ndarray
    """[T, C] in nats."""
    label_alphas: np.ndarray | None
    """[T, J + 1] attention to each of J labels, and to "none of these"; None without labels."""
    label_classes: np.ndarray | None = None
    """[J] ids of the classes that the columns of `label_alphas` are about, most probable first; None without labels."""
    reads_one_location: bool = False
    """Whether each word read the location with the largest weight (hard attention) instead of the weighted sum."""


@torch.no_grad()
def caption_steps(
    decoder: Decoder,
    annotations: Tensor,
    tokens: Sequence[int],
    location: str = LIKELIEST,
    candidates: int = CANDIDATES,
) -> CaptionSteps:
    """Recompute the steps of a caption by teacher forcing: annotations [L, D], ids of its T words.

    location: for hard attention, as in `Decoder.step`.
    candidates: number of likeliest words at each step. Their probabilities are those of the decoder: rules of the
    search, such as blocked repeats, are not applied.
    """
    labels = None
    if decoder.labels is not None:
        labels = decoder.labels.labels_of(annotations.float().mean(dim=0, keepdim=True))
    features = decoder.prepare(annotations.unsqueeze(0), labels)
    state = decoder.initial_state(features, captions=1)
    steps: list[Step] = []
    for token in (START, *tokens):  # the last step, which ends the caption, makes sure that there is one
        steps.append(decoder.step(features, state, torch.full((1, 1), token, device=annotations.device), location))
        state = steps[-1].state
    length = len(tokens)
    log_probs = torch.cat([step.logits[0] for step in steps]).float().log_softmax(dim=-1)[:length]  # [T, V]
    ids = torch.tensor(tokens, dtype=torch.long, device=log_probs.device)
    word_log_probs = log_probs.gather(1, ids.unsqueeze(1)).squeeze(1)
    log_probs[:, list(NEVER_GENERATED)] = IMPOSSIBLE
    likeliest = log_probs.topk(min(candidates, log_probs.shape[1] - len(NEVER_GENERATED)), dim=-1)
    return CaptionSteps(
        scores=_rows([step.scores for step in steps], length),
        alphas=_rows([step.alpha for step in steps], length),
        gates=_rows([step.gate for step in steps], length),
        word_log_probs=word_log_probs.cpu().numpy(),
        candidates=likeliest.indices.cpu().numpy(),
        candidate_log_probs=likeliest.values.cpu().numpy(),
        label_alphas=_rows([step.label_alpha for step in steps], length),
        label_classes=None if labels is None else labels.classes[0].cpu().numpy(),
        reads_one_location=decoder.reads_one_location(location),
    )


def _rows(values: Sequence[Tensor | None], length: int) -> np.ndarray | None:
    """Join the values of steps, each [1, 1, ...], and take the first `length`; None if the steps have none."""
    if values[0] is None:
        return None
    return torch.cat([value[0] for value in values])[:length].float().cpu().numpy()
