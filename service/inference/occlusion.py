"""Occlusion maps of stored captions, computed on demand from the stored photo."""

import numpy as np

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from service.inference.recomputing import stored_caption
from service.inference.switching import Serving
from service.store.bounded_lock import BoundedLock
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder

CACHE_SIZE = 64
"""Number of captions whose maps are cached, so that the pictures of all words need one computation."""


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
        caption, options = stored_caption(serving, entry, rank, "occlusion maps")
        key = entry.id, rank
        cached = self._cache.get(key)  # without waiting for a computation
        return self._compute(serving, key, caption, options) if cached is None else cached

    def _compute(
        self, serving: Serving, key: tuple[str, int], caption: Caption, options: DecodingOptions
    ) -> np.ndarray:
        with self._lock:
            if key not in self._cache:  # else another request has just computed them
                self._cache[key] = serving.captioner.occlusion_maps(self._photos.open(key[0]), caption, options)
            maps = self._cache[key]
            while len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]  # the oldest
            return maps
