"""Occlusion maps of stored captions, computed on demand from the stored photo."""

import numpy as np

from captioner.config import DecodingOptions
from service.inference.documents import captions_of
from service.inference.switching import Serving
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder
from service.store.turns import Turns

KEPT = 64
"""Number of captions whose maps are cached, so that the pictures of all words need one computation."""
WAITING = 8
"""Maximum number of requests that wait for computations on demand: half of the drawing threads."""


class MadeByAnother(Exception):
    """The caption was made by another captioner than the one in use, so its numbers cannot be recomputed."""

    def __init__(self, caption_id: str, wanted: str = "occlusion maps") -> None:
        super().__init__(
            f"caption {caption_id} has no {wanted}, because another captioner made it than the one in use:"
            " caption the photo again"
        )


class OcclusionMaps:
    """Occlusion maps of captions, with a cache of the last ones. Thread-safe; computations run one at a time.

    A computation uses all cores for as long as several captions: two at once would delay captions.
    """

    def __init__(self, photos: PhotoFolder, computing: Turns) -> None:
        """computing: lock of all computations on demand."""
        self._photos = photos
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._computing = computing

    def maps(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        """Return the occlusion maps of a caption [T, H, W]; every map sums to 1. rank: from 1, the best.

        entry: just read from the store, so that the cache never answers for deleted captions.
        Raises MadeByAnother; FileNotFoundError if the photo was deleted; LineFull, WaitedTooLong.
        """
        if entry.model_version != serving.model_version:
            raise MadeByAnother(entry.id)
        kept = self._kept.get((entry.id, rank))  # without waiting for a computation
        return self._computed(serving, entry, rank) if kept is None else kept

    def _computed(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        with self._computing:
            key = entry.id, rank
            if key not in self._kept:  # else another request has just computed them
                options = DecodingOptions.from_json(entry.document["options"])
                caption = captions_of(entry)[rank - 1]
                self._kept[key] = serving.captioner.occlusion_maps(self._photos.open(entry.id), caption, options)
            found = self._kept[key]
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            return found
