"""Steps of stored captions, recomputed on demand from the stored photo."""

from captioner.steps import CaptionSteps
from service.inference.recomputing import stored_caption
from service.inference.switching import Serving
from service.store.bounded_lock import BoundedLock
from service.store.captions import StoredCaption
from service.store.photos import PhotoFolder


class StepRecomputation:
    """Recomputes the steps of captions, one at a time. Thread-safe."""

    def __init__(self, photos: PhotoFolder, lock: BoundedLock) -> None:
        """lock: of all computations on demand."""
        self._photos, self._lock = photos, lock

    def steps(self, serving: Serving, entry: StoredCaption, rank: int) -> CaptionSteps:
        """Return the steps of a caption. rank: from 1, the best.

        Raises DifferentCaptioner; FileNotFoundError if the photo was deleted; TooManyWaiting, WaitTimeout.
        """
        caption, options = stored_caption(serving, entry, rank, "steps")
        with self._lock:
            return serving.captioner.steps(self._photos.open(entry.id), caption, options)
