"""Hypotheses of a search: traced back to their first words, ranked, and joined for a batch of images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.model.decoder_step import IMPOSSIBLE
from captioner.text.vocabulary import UNKNOWN


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
class Choice:
    """Choice of one step for every hypothesis: the parent that it continues, and outputs for its word. All [B, K]."""

    parents: np.ndarray
    word_log_probs: Tensor
    alphas: Tensor  # [B, K, L], indexed by parent, like the gates
    gates: Tensor
    label_alphas: Tensor  # [B, K, J + 1]

    def rows(self, images: np.ndarray) -> "Choice":
        """Return the choice for these images of the batch, [B']."""
        parents, *outputs = vars(self).values()
        index = torch.from_numpy(images).to(self.alphas.device)
        return Choice(parents[images], *(values[index] for values in outputs))


def rows_of_images(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows of each image: [B, K, ...], indices [B, C] -> [B, C, ...]."""
    return values[np.arange(len(values))[:, None], rows]


def own_rows(shape: tuple[int, int]) -> np.ndarray:
    """Return the indices of all K hypotheses of each image, [B, K]."""
    return np.tile(np.arange(shape[1]), (shape[0], 1))


def agreed_lengths(words: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the length of the common beginning of all possible hypotheses: [B, K, T], [B, K] -> [B]."""
    agrees = (words == words[:, :1]) | (totals == IMPOSSIBLE)[..., None]
    return (agrees.all(axis=1) & (words[:, 0] > UNKNOWN)).cumprod(axis=-1).sum(axis=-1)


def common_prefixes(steps: list[Choice], words: np.ndarray, lengths: np.ndarray) -> Hypotheses:
    """Return the first `lengths` [B] words of each image's first hypothesis; words [B, K, T]."""
    first = np.zeros((len(words), 1), int)
    is_word = np.arange(lengths.max()) < lengths[:, None, None]  # [B, 1, T]
    traced = _trace_back(steps, first)
    log_probs = (traced[0][..., : is_word.shape[-1]] * _like(traced[0], is_word)).sum(dim=-1)
    shared_by_all = np.ones(is_word.shape, np.float32)
    return _make_hypotheses(traced, words[:, :1], is_word, log_probs, log_probs, shared_by_all)


def rank(steps: list[Choice], words: np.ndarray, totals: np.ndarray, options: DecodingOptions) -> Hypotheses:
    """Return the best hypotheses of a search, best first: words [B, K, T], totals [B, K]."""
    is_word = words > UNKNOWN
    lengths = is_word.sum(axis=-1)
    log_probs = torch.from_numpy(totals)
    scores = log_probs / torch.from_numpy(lengths).clamp(min=1) ** options.length_penalty
    scores, order = scores.sort(dim=-1, descending=True, stable=True)
    scores, order = scores[:, : options.captions_per_image], order[:, : options.captions_per_image]
    best = order.numpy()
    words, agreement = (rows_of_images(each, best) for each in (words, _agreement(words * is_word, totals)))
    is_word = rows_of_images(is_word, best)[..., : lengths.max()]
    return _make_hypotheses(_trace_back(steps, best), words, is_word, log_probs.gather(1, order), scores, agreement)


def _agreement(words: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the share of the other possible hypotheses that contain each word.

    words [B, K, T], totals [B, K] -> [B, K, T]; NaN if there is no other.
    """
    images, rows = np.ogrid[: words.shape[0], : words.shape[1]]
    # Count by word ids: comparing all words of all hypotheses would take K * T times the features.
    contains_word = np.zeros((*totals.shape, words.max() + 1), np.float32)
    contains_word[images[..., None], rows[..., None], words] = 1.0
    possible = totals != IMPOSSIBLE
    counts = (contains_word * possible[..., None]).sum(axis=1)  # [B, V]
    others = (possible.sum(axis=1) - 1).astype(np.float32)[:, None, None]
    shares = (counts[images[..., None], words] - 1) / others.clip(min=1)
    return np.where(others < 1, np.float32("nan"), shares)


def _make_hypotheses(
    traced: list[Tensor],
    words: np.ndarray,
    is_word: np.ndarray,
    log_probs: Tensor,
    scores: Tensor,
    agreement: np.ndarray,
) -> Hypotheses:
    """Make hypotheses of traced outputs, with PAD and zeros where there is no word: is_word [B, C, T]."""
    longest = is_word.shape[-1]
    word_log_probs, alphas, gates, label_alphas = (values[:, :, :longest] for values in traced)
    mask = _like(word_log_probs, is_word)
    return Hypotheses(
        tokens=_like(word_log_probs, words[..., :longest] * is_word),
        lengths=mask.sum(dim=-1),
        log_probs=log_probs.to(mask.device),
        scores=scores.to(mask.device),
        word_log_probs=word_log_probs.where(mask, 0.0),
        alphas=alphas * mask.unsqueeze(-1),
        gates=gates * mask,
        label_alphas=label_alphas * mask.unsqueeze(-1),
        agreement=_like(word_log_probs, np.where(is_word, agreement[..., :longest], np.float32(0))),
    )


def _like(tensor: Tensor, values: np.ndarray) -> Tensor:
    """Return values as a tensor on the device of another."""
    return torch.from_numpy(values).to(tensor.device)


def join(results: list[tuple[np.ndarray, Hypotheses]]) -> Hypotheses:
    """Join hypotheses of images, given by their indices [B'], in the order of the batch."""
    if len(results) == 1:  # the usual case, and always for one image
        return results[0][1]
    images, hypotheses = zip(*results, strict=True)
    longest = max(each.tokens.shape[2] for each in hypotheses)
    order = torch.from_numpy(np.concatenate(images).argsort()).to(hypotheses[0].tokens.device)
    columns = zip(*(vars(each).values() for each in hypotheses), strict=True)
    return Hypotheses(*(torch.cat([_pad_words(values, longest) for values in column])[order] for column in columns))


def _pad_words(values: Tensor, length: int) -> Tensor:
    """Pad values of words with zeros, which stand for PAD: [B, C, T, ...] -> [B, C, length, ...]; or leave [B, C]."""
    if values.dim() == 2:
        return values
    padding = values.new_zeros(*values.shape[:2], length - values.shape[2], *values.shape[3:])
    return torch.cat([values, padding], dim=2)


def _trace_back(steps: list[Choice], rows: np.ndarray) -> list[Tensor]:
    """Trace final hypotheses back to their first words: their word_log_probs [B, C, T] and other outputs of each step.

    rows: [B, C] indices of the hypotheses.
    """
    own, by_parent = [], []  # rows in the outputs of each step, last first: [B, C]
    for choice in reversed(steps):
        own.append(rows)
        rows = rows_of_images(choice.parents, rows)
        by_parent.append(rows)
    own, by_parent = (torch.from_numpy(np.stack(indices[::-1], axis=2)) for indices in (own, by_parent))  # [B, C, T]
    images, positions = torch.arange(len(own))[:, None, None], torch.arange(len(steps))
    _, *columns = zip(*(vars(step).values() for step in steps), strict=True)
    indices = own, by_parent, by_parent, by_parent
    return [torch.stack(column)[positions, images, index] for column, index in zip(columns, indices, strict=True)]
