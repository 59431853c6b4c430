"""Occlusion maps of stored captions, computed on demand from the stored photo."""

import numpy as np

from captioner.config import DecodingOptions
from service.inference.documents import captions_of
from service.inference.switching import Serving
from service.store.bounded_lock import BoundedLock
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder

CACHE_SIZE = 64
"""Number of captions whose maps are cached, so that the pictures of all words need one computation."""
MAX_WAITING = 8
"""Maximum number of requests that wait for computations on demand: half of the drawing threads."""


class DifferentCaptioner(Exception):
    """The caption was made by another captioner than the one in use, so its numbers cannot be recomputed."""

    def __init__(self, caption_id: str, numbers: str = "occlusion maps") -> None:
        super().__init__(
            f"caption {caption_id} has no {numbers}, because another captioner made it than the one in use:"
            " caption the photo again"
        )


class OcclusionMaps:
    """Occlusion maps of captions, with a cache of the last ones. Thread-safe; computations run one at a time.

    A computation uses all cores for as long as several captions: two at once would delay captions.
    """

    def __init__(self, photos: PhotoFolder, lock: BoundedLock) -> None:
        """lock: of all computations on demand."""
        self._photos = photos
        self._cache: dict[tuple[str, int], np.ndarray] = {}
        self._lock = lock

    def maps(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        """Return the occlusion maps of a caption [T, H, W]; every map sums to 1. rank: from 1, the best.

        entry: just read from the store, so that the cache never answers for deleted captions.
        Raises DifferentCaptioner; FileNotFoundError if the photo was deleted; TooManyWaiting, WaitTimeout.
        """
        if entry.model_version != serving.model_version:
            raise DifferentCaptioner(entry.id)
        cached = self._cache.get((entry.id, rank))  # without waiting for a computation
        return self._compute(serving, entry, rank) if cached is None else cached

    def _compute(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        with self._lock:
            key = entry.id, rank
            if key not in self._cache:  # else another request has just computed them
                options = DecodingOptions.from_json(entry.document["options"])
                caption = captions_of(entry)[rank - 1]
                self._cache[key] = serving.captioner.occlusion_maps(self._photos.open(entry.id), caption, options)
            maps = self._cache[key]
            while len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]  # the oldest
            return maps
