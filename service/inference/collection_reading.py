"""Photos of collections on their way to the captioner: read, queued and waited for."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from captioner.caption_json import warnings_json
from captioner.errors import ImageError
from captioner.images.fitting import ImageFrame
from captioner.images.photo import open_image
from service.inference.batching import CaptionResult, Stopping
from service.inference.documents import to_stored
from service.inference.switching import Serving
from service.settings import Settings
from service.store.collection_records import CollectionPhoto, PhotoResult
from service.store.collections import Collections
from service.store.photos import scale_down, write_jpeg

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PREVIEW_SIDE = 1024
"""Longest side of the small copy of a photo, in pixels."""

_WAIT_SECONDS = 0.2
_FAILED = "The captioner failed on this photo: caption it again, or tell the operator of the service."


class Ended(Exception):
    """The service is stopping."""


@dataclass(frozen=True)
class SubmittedPhoto:
    """A photo in the queue of a captioner."""

    serving: Serving
    frame: ImageFrame
    future: Future[CaptionResult]


@dataclass(frozen=True)
class PendingPhoto:
    """A photo that is being read, and then captioned."""

    number: int
    revision: int
    """Of the photo when it was read from the database."""
    reading: Future[SubmittedPhoto | PhotoResult]

    def cancel(self) -> None:
        self.reading.cancel()
        self.reading.add_done_callback(_cancel_caption)


class PhotoReader:
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

    def submit(self, collection_id: str, photo: CollectionPhoto) -> SubmittedPhoto | PhotoResult:
        """Read a photo and queue it -> the photo in the queue, or the reason why it cannot be captioned."""
        try:
            with self._decoders:
                if self.closed.is_set():
                    raise Ended
                image = self._open(collection_id, photo)
                submitted = self._queue(image)
                preview = scale_down(image, PREVIEW_SIDE)
                del image  # may take hundreds of megabytes
            self._write_preview(collection_id, photo, preview)
            return submitted
        except Ended:
            raise
        except ImageError as error:
            return PhotoResult(photo.number, reason=_describe(str(error), photo.name))
        except Exception:
            log.exception("Photo %d of collection %s cannot be read", photo.number, collection_id)
            return PhotoResult(photo.number, reason=_FAILED)

    def finish(self, pending: PendingPhoto) -> PhotoResult:
        """Wait for the result of a photo. Raises Ended."""
        submitted = self._wait(pending.reading)
        if isinstance(submitted, PhotoResult):
            return submitted
        try:
            best = self._wait(submitted.future).captions[0]
        except Ended:
            raise
        except Exception:
            log.exception("The captioner failed on a photo of a collection")
            return PhotoResult(pending.number, reason=_FAILED)
        documents, arrays = to_stored([best])
        return PhotoResult(
            pending.number,
            generated=best.text,
            confidence=best.confidence,
            warnings=warnings_json(best) or None,
            model_version=submitted.serving.model_version,
            width=submitted.frame.width,
            height=submitted.frame.height,
            document={"captions": documents, "seen_box": list(submitted.frame.seen_box)},
            arrays=arrays,
        )

    def _open(self, collection_id: str, photo: CollectionPhoto) -> Image.Image:
        path = self._collections.photo_file(collection_id, photo.number)
        settings = self._settings
        return open_image(path, photo.name, settings.max_megapixels * 1_000_000, settings.deadline_seconds)

    def _queue(self, image: Image.Image) -> SubmittedPhoto:
        while True:
            serving = self._serving()
            pixels, frame = serving.captioner.prepare(image)
            options = serving.captioner.decoding
            try:
                future = serving.batcher.submit(pixels, frame, options, float("inf"), in_background=True)
                return SubmittedPhoto(serving, frame, future)
            except Stopping:
                if serving is self._serving():  # else repeat with the captioner that replaced it
                    raise Ended from None

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
                    raise Ended from None


def _cancel_caption(reading: Future[SubmittedPhoto | PhotoResult]) -> None:
    """Cancel the caption of a photo that was read."""
    if not reading.cancelled() and reading.exception() is None and isinstance(reading.result(), SubmittedPhoto):
        reading.result().future.cancel()


def _describe(message: str, name: str) -> str:
    """Return why a photo cannot be captioned, in a sentence that needs no name."""
    return f"{message.replace(name, 'The file', 1) if message.startswith(name) else message}."
