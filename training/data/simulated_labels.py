"""Labels for sentences without photos: what an encoder's classifier might say of a photo that the sentence describes.

The constants make these labels resemble those of EfficientNet-Lite2 on 500 COCO photos, its eight likeliest labels
against one caption of each. Photos: for 68 % a label shares a word with the caption, for 46 % the first one does, whose
median probability is then 0.24, else 0.11. Simulated from 5,280 captions: 73 %, 47 %, 0.20 and 0.13.
"""

from collections.abc import Mapping, Sequence

import numpy as np

KEPT = 0.6
"""Probability that a word that names a class leads to a label."""

KEPT_MODIFIER = 0.055
"""The same of a word that only stands before the name of a thing: the "red" of a red wine."""
MODIFIER = 0.4
"""A word is such a one if it weighs less than this share of the class's weightiest word."""

MOST_RIGHT = 4
"""Words of a sentence that lead to labels, at most."""

KIN = 0.5
"""Share of the other labels that have a word in common with one of these; the rest are drawn from all classes."""

RIGHT_FIRST, KIN_FIRST = 3.0, 0.8
"""How much earlier than labels from anywhere the labels of the sentence's words and their kin come, in nats."""

FIRST, FIRST_SPREAD = 0.095, 0.8
"""Probability of the likeliest label, its median, where it is from anywhere; and its spread in nats."""
FIRST_RIGHT = 2.2
"""How many times as likely it is where it is one of a word of the sentence."""
SECOND, DECAY, SPREAD = 0.062, 0.9, 0.4
"""The label of rank k has the probability SECOND / (k - 1) ** DECAY, with this spread in nats."""
LARGEST = 0.97

_DRAWN = 3
"""Classes that are drawn for each label that is wanted, as some are drawn twice."""


class LabelSimulator:
    """Draws K labels for each sentence of a batch, all at once."""

    def __init__(self, words: Sequence[Mapping[int, float]], labels: int):
        """words: of each class the ids of the words that name it -> weights, as `LabelNames.words_of` tells. labels: K.

        Fewer than K labels are drawn where there are fewer classes.
        """
        self.classes, self.labels = len(words), min(labels, len(words))
        entries = [(number, word, weight) for number, of_class in enumerate(words) for word, weight in of_class.items()]
        class_of, word_of = (np.array([entry[part] for entry in entries], np.int64) for part in (0, 1))
        weight = np.array([entry[2] for entry in entries], np.float64)
        self._classes_of_word = _Draw(word_of, class_of, weight)
        self._words_of_class = _Draw(class_of, word_of, weight)
        heaviest = np.zeros(self.classes)
        np.maximum.at(heaviest, class_of, weight)
        self._kept = np.zeros(max(1, self._classes_of_word.keys))  # the padding names nothing
        names = weight >= MODIFIER * heaviest[class_of]
        np.maximum.at(self._kept, word_of, np.where(names, KEPT, KEPT_MODIFIER))

    def __call__(self, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Words of sentences [B, T], 0 where there is none -> classes [B, K] and probabilities [B, K], likeliest first.

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
        """Classes that words of each sentence name [B, A]; -1 where there are fewer."""
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
        """Classes for the labels that remain [B, M], and which of them are kin of right ones."""
        shape = len(right), _DRAWN * self.labels
        others = rng.integers(self.classes, size=shape)
        numbers = (right >= 0).sum(axis=1, keepdims=True)
        like = np.take_along_axis(right, (rng.random(shape) * numbers).astype(np.int64), axis=1)
        kin = (rng.random(shape) < KIN) & (numbers > 0)
        words = self._words_of_class(like[kin], rng)
        others[kin] = self._classes_of_word(words, rng)
        # K classes that differ, in case those that were drawn do not suffice.
        spare = (rng.integers(self.classes, size=(len(right), 1)) + np.arange(self.labels)) % self.classes
        return np.concatenate([others, spare], axis=1), np.concatenate([kin, np.zeros(spare.shape, bool)], axis=1)

    def _probabilities(self, knows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[B] whether the first label is right -> [B, K] falling probabilities that sum to at most 1."""
        rank = np.arange(1, self.labels)
        noise = rng.normal(size=(len(knows), self.labels))
        first = np.where(knows, FIRST_RIGHT, 1.0) * FIRST * np.exp(FIRST_SPREAD * noise[:, 0])
        rest = SECOND / rank**DECAY * np.exp(SPREAD * noise[:, 1:])
        found = -np.sort(-np.column_stack([np.minimum(first, LARGEST), rest]), axis=1)
        # What is left beside a first label that is sure is little.
        found[:, 1:] *= np.minimum(1, (1 - found[:, :1]) / np.maximum(found[:, 1:].sum(axis=1, keepdims=True), 1e-9))
        return found.astype(np.float32)


class _Draw:
    """Draws one of the values of a key, each with the probability of its weight."""

    def __init__(self, key: np.ndarray, value: np.ndarray, weight: np.ndarray):
        order = np.argsort(key, kind="stable")
        self.keys = int(key.max(initial=-1)) + 1
        self._value = value[order]
        self._sums = np.concatenate([[0.0], np.cumsum(weight[order])])
        self._starts = np.searchsorted(key[order], np.arange(self.keys + 1))

    def __call__(self, keys: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Every key must have a value."""
        start, end = self._starts[keys], self._starts[keys + 1]
        low, high = self._sums[start], self._sums[end]
        found = np.searchsorted(self._sums, low + (high - low) * rng.random(len(keys)), side="right") - 1
        return self._value[np.clip(found, start, end - 1)]


def _repeated(words: np.ndarray) -> np.ndarray:
    """Which words [B, T] stand earlier in their row."""
    same = words[:, :, None] == words[:, None, :]
    return np.tril(same, -1).any(axis=2)


def _unusable(drawn: np.ndarray) -> np.ndarray:
    """Which classes [B, M] stand earlier in their row, or are none."""
    return _repeated(drawn) | (drawn < 0)
