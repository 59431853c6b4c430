"""Why this word here: how much each place of the photo speaks for a word, asked once the word is known.

Attention says where the model looked before it chose a word, when it did not know yet which. Evidence is computed
afterwards and is no part of captioning: each place is hidden in turn, and what that costs the word is its evidence
(occlusion, Zeiler and Fergus 2014; here of annotations). The two are different maps, and go by their own names.
"""

import torch
from torch import Tensor

from captioner.model.decoder import LIKELIEST, Decoder, DecoderState, ImageFeatures
from captioner.vocabulary import START

ROUNDING = 1e-5
"""Nats: a place that costs a word no more than this costs it nothing."""

_TOGETHER = 64
"""So many places are hidden, each by itself, in one step."""


@torch.no_grad()
def evidence_maps(decoder: Decoder, annotations: Tensor, tokens: Tensor, location: str = LIKELIEST) -> Tensor:
    """The evidence of every place for each word of a caption: annotations [L, D], ids of the words [T] -> [T, L].

    That of a place is by how much the word's log-probability falls where the model cannot read the place before it
    chooses the word, and the others have its share of the attention; places that speak against the word have none.
    Each map is scaled to sum to 1. Where no place speaks for a word, all have the same.
    location: of hard attention, as of `Decoder.step`.
    """
    features = decoder.prepare(annotations.unsqueeze(0))
    state = decoder.initial_state(features, captions=1)
    maps, before = [], torch.full((1, 1), START, device=annotations.device)
    for token in tokens.tolist():
        logits, following, *_ = decoder.step(features, state, before, location)
        hidden = _log_probs_with_a_place_hidden(decoder, features, state, before, token, location)
        lost = _log_prob(logits, token) - hidden  # [L]
        lost = lost.where(lost > ROUNDING, 0.0)
        total = lost.sum()
        maps.append(lost / total if float(total) > 0 else torch.full_like(lost, 1 / len(lost)))
        before, state = torch.full_like(before, token), following
    return torch.stack(maps) if maps else annotations.new_zeros(0, len(annotations))


def _log_probs_with_a_place_hidden(
    decoder: Decoder, features: ImageFeatures, state: DecoderState, before: Tensor, token: int, location: str
) -> Tensor:
    """log p of `token` with each place hidden, one at a time: [L], in nats."""
    places = torch.eye(features.annotations.shape[1], dtype=torch.bool, device=before.device)
    found = []
    for unseen in places.split(_TOGETHER):  # each is one caption of the image
        same = torch.zeros(1, len(unseen), dtype=torch.long, device=before.device)
        logits, *_ = decoder.step(
            features, state.select(same), before.expand(-1, len(unseen)), location, unseen.unsqueeze(0)
        )
        found.append(_log_prob(logits, token))
    return torch.cat(found)


def _log_prob(logits: Tensor, token: int) -> Tensor:
    """logits [1, K, V] -> [K], in nats."""
    return logits[0].float().log_softmax(dim=-1)[:, token]
