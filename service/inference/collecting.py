"""Captioning of collections in the background: a thread that reads waiting photos, and stores their captions."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from captioner.caption_json import warnings_json
from captioner.errors import ImageError
from captioner.images.photo import ImageFrame, open_image
from service.inference.batching import CaptionResult, Stopping
from service.inference.switching import Serving
from service.settings import Settings, cores
from service.store.collection_photos import CollectionPhoto, CollectionPhotos, PhotoResult
from service.store.collections import Collections, UnknownCollection
from service.store.locks import Hold
from service.store.photos import scale_down, write_jpeg

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PREVIEW_SIDE = 1024
"""Longest side of the small copy of a photo, in pixels."""
POLL_SECONDS = 2.0
"""Time between two looks for photos that another process added, or left waiting when it ended."""

_TURN_SECONDS = 10.0
"""Time after which the next collection has its turn."""
_STORE_SECONDS = 0.5
"""Time after which captions are stored, even if there are fewer than a batch."""
_WAIT_SECONDS = 0.2
_LOOK_AHEAD = 64
"""Number of waiting photos that are listed at once."""
_SMOOTHING = 0.3
"""Weight of the last batch in the pace of captioning."""
_FAILED = "The captioner failed on this photo: caption it again, or tell the operator of the service."


class _Ended(Exception):
    """The service is stopping."""


@dataclass(frozen=True)
class _Submitted:
    """A photo in the queue of a captioner."""

    serving: Serving
    frame: ImageFrame
    future: Future[CaptionResult]


@dataclass(frozen=True)
class _Pending:
    """A photo that is being read, and then captioned."""

    number: int
    reading: Future[_Submitted | PhotoResult]

    def cancel(self) -> None:
        self.reading.cancel()
        self.reading.add_done_callback(_cancel_caption)


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
        self._reader = _Reader(collections, serving, settings, decoders)
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
        except _Ended:
            return False
        except Exception as error:  # a database that is away, or a full disk: the photos go on waiting
            if not self._is_faulty:
                level = logging.WARNING if isinstance(error, SQLAlchemyError | OSError) else logging.ERROR
                log.log(level, "Collections cannot be captioned now", exc_info=error)
            self._is_faulty = True
            return False
        return was_busy


class _Reader:
    """Reads photos, queues them for the captioner in use, and waits for their captions. Thread-safe."""

    def __init__(
        self,
        collections: Collections,
        serving: Callable[[], Serving],
        settings: Settings,
        decoders: threading.Semaphore,
    ) -> None:
        self._collections, self._serving, self._settings, self._decoders = collections, serving, settings, decoders
        self.closed = threading.Event()

    def submit(self, collection_id: str, photo: CollectionPhoto) -> _Submitted | PhotoResult:
        """Read a photo and queue it -> the photo in the queue, or the reason why it cannot be captioned."""
        try:
            with self._decoders:
                if self.closed.is_set():
                    raise _Ended
                image = self._open(collection_id, photo)
                submitted = self._queue(image)
                preview = scale_down(image, PREVIEW_SIDE)
                del image  # may take hundreds of megabytes
            self._write_preview(collection_id, photo, preview)
            return submitted
        except _Ended:
            raise
        except ImageError as error:
            return PhotoResult(photo.number, reason=_describe(str(error), photo.name))
        except Exception:
            log.exception("Photo %d of collection %s cannot be read", photo.number, collection_id)
            return PhotoResult(photo.number, reason=_FAILED)

    def finish(self, pending: _Pending) -> PhotoResult:
        """Wait for the result of a photo. Raises _Ended."""
        submitted = self._wait(pending.reading)
        if isinstance(submitted, PhotoResult):
            return submitted
        try:
            best = self._wait(submitted.future).captions[0]
        except _Ended:
            raise
        except Exception:
            log.exception("The captioner failed on a photo of a collection")
            return PhotoResult(pending.number, reason=_FAILED)
        return PhotoResult(
            pending.number,
            generated=best.text,
            confidence=best.confidence,
            warnings=warnings_json(best) or None,
            model_version=submitted.serving.model_version,
            width=submitted.frame.width,
            height=submitted.frame.height,
        )

    def _open(self, collection_id: str, photo: CollectionPhoto) -> Image.Image:
        path = self._collections.photo_file(collection_id, photo.number)
        settings = self._settings
        return open_image(path, photo.name, settings.max_megapixels * 1_000_000, settings.deadline_seconds)

    def _queue(self, image: Image.Image) -> _Submitted:
        while True:
            serving = self._serving()
            pixels, frame = serving.captioner.prepare(image)
            options = serving.captioner.decoding
            try:
                future = serving.batcher.submit(pixels, frame, options, float("inf"), in_background=True)
                return _Submitted(serving, frame, future)
            except Stopping:
                if serving is self._serving():  # else repeat with the captioner that replaced it
                    raise _Ended from None

    def _write_preview(self, collection_id: str, photo: CollectionPhoto, preview: Image.Image) -> None:
        file = self._collections.preview_file(collection_id, photo.number)
        try:
            write_jpeg(file, preview)
            if not self._collections.photo_file(collection_id, photo.number).exists():  # deleted meanwhile
                file.unlink(missing_ok=True)
        except OSError as error:  # the caption matters more
            log.warning("Photo %d of collection %s has no preview: %s", photo.number, collection_id, error)

    def _wait(self, future: Future[Result]) -> Result:
        while True:
            try:
                return future.result(_WAIT_SECONDS)
            except FutureTimeout:
                if self.closed.is_set():
                    raise _Ended from None


class _Turn:
    """The turn of one collection: photos are read ahead of the captioner, and captions are stored in batches."""

    def __init__(
        self,
        collection_id: str,
        hold: Hold,
        collections: Collections,
        photos: CollectionPhotos,
        reader: _Reader,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._id, self._hold = collection_id, hold
        self._collections, self._photos, self._reader, self._threads = collections, photos, reader, threads
        self._upcoming: deque[CollectionPhoto] = deque()
        self._pending: deque[_Pending] = deque()
        self._results: list[PhotoResult] = []
        self._last_number = 0
        self._pace: float | None = None
        self._stored_at = time.monotonic()

    def run(self, batch_size: int, collections: int) -> bool:
        """Caption photos until none waits or the turn is over -> whether any was.

        collections: number of collections that take turns. Raises _Ended.
        """
        ends_at = self._stored_at + _TURN_SECONDS
        is_allowed = True
        try:
            while is_allowed:
                if time.monotonic() < ends_at:
                    self._read_ahead(3 * batch_size)
                if not self._pending:
                    break
                self._results.append(self._reader.finish(self._pending.popleft()))
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
            self._pending.append(_Pending(photo.number, self._threads.submit(self._reader.submit, self._id, photo)))

    def _store(self, collections: int) -> bool:
        """Store the results -> whether the turn may continue."""
        results, self._results = self._results, []
        now = time.monotonic()
        pace = (now - self._stored_at) / len(results) * collections
        self._pace = pace if self._pace is None else self._pace + _SMOOTHING * (pace - self._pace)
        self._stored_at = now
        try:
            self._photos.record(self._id, results, self._pace)
            return not (self._collections.get(self._id).is_cancelled or self._hold.is_lost())
        except UnknownCollection:  # deleted
            return False


def _cancel_caption(reading: Future[_Submitted | PhotoResult]) -> None:
    """Cancel the caption of a photo that was read."""
    if not reading.cancelled() and reading.exception() is None and isinstance(reading.result(), _Submitted):
        reading.result().future.cancel()


def _describe(message: str, name: str) -> str:
    """Return why a photo cannot be captioned, in a sentence that needs no name."""
    return f"{message.replace(name, 'The file', 1) if message.startswith(name) else message}."
