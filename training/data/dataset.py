"""Batches grouped by image: the features of an image occur once, with several of its captions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioner.ranks import ALONE, BatchSlice, Ranks
from captioner.text.vocabulary import END, PAD, START, Vocabulary
from training.data.boxes.supervision import Regions
from training.data.features import FeatureCache
from training.data.mixing import Balance
from training.data.records import ImageRecord
from training.data.sentences import SentenceBatch
from training.options import MAX_TRAINING_WORDS
from training.random_streams import BATCH, ORDER, stream

MIRRORED = 1
"""Index of the view of mirror images."""


@dataclass(frozen=True)
class Batch:
    """Images with up to K captions each; rows without a caption hold only padding."""

    images: tuple[int, ...]
    """Positions of the images in the data set."""
    features: Tensor
    """[B, ...] rows of the feature cache"""
    inputs: Tensor
    """[B, K, T] start token and words"""
    targets: Tensor
    """[B, K, T] words and end token, PAD after it"""
    inside: Tensor | None = None
    """[B, K, T, L] share of each location inside the boxes of the object that the word names; 0 for other words"""
    seed: int = 0
    """Seed of the random draws of its training step."""
    batch_slice: BatchSlice | None = None
    """Slice of the batch that all ranks share; None if this is the whole batch."""
    sentences: SentenceBatch | None = None
    """Sentences without photos to train on along with the images."""


class CaptionDataset:
    """Captions of one split as tokens, with the caches of its images' features."""

    def __init__(
        self,
        records: Sequence[ImageRecord],
        vocabulary: Vocabulary,
        caches: Sequence[FeatureCache],
        least_batches: int = 0,
        regions: Sequence[Regions] | None = None,
        balance: Balance | None = None,
    ):
        """caches: views of the same photos (plain, mirrored); one is drawn each time that an image is used.

        least_batches: an epoch repeats the images until it has this many batches, at least once.
        regions: for each image, the target regions of words' attention; by default none.
        balance: how often an epoch uses the images of each data set; by default each image once.
        """
        self.records, self.caches, self._least_batches = list(records), list(caches), least_batches
        self._regions, self.balance = regions, balance
        self.tokens = [[vocabulary.encode(caption) for caption in record.captions] for record in self.records]
        self._longest = np.array([max(map(len, captions)) for captions in self.tokens])

    def __len__(self) -> int:
        return len(self.records)

    @property
    def new_records(self) -> list[ImageRecord]:
        """Records to train on, without replayed earlier data."""
        return self.records

    def order(self, epoch: int, batch_size: int, seed: int) -> list[np.ndarray]:
        """Return the batches of an epoch as indices of images.

        The order depends only on epoch and seed, so that a run can be resumed.
        """
        passes, batches = self._passes(batch_size), []
        for number in range(passes):
            rng = stream(seed, ORDER, epoch, number)
            images = np.arange(len(self.new_records))
            if self.balance is not None:
                images = self.balance.positions(seed, epoch * passes + number)
            batches += self._pass(rng, rng.permutation(images), batch_size)
        return batches

    def batch_count(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return self._passes(batch_size) * self._pass_count(batch_size)

    def _passes(self, batch_size: int) -> int:
        """Return how often an epoch passes over the images."""
        return max(1, math.ceil(self._least_batches / self._pass_count(batch_size)))

    def _pass_count(self, batch_size: int) -> int:
        return math.ceil(len(self) / batch_size)

    def _pass(self, rng: np.random.Generator, shuffled: np.ndarray, batch_size: int) -> list[np.ndarray]:
        """Divide shuffled images into batches of images with captions of similar length."""
        pools = [shuffled[start : start + 32 * batch_size] for start in range(0, len(shuffled), 32 * batch_size)]
        batches = []
        for pool in pools:
            by_length = pool[np.argsort(self._longest[pool], kind="stable")]
            batches += [by_length[start : start + batch_size] for start in range(0, len(pool), batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]

    def batches(
        self, epoch: int, batch_size: int, captions_per_image: int, seed: int, first: int = 0, ranks: Ranks = ALONE
    ) -> Iterator[Batch]:
        """Yield this rank's share of each batch of an epoch, from batch number `first`."""
        for number, images in enumerate(self.order(epoch, batch_size, seed)):
            if number >= first:
                yield self._batch(images, captions_per_image, stream(seed, BATCH, epoch, number), ranks)

    def _batch(self, images: np.ndarray, captions_per_image: int, rng: np.random.Generator, ranks: Ranks) -> Batch:
        """Draw and pad for the whole batch, so that all ranks agree; then take this rank's share."""
        selection = [rng.permutation(len(self.tokens[image]))[:captions_per_image] for image in images]
        inputs, targets = pad_captions(
            [[self.tokens[image][index] for index in indices] for image, indices in zip(images, selection, strict=True)]
        )
        views = rng.integers(len(self.caches), size=len(images))
        seed, share, batch_slice = int(rng.integers(2**63)), ranks.part(len(images)), ranks.batch_slice(len(images))
        images, selection, views, inputs, targets = (
            values[share] for values in (images, selection, views, inputs, targets)
        )
        inside = self._target_regions(images, selection, views, inputs.shape) if self._regions is not None else None
        return Batch(tuple(images.tolist()), self.features(images, views), inputs, targets, inside, seed, batch_slice)

    def features(self, images: Sequence[int], views: np.ndarray | None = None) -> Tensor:
        """Return the features [B, ...] of images by index, each from its view in `views`, by default the first."""
        views = views if views is not None else np.zeros(len(images), int)
        paths = [self.records[image].path for image in images]
        rows = np.empty((len(images), *self.caches[0].shape), np.float16)
        for view, cache in enumerate(self.caches):
            indices = np.flatnonzero(views == view)
            if len(indices):
                rows[indices] = cache.read([paths[index] for index in indices])
        return torch.from_numpy(rows)

    def _target_regions(
        self, images: np.ndarray, caption_indices: Sequence[np.ndarray], views: np.ndarray, shape: Sequence[int]
    ) -> Tensor:
        """Return the target regions of words that name an object, [B, K, T, L], mirrored for mirror images."""
        height, width = self._regions[0].coverage.shape[1:]
        inside = np.zeros((*shape, height, width), np.float32)
        for row, (image, indices, view) in enumerate(zip(images, caption_indices, views, strict=True)):
            regions = self._regions[image]
            coverage = regions.coverage[:, :, ::-1] if view == MIRRORED else regions.coverage
            for caption, index in enumerate(indices):
                for position, region in regions.words[index]:
                    if position < MAX_TRAINING_WORDS:
                        inside[row, caption, position] = coverage[region]
        return torch.from_numpy(inside).flatten(3)


def pad_captions(captions: Sequence[Sequence[Sequence[int]]], min_words: int = 0) -> tuple[Tensor, Tensor]:
    """Pad captions of images, as word ids -> inputs and targets of the teacher-forced decoder, [B, K, T] each.

    T has room for at least `min_words` words and the end.
    """
    word_ids = [[list(caption[:MAX_TRAINING_WORDS]) for caption in image_captions] for image_captions in captions]
    rows = max(map(len, word_ids), default=1)
    length = 1 + max(min_words, *(len(caption) for image_captions in word_ids for caption in image_captions), 0)
    inputs = torch.full((len(word_ids), rows, length), PAD)
    targets = torch.full((len(word_ids), rows, length), PAD)
    for image, image_captions in enumerate(captions):
        for row, caption in enumerate(image_captions):
            words = word_ids[image][row]
            inputs[image, row, : len(words) + 1] = torch.tensor([START, *words])
            target = words if len(caption) > len(words) else [*words, END]
            targets[image, row, : len(target)] = torch.tensor(target)
    return inputs, targets
