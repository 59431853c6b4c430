"""What speaks for each word of a kept caption: computed when somebody asks, from the photo that was kept."""

import numpy as np

from captioner.config import DecodingOptions
from service.inference.documents import captions_of
from service.inference.switching import Serving
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder
from service.store.turns import Turns

KEPT = 64
"""Captions whose evidence is kept, so that the pictures of all words cost one computation."""
WAITING = 8
"""Maximum number of requests that wait for the one that computes: half of the threads that draw."""


class MadeByAnother(Exception):
    """Another captioner made the caption than the one that serves, which cannot say why it chose its words."""

    def __init__(self, caption_id: str) -> None:
        super().__init__(
            f"caption {caption_id} was made by another captioner than the one that serves now, and only the one that"
            " chose the words can say what speaks for them: caption the photo again"
        )


class EvidenceMaps:
    """Evidence of captions, the last of it kept. Threads share it; they compute one after the other.

    It takes a model all cores for as long as some captions do: two at once would keep the captions waiting.
    """

    def __init__(self, photos: PhotoFolder, wait_seconds: float) -> None:
        """wait_seconds: for the requests that came before."""
        self._photos = photos
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._computing = Turns(WAITING, wait_seconds)

    def maps(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        """The evidence for the words of an entry's caption -> [T, H, W], every map sums to 1. rank: from 1, the best.

        Whoever asks has just read the entry from the store, so that none that was deleted is told of from here.
        Raises MadeByAnother; FileNotFoundError where the photo is gone; LineFull, WaitedTooLong.
        """
        if entry.model_version != serving.model_version:
            raise MadeByAnother(entry.id)
        kept = self._kept.get((entry.id, rank))  # without waiting for those who compute
        return self._computed(serving, entry, rank) if kept is None else kept

    def _computed(self, serving: Serving, entry: StoredCaption, rank: int) -> np.ndarray:
        with self._computing:
            key = entry.id, rank
            if key not in self._kept:  # else another request asked for the same a moment ago
                options = DecodingOptions.from_json(entry.document["options"])
                caption = captions_of(entry)[rank - 1]
                self._kept[key] = serving.captioner.evidence(self._photos.open(entry.id), caption, options)
            found = self._kept[key]
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            return found
