"""Occlusion maps: how much each location of the photo supports a chosen word.

An attention map shows where the model attended before it chose a word. An occlusion map is computed afterwards and is
no part of captioning: each location is hidden in turn, and its value is the log-probability that the word loses
(Zeiler and Fergus 2014; here with annotations). The API calls these maps `evidence`.
"""

import torch
from torch import Tensor

from captioner.model.decoder import LIKELIEST, Decoder, DecoderState, ImageFeatures
from captioner.text.vocabulary import START

ROUNDING = 1e-5
"""Nats: a smaller loss of a word's log-probability counts as zero."""

_LOCATIONS_PER_STEP = 64
"""Number of locations hidden in one step, each in a separate hypothesis."""


@torch.no_grad()
def occlusion_maps(decoder: Decoder, annotations: Tensor, tokens: Tensor, location: str = LIKELIEST) -> Tensor:
    """Return the occlusion map of each word of a caption: annotations [L, D], ids of the words [T] -> [T, L].

    The value of a location is the fall of the word's log-probability when that location is hidden and the others share
    its attention; a location that lowers the word's probability gets 0. Each map is scaled to sum to 1. If no location
    supports a word, its map is uniform.
    location: for hard attention, as in `Decoder.step`.
    """
    features = decoder.prepare(annotations.unsqueeze(0))
    state = decoder.initial_state(features, captions=1)
    maps, previous = [], torch.full((1, 1), START, device=annotations.device)
    for token in tokens.tolist():
        logits, next_state, *_ = decoder.step(features, state, previous, location)
        hidden_log_probs = _log_probs_with_location_hidden(decoder, features, state, previous, token, location)
        drops = _log_prob(logits, token) - hidden_log_probs  # [L]
        drops = drops.where(drops > ROUNDING, 0.0)
        total = drops.sum()
        maps.append(drops / total if float(total) > 0 else torch.full_like(drops, 1 / len(drops)))
        previous, state = torch.full_like(previous, token), next_state
    return torch.stack(maps) if maps else annotations.new_zeros(0, len(annotations))


def _log_probs_with_location_hidden(
    decoder: Decoder, features: ImageFeatures, state: DecoderState, previous: Tensor, token: int, location: str
) -> Tensor:
    """Return log p of `token` with each location hidden, one at a time: [L], in nats."""
    masks = torch.eye(features.annotations.shape[1], dtype=torch.bool, device=previous.device)
    log_probs = []
    for mask in masks.split(_LOCATIONS_PER_STEP):  # one hypothesis of the image for each location
        parents = torch.zeros(1, len(mask), dtype=torch.long, device=previous.device)
        logits, *_ = decoder.step(
            features, state.select(parents), previous.expand(-1, len(mask)), location, mask.unsqueeze(0)
        )
        log_probs.append(_log_prob(logits, token))
    return torch.cat(log_probs)


def _log_prob(logits: Tensor, token: int) -> Tensor:
    """Return the log-probability of a token: logits [1, K, V] -> [K], in nats."""
    return logits[0].float().log_softmax(dim=-1)[:, token]
