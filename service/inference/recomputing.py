"""Numbers of stored captions, computed on demand from the stored photo by the captioner that made them."""

import numpy as np

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from captioner.steps import CaptionSteps
from service.inference.documents import captions_of
from service.inference.switching import Serving
from service.store.bounded_lock import BoundedLock
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder

MAX_WAITING = 8
"""Maximum number of requests that wait for computations on demand: half of the drawing threads."""

CACHE_SIZE = 64
"""Number of captions whose occlusion maps are cached, so that the pictures of all words need one computation."""


class DifferentCaptioner(Exception):
    """The caption was made by another captioner than the one in use, so its numbers cannot be recomputed."""

    def __init__(self, caption_id: str, numbers: str) -> None:
        super().__init__(
            f"caption {caption_id} has no {numbers}, because another captioner made it than the one in use:"
            " caption the photo again"
        )


class Recomputation:
    """Steps and occlusion maps of stored captions, with a cache of the last maps. Thread-safe.

    Computations run one at a time. Occlusion maps use all cores for as long as several captions: two at once would
    delay captions.
    """

    def __init__(self, photos: PhotoFolder, wait_seconds: float) -> None:
        """wait_seconds: maximum time that a request waits for others."""
        self._photos = photos
        self._lock = BoundedLock(MAX_WAITING, wait_seconds)
        self._cache: dict[tuple[str, int], np.ndarray] = {}

    def steps(self, serving: Serving, entry: StoredCaption, rank: int) -> CaptionSteps:
        """Return the steps of a caption. rank: from 1, the best.

        Raises DifferentCaptioner; FileNotFoundError if the photo was deleted; TooManyWaiting, WaitTimeout.
        """
        caption, options = _stored_caption(serving, entry, rank, "steps")
        with self._lock:
            return serving.captioner.steps(self._photos.open(entry.id), caption, options)

    def occlusion_maps(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        """Return the occlusion maps of a caption [T, H, W]; every map sums to 1. rank: from 1, the best.

        entry: just read from the store, so that the cache never answers for deleted captions.
        Raises as `steps`.
        """
        caption, options = _stored_caption(serving, entry, rank, "occlusion maps")
        key = entry.id, rank
        cached = self._cache.get(key)  # without waiting for a computation
        return self._compute_maps(serving, key, caption, options) if cached is None else cached

    def _compute_maps(
        self, serving: Serving, key: tuple[str, int], caption: Caption, options: DecodingOptions
    ) -> np.ndarray:
        with self._lock:
            if key not in self._cache:  # else another request has just computed them
                self._cache[key] = serving.captioner.occlusion_maps(self._photos.open(key[0]), caption, options)
            maps = self._cache[key]
            while len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]  # the oldest
            return maps


def _stored_caption(serving: Serving, entry: StoredCaption, rank: int, numbers: str) -> tuple[Caption, DecodingOptions]:
    """Return a stored caption and the options that it was decoded with.

    rank: from 1, the best. numbers: name of what is computed, for errors.
    Raises DifferentCaptioner.
    """
    if entry.model_version != serving.model_version:
        raise DifferentCaptioner(entry.id, numbers)
    return captions_of(entry)[rank - 1], DecodingOptions.from_json(entry.document["options"])
