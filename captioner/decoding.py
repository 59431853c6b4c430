"""Decoding: greedy, beam search and sampling over a batch of images. It handles token ids, not words or pixels."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.forbidden_words import forbidden_words
from captioner.hypotheses import (
    IMPOSSIBLE,
    Choice,
    Hypotheses,
    agreed_lengths,
    common_prefixes,
    join,
    rank,
    rows_of_images,
)
from captioner.model.decoder import Decoder, DecoderState, Step
from captioner.model.draws import choose, draw_for_batch, seeded_generator
from captioner.model.label_attention import Labels
from captioner.ranks import BatchSlice
from captioner.text.vocabulary import END, PAD, START

_BLOCK = 64
"""Number of values of which `_top` first compares only the maximum."""


class SteppingDecoder(Protocol):
    """Interface of a decoder: `captioner.model.decoder.Decoder`, or a faster equivalent."""

    def prepare(self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None) -> Any: ...

    def initial_state(self, features: Any, captions: int) -> DecoderState: ...

    def step(self, features: Any, state: DecoderState, tokens: Tensor, location: str) -> Step: ...


@torch.no_grad()
def decode(
    decoder: SteppingDecoder,
    annotations: Tensor,
    options: DecodingOptions,
    on_words: Callable[[Hypotheses], None] | None = None,
    batch_slice: BatchSlice | None = None,
    nouns: Tensor | None = None,
    labels: Labels | None = None,
    padding: Tensor | None = None,
) -> Hypotheses:
    """Caption a batch of images: annotations [B, L, D] -> `options.captions_per_image` hypotheses for each.

    Every caption has at least one word and at most `max_words`: the end cannot be the first token, and must follow the
    last word. Finished hypotheses stay in the beam, so a beam as wide as the number of possible captions finds the best
    one. Images whose hypotheses have all finished are dropped from the batch once they are half of it, except when
    sampling or with `on_words`.

    on_words: called after each step in which more words of some image have become final: all hypotheses of its beam
    agree on them, so that every caption begins with them. It gets these beginnings, K = 1, with the sums for their
    words as log_probs and scores. It is not called for words that become final in the last step. An exception that it
    raises stops the decoding and propagates.
    batch_slice: slice of a larger batch that these images are, for sampling.
    nouns: bool [V], words that occur at most once in a caption unless `options.repeat_nouns`.
    labels: labels of the images; by default those that the encoder's classifier finds in the annotations.
    padding: bool [B, L], positions that are no annotation, for sentences of different lengths.
    """

    def to_tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device)

    sampling = options.temperature > 0
    width = options.captions_per_image if sampling else options.beam_width
    batch, device = annotations.shape[0], annotations.device
    if sampling:  # all at once, so that the number of draws does not depend on the captions' lengths
        uniforms = draw_for_batch(
            partial(_draw_uniforms, options.seed, device), (batch, width, options.max_words + 1), batch_slice
        )
    features = decoder.prepare(annotations, labels, padding)
    state = decoder.initial_state(features, width)

    # The few numbers of the beams are numpy's, where an operation takes a fraction of torch's time.
    is_noun = None if nouns is None else nouns.cpu().numpy()
    history = np.full((batch, width, 1), START)  # [B, K, 1 + T]
    totals = np.zeros((batch, width), np.float32)
    if not sampling:
        totals[:, 1:] = IMPOSSIBLE  # all hypotheses are equal at first: continue only one
    finished = np.zeros((batch, width), bool)
    tokens = to_tensor(history[:, :, 0])
    steps: list[Choice] = []
    images = np.arange(batch)  # images still in the search
    results: list[tuple[np.ndarray, Hypotheses]] = []  # of images that have finished
    announced_lengths = np.zeros(batch, int)
    for step in range(options.max_words + 1):
        output = decoder.step(features, state, tokens, options.hard_context)
        log_probs = output.logits.float().log_softmax(dim=-1)  # [B, K, V]
        log_probs.scatter_(-1, to_tensor(forbidden_words(history[:, :, 1:], options, is_noun)), IMPOSSIBLE)
        if step == options.max_words:
            log_probs[..., :END] = log_probs[..., END + 1 :] = IMPOSSIBLE
        if sampling:
            parents, words, gains = _sample(log_probs, to_tensor(finished), options, uniforms[..., step])
            totals = totals + gains.cpu().numpy()
        else:
            parents, words, gains, totals = _best_continuations(log_probs, totals, finished)
        label_alpha = output.alpha[..., :0] if output.label_alpha is None else output.label_alpha
        steps.append(Choice(parents, gains, output.alpha, output.gate, label_alpha))
        history = np.concatenate([rows_of_images(history, parents), words[:, :, None]], axis=-1)
        finished = (words <= END) | (totals == IMPOSSIBLE)  # END or PAD; do not wait for impossible hypotheses
        image_finished = finished.all(axis=1)  # [B]
        finished_images = np.count_nonzero(image_finished)
        if finished_images == len(image_finished):
            break
        state, tokens = output.state.select(to_tensor(parents)), to_tensor(words)
        if on_words is not None:
            final_lengths = agreed_lengths(history[:, :, 1:], totals)  # [B]
            if (final_lengths > announced_lengths).any():
                on_words(common_prefixes(steps, history[:, :, 1:], final_lengths))
                announced_lengths = final_lengths
        elif 2 * finished_images >= len(image_finished) and not sampling:  # a sample depends on all of a batch's draws
            done, rest = np.flatnonzero(image_finished), np.flatnonzero(~image_finished)
            finished_steps = [choice.rows(done) for choice in steps]
            results.append((images[done], rank(finished_steps, history[done, :, 1:], totals[done], options)))
            steps = [choice.rows(rest) for choice in steps]
            images, history, totals, finished = images[rest], history[rest], totals[rest], finished[rest]
            rest = to_tensor(rest)
            features, state, tokens = features.rows(rest), state.rows(rest), tokens[rest]
    return join([*results, (images, rank(steps, history[:, :, 1:], totals, options))])


def _draw_uniforms(seed: int | None, device: torch.device, shape: tuple[int, ...]) -> Tensor:
    generator = None if seed is None else seeded_generator(seed, device)
    return torch.rand(shape, generator=generator, device=device)


def _best_continuations(
    log_probs: Tensor, totals: np.ndarray, finished: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Tensor, np.ndarray]:
    """Return the K best of K * V continuations; a finished hypothesis has one, PAD at no cost.

    log_probs [B, K, V], overwritten for PAD; totals and finished [B, K] -> parents, words, gains and totals, [B, K].
    """
    device = log_probs.device
    open_totals, finished_totals = (
        torch.from_numpy(np.where(excluded, np.float32(IMPOSSIBLE), totals)).to(device)
        for excluded in (finished, ~finished)
    )
    log_probs.select(-1, PAD).fill_(0.0)
    candidates = log_probs + open_totals.unsqueeze(-1)
    candidates.select(-1, PAD).copy_(finished_totals)
    best, indices = _top(candidates.flatten(1), totals.shape[1])
    parents, words = np.divmod(indices.cpu().numpy(), log_probs.shape[-1])
    return parents, words, log_probs.flatten(1).gather(1, indices), best.cpu().numpy()


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of each row and their indices, as `topk` does: [B, N] -> [B, count], largest first.

    On a CPU, `topk` takes long for a batch. The blocks with the largest maxima hold the largest values, and it takes a
    third of the time to find these blocks and to sort them alone.
    """
    length = values.shape[1] // _BLOCK * _BLOCK
    if len(values) == 1 or length <= count * _BLOCK or values.device.type != "cpu":
        return values.topk(count, dim=-1)
    blocks = values[:, :length].unflatten(1, (-1, _BLOCK)).amax(dim=-1).topk(count, dim=-1).indices  # [B, count]
    in_blocks = (blocks.unsqueeze(-1) * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    after_blocks = torch.arange(length, values.shape[1]).expand(len(values), -1)
    indices = torch.cat([in_blocks, after_blocks], dim=1)
    best = values.gather(1, indices).topk(count, dim=-1)
    return best.values, indices.gather(1, best.indices)


def _sample(
    log_probs: Tensor, finished: Tensor, options: DecodingOptions, uniforms: Tensor
) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Sample one word for each hypothesis from softmax(log_probs / temperature), limited to the nucleus of `top_p`.

    A finished hypothesis continues with PAD at no cost. log_probs [B, K, V], overwritten; finished [B, K]; uniforms
    [B, K] from 0 to 1 -> parents, words, log-probabilities, all [B, K].
    """
    batch, width, _ = log_probs.shape
    log_probs.masked_fill_(finished.unsqueeze(-1), IMPOSSIBLE)
    log_probs[..., PAD].masked_fill_(finished, 0.0)
    probs = (log_probs / options.temperature).softmax(dim=-1)
    if options.top_p < 1:
        sorted_probs, order = probs.sort(dim=-1, descending=True)
        outside = sorted_probs.cumsum(dim=-1) - sorted_probs >= options.top_p  # keep the word that crosses the limit
        probs = torch.zeros_like(probs).scatter(-1, order, sorted_probs.masked_fill(outside, 0.0))
    tokens = choose(probs, uniforms)
    parents = np.tile(np.arange(width), (batch, 1))
    return parents, tokens.cpu().numpy(), log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def greedy(decoder: Decoder, annotations: Tensor, max_words: int = 20) -> Hypotheses:
    """Decode the most probable word at each step, with repeats allowed: the baseline of self-critical training."""
    return decode(decoder, annotations, DecodingOptions(beam_width=1, max_words=max_words, block_repeats=0))
