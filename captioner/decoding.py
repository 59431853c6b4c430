"""Decoding: greedy, beam search and sampling over a batch of images. It handles token ids, not words or pixels."""

from collections.abc import Callable
from dataclasses import dataclass
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
    sampling = options.temperature > 0
    width = options.captions_per_image if sampling else options.beam_width
    batch, device = annotations.shape[0], annotations.device
    if sampling:  # all at once, so that the number of draws does not depend on the captions' lengths
        uniforms = draw_for_batch(
            partial(_draw_uniforms, options.seed, device), (batch, width, options.max_words + 1), batch_slice
        )
    features = decoder.prepare(annotations, labels, padding)
    state = decoder.initial_state(features, width)
    is_noun = None if nouns is None else nouns.cpu().numpy()
    beams = _Beams.start(batch, width, equal=not sampling)
    results: list[tuple[np.ndarray, Hypotheses]] = []  # of images that have finished
    announced_lengths = np.zeros(batch, int)
    for step in range(options.max_words + 1):
        output = decoder.step(features, state, _to_tensor(beams.history[:, :, -1], device), options.hard_context)
        log_probs = output.logits.float().log_softmax(dim=-1)  # [B, K, V]
        log_probs.scatter_(-1, _to_tensor(forbidden_words(beams.words, options, is_noun), device), IMPOSSIBLE)
        if step == options.max_words:
            log_probs[..., :END] = log_probs[..., END + 1 :] = IMPOSSIBLE
        if sampling:
            parents, words, gains = _sample(log_probs, _to_tensor(beams.finished, device), options, uniforms[..., step])
            totals = beams.totals + gains.cpu().numpy()
        else:
            parents, words, gains, totals = _best_continuations(log_probs, beams.totals, beams.finished)
        label_alpha = output.alpha[..., :0] if output.label_alpha is None else output.label_alpha
        beams.extend(Choice(parents, gains, output.alpha, output.gate, label_alpha), words, totals)
        image_finished = beams.finished.all(axis=1)  # [B]
        if image_finished.all():
            break
        state = output.state.select(_to_tensor(parents, device))
        if on_words is not None:
            final_lengths = agreed_lengths(beams.words, beams.totals)  # [B]
            if (final_lengths > announced_lengths).any():
                on_words(common_prefixes(beams.steps, beams.words, final_lengths))
                announced_lengths = final_lengths
        elif not sampling and 2 * np.count_nonzero(image_finished) >= len(image_finished):
            done, rest = np.flatnonzero(image_finished), np.flatnonzero(~image_finished)
            results.append(beams.rows(done).ranked(options))
            beams, rest = beams.rows(rest), _to_tensor(rest, device)
            features, state = features.rows(rest), state.rows(rest)
    return join([*results, beams.ranked(options)])


@dataclass
class _Beams:
    """The hypotheses of the images that are still in the search.

    Their few numbers are numpy's, where an operation takes a fraction of torch's time.
    """

    images: np.ndarray  # [B], positions in the batch
    history: np.ndarray  # [B, K, 1 + T], ids, the start first
    totals: np.ndarray  # [B, K], log-probabilities in nats
    finished: np.ndarray  # bool [B, K]
    steps: list[Choice]  # T

    @classmethod
    def start(cls, batch: int, width: int, equal: bool) -> "_Beams":
        """Return beams without words. equal: whether all hypotheses of an image continue alike, so only one should."""
        totals = np.zeros((batch, width), np.float32)
        if equal:
            totals[:, 1:] = IMPOSSIBLE
        history = np.full((batch, width, 1), START)
        return cls(np.arange(batch), history, totals, np.zeros((batch, width), bool), [])

    @property
    def words(self) -> np.ndarray:
        """[B, K, T] ids, without the start"""
        return self.history[:, :, 1:]

    def extend(self, choice: Choice, words: np.ndarray, totals: np.ndarray) -> None:
        """Append a word to each hypothesis that `choice` continues: words and their new totals, [B, K]."""
        self.steps.append(choice)
        self.history = np.concatenate([rows_of_images(self.history, choice.parents), words[:, :, None]], axis=-1)
        self.totals = totals
        self.finished = (words <= END) | (totals == IMPOSSIBLE)  # END or PAD; do not wait for impossible hypotheses

    def rows(self, images: np.ndarray) -> "_Beams":
        """Return the beams of these images, [B']."""
        values = (self.images, self.history, self.totals, self.finished)
        return _Beams(*(each[images] for each in values), [choice.rows(images) for choice in self.steps])

    def ranked(self, options: DecodingOptions) -> tuple[np.ndarray, Hypotheses]:
        """Return the images, and their hypotheses, best first."""
        return self.images, rank(self.steps, self.words, self.totals, options)


def _to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """Return numbers of the beams as a tensor on the decoder's device."""
    return torch.from_numpy(values).to(device)


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
        _to_tensor(np.where(excluded, np.float32(IMPOSSIBLE), totals), device) for excluded in (finished, ~finished)
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
