"""Batches of sentences without photos, to train the decoder on text alone.

The decoder is teacher-forced on such a sentence with a learned vector as its only annotation, and with simulated labels
of an imaginary photo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from captioner.errors import DataError
from captioner.model.label_attention import Labels
from captioner.ranks import BatchSlice, Ranks
from captioner.text.counting import counted
from captioner.text.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from training.data.readers.sentence_files import SentenceTexts
from training.data.simulated_labels import LabelSimulator
from training.options import MAX_TRAINING_WORDS

MAX_UNKNOWN_SHARE = 0.5
"""Maximum share of unknown words; sentences with more would teach the decoder to predict UNKNOWN."""

POOL = 16
"""Batches of similar length are taken from a random pool of this many times the batch size."""


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences, each as the only caption of an image that does not exist."""

    inputs: Tensor
    """[B, 1, T] start token and words"""
    targets: Tensor
    """[B, 1, T] words and end token, PAD after it"""
    labels: Labels | None = None
    """Simulated labels; None if the captioner attends to no labels."""
    batch_slice: BatchSlice | None = None
    """Slice of the batch that all ranks share; None if this is the whole batch."""

    def part(self, ranks: Ranks) -> "SentenceBatch":
        """Return this rank's share, padded to the longest sentence of the whole batch."""
        if ranks.size == 1:
            return self
        size = len(self.inputs)
        share = ranks.part(size)
        labels = self.labels and Labels(self.labels.classes[share], self.labels.probabilities[share])
        return SentenceBatch(self.inputs[share], self.targets[share], labels, ranks.batch_slice(size))

    def to(self, device: torch.device) -> "SentenceBatch":
        labels = self.labels and Labels(self.labels.classes.to(device), self.labels.probabilities.to(device))
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device), labels=labels)


class Sentences:
    """All sentences as word ids, in one array."""

    def __init__(
        self,
        texts: SentenceTexts,
        vocabulary: Vocabulary,
        label_words: Sequence[Mapping[int, float]] = (),
        labels: int = 0,
    ):
        """label_words: for each class of the encoder's classifier, the ids of the words that name it -> weights.

        labels: number of labels to simulate for each sentence; 0 for none.
        Raises DataError if most words of every sentence are unknown.
        """
        self.files, self.sha256 = texts.files, texts.sha256()
        ids = np.array([vocabulary.id_of(word) for word in texts.words], np.int32)[texts.numbers]
        lengths = np.diff(texts.starts)
        unknown = np.add.reduceat(ids == UNKNOWN, texts.starts[:-1], dtype=np.int64)
        usable = unknown <= MAX_UNKNOWN_SHARE * lengths
        if not usable.any():
            raise DataError(
                f"most words of every sentence of {', '.join(texts.files)} are unknown: lower --sentence-min-count,"
                " or leave --sentences out"
            )
        self.left_out = int(len(usable) - usable.sum())
        self._ids = ids[np.repeat(usable, lengths)]
        self._lengths = lengths[usable].astype(np.uint8)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])
        self._label_simulator = LabelSimulator(label_words, labels) if labels else None

    def __len__(self) -> int:
        return len(self._lengths)

    def batch(self, rng: np.random.Generator, size: int) -> SentenceBatch:
        """Draw `size` different sentences of similar length, or all of them if there are fewer.

        All sentences are equally probable.
        """
        pool = rng.choice(len(self), min(len(self), POOL * size), replace=False)
        by_length = pool[np.argsort(self._lengths[pool], kind="stable")]
        # Use the sorted sentences as a ring; otherwise the shortest and the longest would be drawn less often.
        first = int(rng.integers(len(by_length)))
        rows = np.roll(by_length, -first)[:size]
        words, inputs, targets = self._pad(rows)
        labels = None
        if self._label_simulator is not None:
            classes, probabilities = self._label_simulator(words, rng)
            labels = Labels(torch.from_numpy(classes), torch.from_numpy(probabilities))
        return SentenceBatch(inputs, targets, labels)

    def _pad(self, rows: np.ndarray) -> tuple[np.ndarray, Tensor, Tensor]:
        """Pad sentences, by index -> words [B, T - 1], inputs and targets [B, 1, T]; PAD after them.

        A sentence longer than `MAX_TRAINING_WORDS` words has no end token; captions are handled alike.
        """
        full_lengths = self._lengths[rows].astype(np.int64)
        lengths = np.minimum(full_lengths, MAX_TRAINING_WORDS)
        column = np.arange(lengths.max() + 1)
        exists = column < lengths[:, None]
        positions = np.where(exists, self._starts[rows][:, None] + column, 0)
        words = np.where(exists, self._ids[positions], PAD).astype(np.int64)
        complete = np.flatnonzero(full_lengths == lengths)
        targets = words.copy()
        targets[complete, lengths[complete]] = END
        inputs = np.concatenate([np.full((len(rows), 1), START), words[:, :-1]], axis=1)
        return words[:, :-1], torch.from_numpy(inputs).unsqueeze(1), torch.from_numpy(targets).unsqueeze(1)

    def lines(self) -> list[str]:
        """Return the lines that `fit` prints about excluded sentences."""
        if not self.left_out:
            return []
        left_out = counted(self.left_out, "sentence")
        return [f"left out: {left_out} of which most words are unknown; {len(self):,} are learned from"]
