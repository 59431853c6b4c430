"""Batches grouped by image: the features of an image come once, with the captions that it teaches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioner.vocabulary import END, PAD, START, Vocabulary
from training.features import FeatureCache
from training.records import ImageRecord

MAX_TRAINING_WORDS = 30
"""Longer captions are cut here, and do not teach an end."""


@dataclass(frozen=True)
class Batch:
    """Some images with up to K captions each; rows that no caption fills hold only padding."""

    images: tuple[int, ...]
    """Positions of the images in the data set."""
    features: Tensor
    """[B, ...] rows of the feature cache"""
    inputs: Tensor
    """[B, K, T] the start and the words"""
    targets: Tensor
    """[B, K, T] the words and the end, PAD after it"""


class CaptionDataset:
    """The captions of one split as tokens, beside the caches that hold its images' features."""

    def __init__(
        self,
        records: Sequence[ImageRecord],
        vocabulary: Vocabulary,
        caches: Sequence[FeatureCache],
        least_batches: int = 0,
    ):
        """`caches`: views of the same photos (plain, mirrored); each time an image is used, one of them is drawn.

        least_batches: an epoch passes over the images as often as it takes for so many batches, at least once.
        """
        self.records, self.caches, self._least_batches = list(records), list(caches), least_batches
        self.tokens = [[vocabulary.encode(caption) for caption in record.captions] for record in self.records]
        self._longest = np.array([max(map(len, captions)) for captions in self.tokens])

    def __len__(self) -> int:
        return len(self.records)

    def order(self, epoch: int, batch_size: int, seed: int) -> list[np.ndarray]:
        """The batches of an epoch as positions of images.

        The same for the same epoch and seed, so that a resumed run goes on where it stopped.
        """
        # [seed, epoch, number] draws the captions of a batch: a pass must not draw the same.
        seeds = [[seed, epoch], *([seed, epoch, number, 0] for number in range(1, self._passes(batch_size)))]
        return [batch for each in seeds for batch in self._pass(np.random.default_rng(each), batch_size)]

    def batch_count(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return self._passes(batch_size) * self._pass_count(batch_size)

    def _passes(self, batch_size: int) -> int:
        """How often an epoch passes over the images."""
        return max(1, math.ceil(self._least_batches / self._pass_count(batch_size)))

    def _pass_count(self, batch_size: int) -> int:
        return math.ceil(len(self) / batch_size)

    def _pass(self, rng: np.random.Generator, batch_size: int) -> list[np.ndarray]:
        """Every image once: shuffled, each batch of images with similarly long captions."""
        shuffled = rng.permutation(len(self))
        pools = [shuffled[start : start + 32 * batch_size] for start in range(0, len(self), 32 * batch_size)]
        batches = []
        for pool in pools:
            by_length = pool[np.argsort(self._longest[pool], kind="stable")]
            batches += [by_length[start : start + batch_size] for start in range(0, len(pool), batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]

    def batches(
        self, epoch: int, batch_size: int, captions_per_image: int, seed: int, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of an epoch from the `first` on."""
        for number, images in enumerate(self.order(epoch, batch_size, seed)):
            if number >= first:
                yield self._batch(images, captions_per_image, np.random.default_rng([seed, epoch, number]))

    def _batch(self, images: np.ndarray, captions_per_image: int, rng: np.random.Generator) -> Batch:
        chosen = []
        for image in images:
            captions = self.tokens[image]
            picked = rng.permutation(len(captions))[:captions_per_image]
            chosen.append([captions[number] for number in picked])
        inputs, targets = pad_captions(chosen)
        return Batch(tuple(images.tolist()), self.features(images, rng), inputs, targets)

    def features(self, images: Sequence[int], rng: np.random.Generator | None = None) -> Tensor:
        """Rows [B, ...] of images at these positions; of the first view, or of one drawn by `rng` for each."""
        views = rng.integers(len(self.caches), size=len(images)) if rng is not None else np.zeros(len(images), int)
        paths = [self.records[image].path for image in images]
        rows = np.empty((len(images), *self.caches[0].shape), np.float16)
        for number, cache in enumerate(self.caches):
            where = np.flatnonzero(views == number)
            if len(where):
                rows[where] = cache.read([paths[position] for position in where])
        return torch.from_numpy(rows)


def pad_captions(captions: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Captions of images, as ids of words -> what the decoder is told and what it should predict, [B, K, T] each."""
    cut = [[list(caption[:MAX_TRAINING_WORDS]) for caption in of_image] for of_image in captions]
    rows = max(map(len, cut))
    length = 1 + max(len(caption) for of_image in cut for caption in of_image)
    inputs = torch.full((len(cut), rows, length), PAD)
    targets = torch.full((len(cut), rows, length), PAD)
    for image, of_image in enumerate(captions):
        for row, caption in enumerate(of_image):
            words = cut[image][row]
            inputs[image, row, : len(words) + 1] = torch.tensor([START, *words])
            following = words if len(caption) > len(words) else [*words, END]
            targets[image, row, : len(following)] = torch.tensor(following)
    return inputs, targets
