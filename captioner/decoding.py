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
from captioner.model.decoder import Decoder, DecoderState, Step
from captioner.model.draws import choose, draw_for_batch, seeded_generator
from captioner.model.label_attention import Labels
from captioner.ranks import BatchSlice
from captioner.vocabulary import END, PAD, START, UNKNOWN

IMPOSSIBLE = float("-inf")

_BLOCK = 64
"""Number of values of which `_top` first compares only the maximum."""


class SteppingDecoder(Protocol):
    """Interface of a decoder: `captioner.model.decoder.Decoder`, or a faster equivalent."""

    def prepare(self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None) -> Any: ...

    def initial_state(self, features: Any, captions: int) -> DecoderState: ...

    def step(self, features: Any, state: DecoderState, tokens: Tensor, location: str) -> Step: ...


@dataclass(frozen=True)
class Hypotheses:
    """Captions of a batch of images, each image's best first. Positions after a caption hold PAD and zeros."""

    tokens: Tensor
    """[B, K, T] ids, without start and end"""
    lengths: Tensor
    """[B, K] number of words"""
    log_probs: Tensor
    """[B, K] of the whole caption, its end included, in nats; -inf if fewer than K captions exist"""
    scores: Tensor
    """[B, K] ranking scores"""
    word_log_probs: Tensor
    """[B, K, T]"""
    alphas: Tensor
    """[B, K, T, L]"""
    gates: Tensor
    """[B, K, T]"""
    label_alphas: Tensor
    """[B, K, T, J + 1] attention to each of J labels and to "none of these"; without labels [B, K, T, 0]"""
    agreement: Tensor
    """[B, K, T] share of the beam's other hypotheses that contain the word anywhere; NaN if there is no other"""


@dataclass(frozen=True)
class _Choice:
    """Choice of one step for every hypothesis: a token, the parent that it continues, and their outputs. All [B, K]."""

    parents: Tensor
    tokens: Tensor
    word_log_probs: Tensor
    alphas: Tensor  # [B, K, L], indexed by parent, like the gates
    gates: Tensor
    label_alphas: Tensor  # [B, K, J + 1]

    def rows(self, images: Tensor) -> "_Choice":
        """Return the choice for these images of the batch, [B']."""
        return _Choice(*(values[images] for values in vars(self).values()))


@dataclass(frozen=True)
class _SearchResult:
    """Result of a search for some images of its batch."""

    images: Tensor  # [B'] indices in the batch
    steps: list[_Choice]
    totals: Tensor  # [B', K]

    def rows(self, images: Tensor) -> "_SearchResult":
        """Return the result for a subset of these images, indices [B']."""
        return _SearchResult(self.images[images], [choice.rows(images) for choice in self.steps], self.totals[images])


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

    # The few numbers of the beams are numpy's, where an operation takes a fraction of torch's time.
    to_tensor = partial(torch.as_tensor, device=device)
    noun_ids = None if nouns is None else nouns.cpu().numpy()
    history = np.full((batch, width, 1), START)  # [B, K, 1 + T]
    totals = np.zeros((batch, width), np.float32)
    if not sampling:
        totals[:, 1:] = IMPOSSIBLE  # all hypotheses are equal at first: continue only one
    finished = np.zeros((batch, width), bool)
    tokens = to_tensor(history[:, :, 0])
    steps: list[_Choice] = []
    images = torch.arange(batch, device=device)  # images still in the search
    finished_results: list[_SearchResult] = []
    announced_lengths = np.zeros(batch, int)
    for step in range(options.max_words + 1):
        output = decoder.step(features, state, tokens, options.hard_context)
        log_probs = output.logits.float().log_softmax(dim=-1)  # [B, K, V]
        log_probs.scatter_(-1, to_tensor(forbidden_words(history[:, :, 1:], options, noun_ids)), IMPOSSIBLE)
        if step == options.max_words:
            log_probs[..., :END] = log_probs[..., END + 1 :] = IMPOSSIBLE
        if sampling:
            parents, tokens, gains = _sample(log_probs, to_tensor(finished), options, uniforms[..., step])
            totals = totals + gains.cpu().numpy()
        else:
            parents, tokens, gains, totals = _best_continuations(log_probs, totals, finished)
        label_alpha = output.alpha[..., :0] if output.label_alpha is None else output.label_alpha
        steps.append(_Choice(parents, tokens, gains, output.alpha, output.gate, label_alpha))
        history = _extend(history, parents, tokens)
        # END, or PAD after it; do not wait for impossible hypotheses.
        finished = (history[:, :, -1] <= END) | (totals == IMPOSSIBLE)
        image_finished = finished.all(axis=1)  # [B]
        finished_images = np.count_nonzero(image_finished)
        if finished_images == len(image_finished):
            break
        state = output.state.select(parents)
        if on_words is not None:
            final_lengths = _agreed_lengths(history[:, :, 1:], totals)  # [B]
            if (final_lengths > announced_lengths).any():
                on_words(_common_prefixes(_trace_back(steps), to_tensor(final_lengths)))
                announced_lengths = final_lengths
        elif 2 * finished_images >= len(image_finished) and not sampling:  # a sample depends on all of a batch's draws
            result, rest = _SearchResult(images, steps, to_tensor(totals)), np.flatnonzero(~image_finished)
            finished_results.append(result.rows(to_tensor(np.flatnonzero(image_finished))))
            history, totals, finished = history[rest], totals[rest], finished[rest]
            rest = to_tensor(rest)
            images, steps, _ = vars(result.rows(rest)).values()
            features, state, tokens = features.rows(rest), state.rows(rest), tokens[rest]
    results = [*finished_results, _SearchResult(images, steps, to_tensor(totals))]
    return _rank(*_join_results(results), options)


