"""Simulated labels for sentences without photos: plausible output of an encoder's classifier for a matching photo.

The constants are fitted to the eight most probable labels of EfficientNet-Lite2 on 500 COCO photos, each with one
caption. For 68 % of the photos a label shares a word with the caption; for 46 % the first label does, whose median
probability is then 0.24, otherwise 0.11. Simulated from 5,280 captions: 73 %, 47 %, 0.20 and 0.13.
"""

from collections.abc import Mapping, Sequence

import numpy as np

LABEL_PROBABILITY = 0.6
"""Probability that a word that names a class leads to a label."""

MODIFIER_PROBABILITY = 0.055
"""The same probability for a modifier before a noun: the "red" in "red wine"."""
MODIFIER_WEIGHT = 0.4
"""A word is a modifier if its weight is less than this share of the class's largest weight."""

MAX_RIGHT = 4
"""Maximum number of words of a sentence that lead to labels."""

KIN_SHARE = 0.5
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

_DRAWS_PER_LABEL = 3
"""Number of classes to draw for each label, as some are drawn twice."""


class LabelSimulator:
    """Simulator of K labels for each sentence of a batch."""

    def __init__(self, words: Sequence[Mapping[int, float]], labels: int):
        """words: for each class, ids of the words that name it -> weights, from `LabelNames.words_of`. labels: K.

        With fewer than K classes, K is the number of classes.
        """
        self.classes, self.labels = len(words), min(labels, len(words))
        entries = [(index, word, weight) for index, weights in enumerate(words) for word, weight in weights.items()]
        class_of, word_of = (np.array([entry[column] for entry in entries], np.int64) for column in (0, 1))
        weight = np.array([entry[2] for entry in entries], np.float64)
        self._classes_of_word = _WeightedSampler(word_of, class_of, weight)
        self._words_of_class = _WeightedSampler(class_of, word_of, weight)
        heaviest = np.zeros(self.classes)
        np.maximum.at(heaviest, class_of, weight)
        self._label_probability = np.zeros(max(1, self._classes_of_word.keys))  # padding names no class
        names = weight >= MODIFIER_WEIGHT * heaviest[class_of]
        np.maximum.at(self._label_probability, word_of, np.where(names, LABEL_PROBABILITY, MODIFIER_PROBABILITY))

    def __call__(self, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw labels: words [B, T], 0 for none -> classes [B, K] and probabilities [B, K], most probable first.

        The K classes of a sentence differ.
        """
        right = self._draw_right(tokens, rng)  # [B, A]
        others, kin = self._draw_others(right, rng)  # [B, M]
        classes = np.concatenate([right, others], axis=1)
        advantage = np.concatenate([np.full(right.shape, RIGHT_FIRST), np.where(kin, KIN_FIRST, 0.0)], axis=1)
        columns = np.argsort(_find_unusable(classes), axis=1, kind="stable")[:, : self.labels]
        classes, advantage = (np.take_along_axis(values, columns, axis=1) for values in (classes, advantage))
        ranking = np.argsort(-(advantage + rng.gumbel(size=advantage.shape)), axis=1)
        classes, advantage = (np.take_along_axis(values, ranking, axis=1) for values in (classes, advantage))
        return classes, self._draw_probabilities(advantage[:, 0] == RIGHT_FIRST, rng)

    def _draw_right(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return classes [B, A] that words of each sentence name; -1 for none."""
        words = np.where(tokens < len(self._label_probability), tokens, 0)
        keep_mask = rng.random(words.shape) < self._label_probability[words]
        rows, columns = np.nonzero(keep_mask & ~_find_repeats(words))
        shuffle = np.lexsort([rng.random(len(rows)), rows])
        rows, columns = rows[shuffle], columns[shuffle]
        position = np.arange(len(rows)) - np.searchsorted(rows, rows)
        fits = position < MAX_RIGHT
        right = np.full((len(words), MAX_RIGHT), -1)
        right[rows[fits], position[fits]] = self._classes_of_word(words[rows, columns][fits], rng)
        return right

    def _draw_others(self, right: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return classes [B, M] for the remaining labels, and which of them are kin of right ones."""
        shape = len(right), _DRAWS_PER_LABEL * self.labels
        others = rng.integers(self.classes, size=shape)
        counts = (right >= 0).sum(axis=1, keepdims=True)
        related = np.take_along_axis(right, (rng.random(shape) * counts).astype(np.int64), axis=1)
        kin = (rng.random(shape) < KIN_SHARE) & (counts > 0)
        words = self._words_of_class(related[kin], rng)
        others[kin] = self._classes_of_word(words, rng)
        # K different classes, in case those that were drawn do not suffice.
        spare = (rng.integers(self.classes, size=(len(right), 1)) + np.arange(self.labels)) % self.classes
        return np.concatenate([others, spare], axis=1), np.concatenate([kin, np.zeros(spare.shape, bool)], axis=1)

    def _draw_probabilities(self, first_is_right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw falling probabilities [B, K] that sum to at most 1.

        first_is_right: whether the first label is of a word of the sentence, [B].
        """
        rank = np.arange(1, self.labels)
        noise = rng.normal(size=(len(first_is_right), self.labels))
        first = np.where(first_is_right, FIRST_RIGHT, 1.0) * FIRST * np.exp(FIRST_SPREAD * noise[:, 0])
        rest = SECOND / rank**DECAY * np.exp(SPREAD * noise[:, 1:])
        probabilities = -np.sort(-np.column_stack([np.minimum(first, LARGEST), rest]), axis=1)
        # A confident first label leaves little probability for the others.
        others = probabilities[:, 1:]
        others *= np.minimum(1, (1 - probabilities[:, :1]) / np.maximum(others.sum(axis=1, keepdims=True), 1e-9))
        return probabilities.astype(np.float32)


class _WeightedSampler:
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
        index = np.searchsorted(self._sums, low + (high - low) * rng.random(len(keys)), side="right") - 1
        return self._value[np.clip(index, start, end - 1)]


def _find_repeats(words: np.ndarray) -> np.ndarray:
    """Return which words [B, T] occur earlier in their row."""
    same = words[:, :, None] == words[:, None, :]
    return np.tril(same, -1).any(axis=2)


def _find_unusable(classes: np.ndarray) -> np.ndarray:
    """Return which classes [B, M] occur earlier in their row, or are -1."""
    return _find_repeats(classes) | (classes < 0)
