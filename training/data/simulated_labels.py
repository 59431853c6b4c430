"""Simulated labels for sentences without photos: plausible output of an encoder's classifier for a matching photo.

The constants are fitted to the eight most probable labels of EfficientNet-Lite2 on 500 COCO photos, each with one
caption. For 68 % of the photos a label shares a word with the caption; for 46 % the first label does, whose median
probability is then 0.24, otherwise 0.11. Simulated from 5,280 captions: 73 %, 47 %, 0.20 and 0.13.
"""

from collections.abc import Mapping, Sequence

import numpy as np

KEPT = 0.6
"""Probability that a word that names a class leads to a label."""

KEPT_MODIFIER = 0.055
"""The same probability for a modifier before a noun: the "red" in "red wine"."""
MODIFIER = 0.4
"""A word is a modifier if its weight is less than this share of the class's largest weight."""

MOST_RIGHT = 4
"""Maximum number of words of a sentence that lead to labels."""

KIN = 0.5
"""Share of the other labels that share a word with one of these ("kin"); the rest are drawn from all classes."""

RIGHT_FIRST, KIN_FIRST = 3.0, 0.8
"""Advantage in the ranking, in nats, of labels of the sentence's words, and of their kin, over random labels."""

FIRST, FIRST_SPREAD = 0.095, 0.8
"""Median probability of the first label if it is a random one, and its spread in nats."""
FIRST_RIGHT = 2.2
"""Factor of that probability if the first label comes from a word of the sentence."""
SECOND, DECAY, SPREAD = 0.062, 0.9, 0.4
"""The label of rank k has the probability SECOND / (k - 1) ** DECAY, with this spread in nats."""
LARGEST = 0.97

_DRAWN = 3
"""Number of classes to draw for each label, as some are drawn twice."""


class LabelSimulator:
    """Simulator of K labels for each sentence of a batch."""

    def __init__(self, words: Sequence[Mapping[int, float]], labels: int):
        """words: for each class, ids of the words that name it -> weights, from `LabelNames.words_of`. labels: K.

        With fewer than K classes, K is the number of classes.
        """
        self.classes, self.labels = len(words), min(labels, len(words))
        entries = [(number, word, weight) for number, of_class in enumerate(words) for word, weight in of_class.items()]
        class_of, word_of = (np.array([entry[part] for entry in entries], np.int64) for part in (0, 1))
        weight = np.array([entry[2] for entry in entries], np.float64)
        self._classes_of_word = _Draw(word_of, class_of, weight)
        self._words_of_class = _Draw(class_of, word_of, weight)
        heaviest = np.zeros(self.classes)
        np.maximum.at(heaviest, class_of, weight)
        self._kept = np.zeros(max(1, self._classes_of_word.keys))  # padding names no class
        names = weight >= MODIFIER * heaviest[class_of]
        np.maximum.at(self._kept, word_of, np.where(names, KEPT, KEPT_MODIFIER))

    def __call__(self, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw labels: words [B, T], 0 for none -> classes [B, K] and probabilities [B, K], most probable first.

        The K classes of a sentence differ.
        """
        right = self._right(tokens, rng)  # [B, A]
        others, kin = self._others(right, rng)  # [B, M]
        drawn = np.concatenate([right, others], axis=1)
        lead = np.concatenate([np.full(right.shape, RIGHT_FIRST), np.where(kin, KIN_FIRST, 0.0)], axis=1)
        chosen = np.argsort(_unusable(drawn), axis=1, kind="stable")[:, : self.labels]
        drawn, lead = (np.take_along_axis(each, chosen, axis=1) for each in (drawn, lead))
        order = np.argsort(-(lead + rng.gumbel(size=lead.shape)), axis=1)
        drawn, lead = (np.take_along_axis(each, order, axis=1) for each in (drawn, lead))
        return drawn, self._probabilities(lead[:, 0] == RIGHT_FIRST, rng)

    def _right(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return classes [B, A] that words of each sentence name; -1 for none."""
        words = np.where(tokens < len(self._kept), tokens, 0)
        kept = rng.random(words.shape) < self._kept[words]
        rows, columns = np.nonzero(kept & ~_repeated(words))
        mixed = np.lexsort([rng.random(len(rows)), rows])
        rows, columns = rows[mixed], columns[mixed]
        position = np.arange(len(rows)) - np.searchsorted(rows, rows)
        few = position < MOST_RIGHT
        right = np.full((len(words), MOST_RIGHT), -1)
        right[rows[few], position[few]] = self._classes_of_word(words[rows, columns][few], rng)
        return right

    def _others(self, right: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return classes [B, M] for the remaining labels, and which of them are kin of right ones."""
        shape = len(right), _DRAWN * self.labels
        others = rng.integers(self.classes, size=shape)
        numbers = (right >= 0).sum(axis=1, keepdims=True)
        like = np.take_along_axis(right, (rng.random(shape) * numbers).astype(np.int64), axis=1)
        kin = (rng.random(shape) < KIN) & (numbers > 0)
        words = self._words_of_class(like[kin], rng)
        others[kin] = self._classes_of_word(words, rng)
        # K different classes, in case those that were drawn do not suffice.
        spare = (rng.integers(self.classes, size=(len(right), 1)) + np.arange(self.labels)) % self.classes
        return np.concatenate([others, spare], axis=1), np.concatenate([kin, np.zeros(spare.shape, bool)], axis=1)

    def _probabilities(self, knows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw falling probabilities [B, K] that sum to at most 1. knows: whether the first label is right, [B]."""
        rank = np.arange(1, self.labels)
        noise = rng.normal(size=(len(knows), self.labels))
        first = np.where(knows, FIRST_RIGHT, 1.0) * FIRST * np.exp(FIRST_SPREAD * noise[:, 0])
        rest = SECOND / rank**DECAY * np.exp(SPREAD * noise[:, 1:])
        found = -np.sort(-np.column_stack([np.minimum(first, LARGEST), rest]), axis=1)
        # A confident first label leaves little probability for the others.
        found[:, 1:] *= np.minimum(1, (1 - found[:, :1]) / np.maximum(found[:, 1:].sum(axis=1, keepdims=True), 1e-9))
        return found.astype(np.float32)


class _Draw:
    """Sampler of one value of each key, with probability proportional to its weight."""

    def __init__(self, key: np.ndarray, value: np.ndarray, weight: np.ndarray):
        order = np.argsort(key, kind="stable")
        self.keys = int(key.max(initial=-1)) + 1
        self._value = value[order]
        self._sums = np.concatenate([[0.0], np.cumsum(weight[order])])
        self._starts = np.searchsorted(key[order], np.arange(self.keys + 1))

    def __call__(self, keys: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sample a value for each key. Every key must have a value."""
        start, end = self._starts[keys], self._starts[keys + 1]
        low, high = self._sums[start], self._sums[end]
        found = np.searchsorted(self._sums, low + (high - low) * rng.random(len(keys)), side="right") - 1
        return self._value[np.clip(found, start, end - 1)]


def _repeated(words: np.ndarray) -> np.ndarray:
    """Return which words [B, T] occur earlier in their row."""
    same = words[:, :, None] == words[:, None, :]
    return np.tril(same, -1).any(axis=2)


def _unusable(drawn: np.ndarray) -> np.ndarray:
    """Return which classes [B, M] occur earlier in their row, or are -1."""
    return _repeated(drawn) | (drawn < 0)
