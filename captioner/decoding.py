"""Decoding: greedy, beam search and sampling over a batch of images. It handles token ids, not words or pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.forbidden_words import NEVER_GENERATED, forbidden_words
from captioner.hypotheses import (
    Choice,
    Hypotheses,
    agreed_lengths,
    common_prefixes,
    join,
    own_rows,
    rank,
    rows_of_images,
)
from captioner.model.decoder import Decoder
from captioner.model.decoder_step import IMPOSSIBLE, Beams, BeamStep, DecoderState, Step
from captioner.model.draws import choose, draw_for_batch, seeded_generator
from captioner.model.label_attention import Labels
from captioner.ranks import BatchSlice
from captioner.text.vocabulary import END, PAD, START


class SteppingDecoder(Protocol):
    """Interface of a decoder: `captioner.model.decoder.Decoder`, or a faster equivalent."""

    def prepare(self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None) -> Any: ...

    def initial_state(self, features: Any, captions: int) -> DecoderState: ...

    def step(self, features: Any, state: DecoderState, tokens: Tensor, location: str) -> Step: ...

    def beam_step(self, features: Any, state: DecoderState, beams: Beams, location: str) -> BeamStep: ...

    @property
    def vocabulary_size(self) -> int: ...


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
    limits = _Limits(options, nouns, decoder.vocabulary_size, device)
    beams = _Beams.start(batch, width, equal=not sampling)
    results: list[tuple[np.ndarray, Hypotheses]] = []  # of images that have finished
    announced_lengths = np.zeros(batch, int)
    for step in range(options.max_words + 1):
        if sampling:
            continuation = _sample(decoder, features, state, beams, limits, uniforms[..., step])
        else:
            continuation = _search(decoder, features, state, beams, limits)
        beams.extend(continuation)
        state = continuation.state
        image_finished = beams.finished.all(axis=1)  # [B]
        if image_finished.all():
            break
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


@dataclass(frozen=True)
class _Continuation:
    """The next word of each hypothesis."""

    choice: Choice
    words: np.ndarray  # [B, K] ids
    totals: np.ndarray  # [B, K], log-probabilities of the hypotheses with it, in nats
    state: DecoderState  # after it, of the hypotheses that `choice` continues


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

    @property
    def parents(self) -> np.ndarray:
        """[B, K], the hypotheses of the last step that these continue; at the start, these themselves"""
        return self.steps[-1].parents if self.steps else own_rows(self.totals.shape)

    def extend(self, continuation: _Continuation) -> None:
        """Append a word to each hypothesis that is continued."""
        choice, words, totals = continuation.choice, continuation.words, continuation.totals
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


class _Limits:
    """The words that must not come next, by the options of a search."""

    def __init__(self, options: DecodingOptions, nouns: Tensor | None, vocabulary_size: int, device: torch.device):
        self.options, self.device = options, device
        self._nouns = None if nouns is None else nouns.cpu().numpy()
        self._none = torch.zeros(vocabulary_size, device=device)
        self._columns = 2 * options.max_words + len(NEVER_GENERATED) + 2

    def forbidden(self, beams: "_Beams") -> Tensor:
        """Return `forbidden_words` of the hypotheses, [B, K, F] with the same F at every step."""
        words = forbidden_words(beams.words, self.options, self._nouns)
        padded = np.full((*words.shape[:2], self._columns), PAD)
        padded[..., : words.shape[-1]] = words
        return _to_tensor(padded, self.device)

    def penalties(self, beams: "_Beams") -> Tensor:
        """Return what to add to all log-probabilities, [V]: -inf for all but the end after the last word."""
        if len(beams.steps) < self.options.max_words:
            return self._none
        penalties = torch.full_like(self._none, IMPOSSIBLE)
        penalties[END] = 0.0
        return penalties


def _to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """Return numbers of the beams as a tensor on the decoder's device."""
    return torch.from_numpy(values).to(device)


