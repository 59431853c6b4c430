"""Captioning of collections in the background: a thread that reads waiting photos, and stores their captions."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from service.inference.collection_reading import Ended, PendingPhoto, PhotoReader
from service.inference.switching import Serving
from service.settings import Settings, cores
from service.store.collection_photos import CollectionPhotos
from service.store.collection_records import CollectionPhoto, PhotoResult
from service.store.collections import Collections, UnknownCollection
from service.store.locks import Hold

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Time between two looks for photos that another process added, or left waiting when it ended."""

_TURN_SECONDS = 10.0
"""Time after which the next collection has its turn."""
_STORE_SECONDS = 0.5
"""Time after which captions are stored, even if there are fewer than a batch."""
_LOOK_AHEAD = 64
"""Number of waiting photos that are listed at once."""
_SMOOTHING = 0.3
"""Weight of the last batch in the pace of captioning."""


class CollectionCaptioning:
    """Captions the waiting photos of all collections, one collection at a time, until it is closed.

    Of several replicas, one captions a collection. If it ends, another one continues with the photos that still wait.
    """

    def __init__(
        self,
        collections: Collections,
        photos: CollectionPhotos,
        serving: Callable[[], Serving],
        settings: Settings,
        decoders: threading.Semaphore,
    ) -> None:
        """serving: returns the captioner in use. decoders: limits the photos that are decoded at the same time."""
        self._collections, self._photos = collections, photos
        self._reader = PhotoReader(collections, serving, settings, decoders)
        self._batch_size = settings.batch_size
        self._wake, self._is_faulty = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="collections", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for waiting photos now."""
        self._wake.set()

    def close(self) -> None:
        """Stop within seconds. Photos without a caption go on waiting, for the next start or another replica."""
        self._reader.closed.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        # Half of the cores: the other half is for the photos of requests, and for the model.
        with ThreadPoolExecutor(max(1, cores() // 2), thread_name_prefix="collection-photo") as threads:
            while not self._reader.closed.is_set():
                self._wake.clear()
                if not self._caption_all(threads):
                    self._wake.wait(POLL_SECONDS)

    def _caption_all(self, threads: ThreadPoolExecutor) -> bool:
        """Give each collection with waiting photos a turn -> whether any photo was captioned."""
        was_busy = False
        try:
            collection_ids = self._collections.waiting_ids()
            for collection_id in collection_ids:
                with self._collections.lock(collection_id) as hold:
                    if hold is not None:
                        turn = _Turn(collection_id, hold, self._collections, self._photos, self._reader, threads)
                        was_busy |= turn.run(self._batch_size, len(collection_ids))
            self._is_faulty = False
        except Ended:
            return False
        except Exception as error:  # a database that is away, or a full disk: the photos go on waiting
            if not self._is_faulty:
                level = logging.WARNING if isinstance(error, SQLAlchemyError | OSError) else logging.ERROR
                log.log(level, "Collections cannot be captioned now", exc_info=error)
            self._is_faulty = True
            return False
        return was_busy


class _Turn:
    """The turn of one collection: photos are read ahead of the captioner, and captions are stored in batches."""

    def __init__(
        self,
        collection_id: str,
        hold: Hold,
        collections: Collections,
        photos: CollectionPhotos,
        reader: PhotoReader,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._id, self._hold = collection_id, hold
        self._collections, self._photos, self._reader, self._threads = collections, photos, reader, threads
        self._upcoming: deque[CollectionPhoto] = deque()
        self._pending: deque[PendingPhoto] = deque()
        self._results: list[PhotoResult] = []
        self._last_number = 0
        self._pace: float | None = None
        self._has_stored = False
        self._stored_at = time.monotonic()

    def run(self, batch_size: int, collections: int) -> bool:
        """Caption photos until none waits or the turn is over -> whether any was.

        collections: number of collections that take turns. Raises Ended.
        """
        ends_at = self._stored_at + _TURN_SECONDS
        is_allowed = True
        try:
            while is_allowed:
                if time.monotonic() < ends_at:
                    self._read_ahead(3 * batch_size)
                if not self._pending:
                    break
                pending = self._pending.popleft()
                self._results.append(replace(self._reader.finish(pending), revision=pending.revision))
                seconds = time.monotonic() - self._stored_at
                if len(self._results) >= batch_size or seconds > _STORE_SECONDS or not self._pending:
                    is_allowed = self._store(collections)
        finally:
            for photo in self._pending:
                photo.cancel()
            if self._results and is_allowed:  # the service is stopping
                self._store(collections)
        return self._last_number > 0

    def _read_ahead(self, count: int) -> None:
        """Begin to read photos until `count` are being read or captioned."""
        while len(self._pending) < count:
            if not self._upcoming:
                self._upcoming.extend(self._photos.waiting(self._id, self._last_number, _LOOK_AHEAD))
            if not self._upcoming:
                return
            photo = self._upcoming.popleft()
            self._last_number = photo.number
            reading = self._threads.submit(self._reader.submit, self._id, photo)
            self._pending.append(PendingPhoto(photo.number, photo.revision, reading))

    def _store(self, collections: int) -> bool:
        """Store the results -> whether the turn may continue."""
        results, self._results = self._results, []
        now = time.monotonic()
        if self._has_stored:  # the first results also took the time until the captioner was busy
            pace = (now - self._stored_at) / len(results) * collections
            self._pace = pace if self._pace is None else self._pace + _SMOOTHING * (pace - self._pace)
        self._has_stored, self._stored_at = True, now
        try:
            self._photos.record(self._id, results, self._pace)
            return not (self._collections.get(self._id).is_cancelled or self._hold.is_lost())
        except UnknownCollection:  # deleted
            return False