def _draw_uniforms(seed: int | None, device: torch.device, shape: tuple[int, ...]) -> Tensor:
    generator = None if seed is None else seeded_generator(seed, device)
    return torch.rand(shape, generator=generator, device=device)


def _gather_rows(parents: Tensor, values: Tensor) -> Tensor:
    """Return the rows of `values` [B, K, ...] that `parents` [B, K] index; or for each word, if both have [B, K, T]."""
    rest = values.shape[parents.dim() :]
    return values.gather(1, parents.view(*parents.shape, *[1] * len(rest)).expand(*parents.shape, *rest))


def _extend(history: np.ndarray, parents: Tensor, tokens: Tensor) -> np.ndarray:
    """Continue the words of each parent with a token: [B, K, T], [B, K], [B, K] -> [B, K, T + 1]."""
    images = np.arange(len(history))[:, None]
    continued = history[images, parents.cpu().numpy()]
    return np.concatenate([continued, tokens.cpu().numpy()[:, :, None]], axis=-1)


def _best_continuations(
    log_probs: Tensor, totals: np.ndarray, finished: np.ndarray
) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Return the K best of K * V continuations; a finished hypothesis has one, PAD at no cost.

    log_probs [B, K, V], overwritten for PAD; totals and finished [B, K] -> parents, tokens, gains and totals, [B, K].
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
    parents, tokens = np.divmod(indices.cpu().numpy(), log_probs.shape[-1])
    parents, tokens = torch.from_numpy(parents).to(device), torch.from_numpy(tokens).to(device)
    return parents, tokens, log_probs.flatten(1).gather(1, indices), best.cpu().numpy()


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one word for each hypothesis from softmax(log_probs / temperature), limited to the nucleus of `top_p`.

    A finished hypothesis continues with PAD at no cost. log_probs [B, K, V], overwritten; finished [B, K]; uniforms
    [B, K] from 0 to 1 -> parents, tokens, log-probabilities, all [B, K].
    """
    batch, width, _ = log_probs.shape
    log_probs.masked_fill_(finished.unsqueeze(-1), IMPOSSIBLE)
    log_probs[..., PAD].masked_fill_(finished, 0.0)
    probs = (log_probs / options.temperature).softmax(dim=-1)
    if options.top_p < 1:
        sorted_probs, words = probs.sort(dim=-1, descending=True)
        outside = sorted_probs.cumsum(dim=-1) - sorted_probs >= options.top_p  # keep the word that crosses the limit
        probs = torch.zeros_like(probs).scatter(-1, words, sorted_probs.masked_fill(outside, 0.0))
    tokens = choose(probs, uniforms)
    parents = torch.arange(width, device=tokens.device).expand(batch, -1)
    return parents, tokens, log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _trace_back(steps: list[_Choice]) -> _Choice:
    """Trace each final hypothesis back to its first word: the choices of its steps, [B, K, T] and [B, K, T, L]."""
    lineage = torch.arange(steps[-1].tokens.shape[1], device=steps[-1].tokens.device).expand_as(steps[-1].tokens)
    rows, parents = [], []  # of each step, last first: [B, K]
    for choice in reversed(steps):
        rows.append(lineage)
        lineage = _gather_rows(lineage, choice.parents)
        parents.append(lineage)
    own, by_parent = (torch.stack(indices[::-1], dim=2) for indices in (rows, parents))  # [B, K, T]
    _, *columns = (torch.stack(values, dim=2) for values in zip(*(vars(step).values() for step in steps), strict=True))
    indices = own, own, by_parent, by_parent, by_parent
    return _Choice(lineage, *(_gather_rows(index, column) for index, column in zip(indices, columns, strict=True)))


def _join_results(results: list[_SearchResult]) -> tuple[_Choice, Tensor]:
    """Join results for all images, in the order of the batch; return the choices and their totals [B, K]."""
    if len(results) == 1:  # the usual case, and always for one image
        return _trace_back(results[0].steps), results[0].totals
    order = torch.cat([result.images for result in results]).argsort()
    longest = max(len(result.steps) for result in results)
    traced_results = [vars(_trace_back(result.steps)).values() for result in results]
    lineage, *columns = zip(*traced_results, strict=True)
    padded = [torch.cat([_pad_steps(value, longest) for value in column])[order] for column in columns]
    return _Choice(torch.cat(lineage)[order], *padded), torch.cat([result.totals for result in results])[order]


def _pad_steps(values: Tensor, length: int) -> Tensor:
    """Pad with zeros, which stand for PAD: [B, K, T, ...] -> [B, K, length, ...]."""
    padding = values.new_zeros(*values.shape[:2], length - values.shape[2], *values.shape[3:])
    return torch.cat([values, padding], dim=2)


def _agreed_lengths(words: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the length of the common beginning of all possible hypotheses: [B, K, T], [B, K] -> [B]."""
    agrees = (words == words[:, :1]) | (totals == IMPOSSIBLE)[..., None]
    return (agrees.all(axis=1) & (words[:, 0] > UNKNOWN)).cumprod(axis=-1).sum(axis=-1)