def _draw_uniforms(seed: int | None, device: torch.device, shape: tuple[int, ...]) -> Tensor:
    generator = None if seed is None else seeded_generator(seed, device)
    return torch.rand(shape, generator=generator, device=device)


def _search(
    decoder: SteppingDecoder, features: Any, state: DecoderState, beams: _Beams, limits: _Limits
) -> _Continuation:
    """Take a step of beam search."""
    open_totals, finished_totals = (
        np.where(excluded, np.float32(IMPOSSIBLE), beams.totals) for excluded in (beams.finished, ~beams.finished)
    )
    numbers = beams.parents, beams.history[:, :, -1], open_totals, finished_totals
    operands = Beams(
        *(_to_tensor(values, limits.device) for values in numbers), limits.forbidden(beams), limits.penalties(beams)
    )
    output = decoder.beam_step(features, state, operands, limits.options.hard_context)
    parents, words = np.divmod(output.indices.cpu().numpy(), decoder.vocabulary_size)
    before = rows_of_images(beams.totals, parents)
    totals = np.minimum(output.totals.cpu().numpy(), before)  # no word has a probability above 1 by rounding
    gains = np.full_like(totals, IMPOSSIBLE)
    np.subtract(totals, before, out=gains, where=totals > IMPOSSIBLE)
    return _Continuation(_choice(parents, _to_tensor(gains, limits.device), output), words, totals, output.state)


def _choice(parents: np.ndarray, gains: Tensor, output: Step | BeamStep) -> Choice:
    label_alpha = output.alpha[..., :0] if output.label_alpha is None else output.label_alpha
    return Choice(parents, gains, output.alpha, output.gate, label_alpha)


def _sample(
    decoder: SteppingDecoder, features: Any, state: DecoderState, beams: _Beams, limits: _Limits, uniforms: Tensor
) -> _Continuation:
    """Sample one word for each hypothesis. uniforms: [B, K] from 0 to 1."""
    tokens = _to_tensor(beams.history[:, :, -1], limits.device)
    output = decoder.step(features, state, tokens, limits.options.hard_context)
    log_probs = output.logits.float().log_softmax(dim=-1)  # [B, K, V]
    log_probs = log_probs.add_(limits.penalties(beams)).scatter_(-1, limits.forbidden(beams), IMPOSSIBLE)
    words, gains = _draw_words(log_probs, _to_tensor(beams.finished, limits.device), limits.options, uniforms)
    totals = beams.totals + gains.cpu().numpy()
    return _Continuation(_choice(own_rows(totals.shape), gains, output), words.cpu().numpy(), totals, output.state)


def _draw_words(
    log_probs: Tensor, finished: Tensor, options: DecodingOptions, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw a word for each hypothesis from softmax(log_probs / temperature), limited to the nucleus of `top_p`.

    A finished hypothesis continues with PAD at no cost. log_probs [B, K, V], overwritten; finished [B, K]; uniforms
    [B, K] from 0 to 1 -> words and their log-probabilities, [B, K].
    """
    log_probs.masked_fill_(finished.unsqueeze(-1), IMPOSSIBLE)
    log_probs[..., PAD].masked_fill_(finished, 0.0)
    probs = (log_probs / options.temperature).softmax(dim=-1)
    if options.top_p < 1:
        sorted_probs, order = probs.sort(dim=-1, descending=True)
        outside = sorted_probs.cumsum(dim=-1) - sorted_probs >= options.top_p  # keep the word that crosses the limit
        probs = torch.zeros_like(probs).scatter(-1, order, sorted_probs.masked_fill(outside, 0.0))
    words = choose(probs, uniforms)
    return words, log_probs.gather(-1, words.unsqueeze(-1)).squeeze(-1)


def greedy(decoder: Decoder, annotations: Tensor, max_words: int = 20) -> Hypotheses:
    """Decode the most probable word at each step, with repeats allowed: the baseline of self-critical training."""
    return decode(decoder, annotations, DecodingOptions(beam_width=1, max_words=max_words, block_repeats=0))
