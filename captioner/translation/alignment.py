"""The attention matrix of a translation, in whole words."""

from collections.abc import Sequence

import numpy as np


def merge_pieces(weights: np.ndarray, source: Sequence[slice], target: Sequence[slice]) -> np.ndarray:
    """Merge the rows and columns of pieces into those of whole words: [m, n] -> [M, N].

    The weight of a source word is the sum of its pieces' weights, because attention to any of them is attention to the
    word. The row of a target word is the mean of its pieces' rows. A row that sums to 1 still does.
    source, target: each word's slice of the pieces, in order and without gaps.
    """
    if not len(source) or not len(target):
        return np.zeros((len(target), len(source)), weights.dtype)
    columns = np.add.reduceat(weights, [group.start for group in source], axis=1)
    rows = np.add.reduceat(columns, [group.start for group in target], axis=0)
    return rows / np.array([[group.stop - group.start] for group in target], weights.dtype)


def through_photo(weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return the photo maps of translated words: each is the mean of the caption's maps, weighted by attention.

    The matrix product of the two attentions: weights [M, N] over the caption's words, maps [N, H, W] -> [M, H, W].
    Every map sums to 1 if the rows and the maps do.
    """
    return np.tensordot(weights, maps, axes=1)


def onto_words(weights: np.ndarray, words: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Return weights [M, N] over `words` as weights [M, K] over `others`, other words of the same text.

    The weight of a word goes to the words that its characters lie in, by their number: a captioner counts "dog" and
    "'s" as two words where a translator reads one. A word of other characters loses its weight, and rows are scaled to
    sum to 1 again.
    """
    overlaps = np.zeros((len(words), len(others)))
    starts, other_starts = (np.cumsum([0, *map(len, each)]) for each in (words, others))
    for index, word in enumerate(words):
        begin, end = starts[index], starts[index + 1]
        shared = np.minimum(end, other_starts[1:]) - np.maximum(begin, other_starts[:-1])
        overlaps[index] = shared.clip(0) / max(1, len(word))
    moved = weights @ overlaps
    totals = moved.sum(axis=1, keepdims=True)
    return np.divide(moved, totals, out=np.zeros_like(moved), where=totals > 0)