def _common_prefixes(traced: _Choice, lengths: Tensor) -> Hypotheses:
    """Return the first `lengths` [B] words of each image's first hypothesis."""
    first = _Choice(*(values[:, :1] for values in vars(traced).values()))
    is_word = torch.arange(int(lengths.max()), device=lengths.device) < lengths.view(-1, 1, 1)  # [B, 1, T]
    log_probs = (first.word_log_probs[..., : is_word.shape[-1]] * is_word).sum(dim=-1)
    return _make_hypotheses(first, is_word, log_probs, log_probs, torch.ones_like(first.gates))  # all share these words


def _rank(traced: _Choice, totals: Tensor, options: DecodingOptions) -> Hypotheses:
    is_word = traced.tokens > UNKNOWN  # [B, K, T]
    lengths = is_word.sum(dim=-1)
    scores = totals / lengths.clamp(min=1) ** options.length_penalty
    order = scores.sort(dim=-1, descending=True, stable=True).indices[:, : options.captions_per_image]
    agreement = _gather_rows(order, _agreement(traced.tokens * is_word, totals))
    best = _Choice(*(_gather_rows(order, values) for values in vars(traced).values()))
    is_word = _gather_rows(order, is_word)[..., : int(lengths.max())]
    return _make_hypotheses(best, is_word, totals.gather(1, order), scores.gather(1, order), agreement)


def _agreement(tokens: Tensor, totals: Tensor) -> Tensor:
    """Return the share of the other possible hypotheses that contain each word.

    tokens [B, K, T], totals [B, K] -> [B, K, T]; NaN if there is no other.
    """
    possible = ~totals.isneginf()
    # Count by word ids: comparing all words of all hypotheses would take K * T times the features.
    contains_word = totals.new_zeros(*tokens.shape[:2], int(tokens.max()) + 1).scatter_(2, tokens, 1.0)
    counts = (contains_word * possible.unsqueeze(-1)).sum(dim=1, keepdim=True).expand_as(contains_word)  # [B, K, V]
    others = possible.sum(dim=1).sub(1).view(-1, 1, 1)
    return ((counts.gather(2, tokens) - 1) / others.clamp(min=1)).masked_fill(others < 1, float("nan"))


def _make_hypotheses(
    traced: _Choice, is_word: Tensor, log_probs: Tensor, scores: Tensor, agreement: Tensor
) -> Hypotheses:
    """Make hypotheses of traced choices, with PAD and zeros where there is no word: is_word [B, K, T]."""
    longest = is_word.shape[-1]
    word_log_probs = traced.word_log_probs[..., :longest]
    return Hypotheses(
        tokens=traced.tokens[..., :longest] * is_word,
        lengths=is_word.sum(dim=-1),
        log_probs=log_probs,
        scores=scores,
        word_log_probs=word_log_probs.where(is_word, torch.zeros_like(word_log_probs)),
        alphas=traced.alphas[:, :, :longest] * is_word.unsqueeze(-1),
        gates=traced.gates[..., :longest] * is_word,
        label_alphas=traced.label_alphas[:, :, :longest] * is_word.unsqueeze(-1),
        agreement=agreement[..., :longest].where(is_word, torch.zeros_like(word_log_probs)),
    )


def greedy(decoder: Decoder, annotations: Tensor, max_words: int = 20) -> Hypotheses:
    """Decode the most probable word at each step, with repeats allowed: the baseline of self-critical training."""
    return decode(decoder, annotations, DecodingOptions(beam_width=1, max_words=max_words, block_repeats=0))
