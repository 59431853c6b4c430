"""Replay: new and earlier photos in the same batches, so that training on new data does not forget the old."""

import math
from collections.abc import Sequence

import numpy as np

from captioner.text.vocabulary import Vocabulary
from training.data.boxes.supervision import Regions
from training.data.dataset import CaptionDataset
from training.data.features import FeatureCache
from training.data.mixing import Balance
from training.data.records import ImageRecord


class ReplayDataset(CaptionDataset):
    """Data set with every new image once per epoch, or by `balance`, and a share of earlier images in every batch."""

    def __init__(
        self,
        new: Sequence[ImageRecord],
        earlier: Sequence[ImageRecord],
        share: float,
        vocabulary: Vocabulary,
        caches: Sequence[FeatureCache],
        least_batches: int = 0,
        regions: Sequence[Regions] | None = None,
        balance: Balance | None = None,
    ):
        """share: share of earlier images in a batch, 0 to below 1; a batch has at least one new image.

        regions: those of the new images, then of the earlier ones. balance: that of the new images.
        """
        super().__init__([*new, *earlier], vocabulary, caches, least_batches, regions, balance)
        self.new_images, self._share = len(new), share

    @property
    def new_records(self) -> list[ImageRecord]:
        return self.records[: self.new_images]

    def _new_per_batch(self, batch_size: int) -> int:
        return max(1, batch_size - round(batch_size * self._share))

    def _pass_count(self, batch_size: int) -> int:
        return math.ceil(self.new_images / self._new_per_batch(batch_size))

    def _pass(self, rng: np.random.Generator, shuffled: np.ndarray, batch_size: int) -> list[np.ndarray]:
        """Divide shuffled new images into batches, and fill each up with randomly drawn earlier ones."""
        size = self._new_per_batch(batch_size)
        earlier = np.arange(self.new_images, len(self.records))
        batches = []
        for start in range(0, len(shuffled), size):
            new_images = shuffled[start : start + size]
            earlier_count = min(len(earlier), round(len(new_images) * (batch_size - size) / size))
            batches.append(np.concatenate([new_images, rng.choice(earlier, earlier_count, replace=False)]))
        return batches
