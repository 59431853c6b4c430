"""The captioning service without HTTP: from the bytes of a photo to a stored caption."""

import functools
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

import captioner as captioner_package
from captioner.caption_json import warnings_json
from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.images.fitting import ImageFrame
from captioner.images.photo import open_image
from service import training_process
from service.inference.batching import Batcher, CaptionResult, DeadlinePassed, OnCaptionWords, Stopping
from service.inference.collecting import CollectionCaptioning
from service.inference.documents import to_stored
from service.inference.recomputing import Recomputation
from service.inference.switching import Serving, Switch, warm_up
from service.inference.translating import Translators
from service.jobs.queue import TrainingQueue
from service.jobs.trainings import Trainings
from service.metrics import Metrics
from service.readiness import Fault, Readiness
from service.settings import Settings, cores
from service.store.captions import Store, StoredCaption
from service.store.collection_photos import CollectionPhotos
from service.store.collections import Collections
from service.store.database import Database
from service.store.datasets import DataSets
from service.store.disk import Storage
from service.store.photos import PhotoFolder, to_stored_size
from service.store.versions import Versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PendingCaption:
    """A photo that is being captioned."""

    serving: Serving
    photo: Image.Image
    """Scaled down to the stored size: at full size, each queued request could hold 300 MB."""
    frame: ImageFrame
    options: DecodingOptions
    decode_image_seconds: float
    deadline: float
    """A time of time.monotonic."""
    future: Future[CaptionResult]


class CaptionService:
    """The captioner in use, its queue, the stored captions and the collections. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        captioner: Captioner | None = None,
        run_training: training_process.Run = training_process.run,
    ) -> None:
        """captioner: the built-in one; by default read from the bundle in the settings.
        run_training: runs `training inspect` and `fit --check`; by default in a separate process.

        Raises ConfigError if the data folder cannot be used, CaptionerError if the captioner cannot be loaded or a
        translator is incomplete.
        """
        self.settings = settings
        self.storage = Storage(settings.home, settings.max_home_bytes)
        self.database = Database(settings.database, settings.home)
        self.store = Store(self.database)
        self.photos = PhotoFolder(settings.photos_folder)
        self.photos.remove_orphans(self.store.ids())
        self.recomputation = Recomputation(self.photos, settings.deadline_seconds)
        self.versions = Versions(self.database, settings.home, settings.built_in_bundle)
        self.translators = Translators(
            settings.translator_folders, settings.device, settings.deadline_seconds, self.versions
        )
        self.run_training = run_training
        self.datasets = DataSets(settings, self.database, run_training)
        self.trainings = Trainings(self.database, settings.trainings_folder)
        self.queue = TrainingQueue(settings)
        self.readiness = Readiness(settings, self.database, self.trainings)
        self.metrics = Metrics(queue_depth=lambda: self.serving.batcher.depth)
        load = functools.partial(
            captioner_package.load, device=settings.device, runtime=settings.runtime, cache=settings.cache
        )
        self.switch = Switch(self.versions, load, self._make_batcher, settings.deadline_seconds, captioner)
        # Decoding a large photo takes half a gigabyte: decode at most one photo per core at a time.
        self._decoders = threading.BoundedSemaphore(cores())
        self._stopping = threading.Event()
        self.collections = Collections(self.database, settings.collections_folder)
        self.collection_photos = CollectionPhotos(self.database, self.collections)
        self.collection_storage = Storage(
            settings.collections_folder,
            settings.max_collections_bytes,
            "the folder of collections holds",
            "delete collections, or ask the operator of the service to raise CAPTIONER_MAX_COLLECTIONS_MB",
        )
        self.collecting = CollectionCaptioning(
            self.collections, self.collection_photos, lambda: self.serving, settings, self._decoders
        )

    @property
    def serving(self) -> Serving:
        """The captioner in use. It may change: read it once for related attributes."""
        return self.switch.serving

    def faults(self) -> list[Fault]:
        """Return the current faults; empty if everything works."""
        return [*self.readiness.faults(self.serving.batcher), *self.translators.faults()]

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def mark_stopping(self) -> None:
        """Report not ready from now on; requests are still answered."""
        self._stopping.set()

    def close(self) -> None:
        """Caption the queued photos, and close the database. Photos of collections go on waiting."""
        self.mark_stopping()
        self.collecting.close()
        self.switch.close()
        self.translators.close()
        self.database.close()

    def begin(self, data: bytes, options: DecodingOptions, on_words: OnCaptionWords | None = None) -> PendingCaption:
        """Decode a photo and queue it.

        Raises ImageError if the photo cannot be read; QueueFull, DeadlinePassed or Stopping.
        """
        deadline = time.monotonic() + self.settings.deadline_seconds
        while True:
            serving = self.serving
            try:
                return self._begin(serving, data, options, deadline, on_words)
            except Stopping:
                if serving is self.serving:  # else retry with the captioner that replaced it
                    raise

    def finish(self, pending: PendingCaption) -> StoredCaption:
        """Wait for the caption, and store it with its photo. Raises DeadlinePassed."""
        caption_id = uuid.uuid4().hex
        try:
            self.photos.save(caption_id, pending.photo)  # while the model works
            result = self._wait(pending)
            entry = self._build_entry(caption_id, pending, result)
            self.store.add(entry)
        except BaseException:
            pending.future.cancel()
            self.photos.delete(caption_id)
            raise
        self.metrics.stages(entry.document["seconds"])
        self._trim()
        return entry

    def delete(self, caption_id: str) -> bool:
        """Delete a caption and its photo -> whether it existed."""
        if not self.store.delete(caption_id):
            return False
        self.photos.delete(caption_id)
        return True

    def _trim(self) -> None:
        """Delete the oldest captions beyond the limit. On failure, the next caption tries again."""
        try:
            history = self.settings.history
            spare = history // 100  # trims in batches, not at every caption
            for old_id in self.store.trim(history - spare, history // 2, spare):
                self.photos.delete(old_id)
        except (SQLAlchemyError, OSError) as error:
            log.warning("The oldest captions could not be deleted yet: %s", error)

    def _make_batcher(self, captioner: Captioner) -> Batcher:
        settings = self.settings
        window = settings.batch_window_ms / 1000
        return Batcher(
            captioner,
            settings.batch_size,
            window,
            settings.queue_size,
            on_batch=self.metrics.batch,
            on_start=functools.partial(warm_up, captioner),
        )

    def _begin(
        self, serving: Serving, data: bytes, options: DecodingOptions, deadline: float, on_words: OnCaptionWords | None
    ) -> PendingCaption:
        with ExitStack() as announcement:
            announcement.enter_context(serving.batcher.announce())
            with self._decoding_slot(deadline):
                started_at = time.monotonic()
                seconds_left = max(0.0, deadline - started_at)
                photo = open_image(data, "the photo", self.settings.max_megapixels * 1_000_000, seconds_left)
                pixels, frame = serving.captioner.prepare(photo)
                seconds = time.monotonic() - started_at
                future = serving.batcher.submit(pixels, frame, options, deadline, on_words)
                announcement.close()  # the batch does not wait for the scaling below
                try:
                    stored_photo = to_stored_size(photo)
                except BaseException:
                    future.cancel()
                    raise
        return PendingCaption(serving, stored_photo, frame, options, seconds, deadline, future)

    @contextmanager
    def _decoding_slot(self, deadline: float) -> Iterator[None]:
        if not self._decoders.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlinePassed
        try:
            yield
        finally:
            self._decoders.release()

    def _wait(self, pending: PendingCaption) -> CaptionResult:
        try:
            return pending.future.result(max(0.0, pending.deadline - time.monotonic()))
        except FutureTimeout as error:
            raise DeadlinePassed from error

    def _build_entry(self, caption_id: str, pending: PendingCaption, result: CaptionResult) -> StoredCaption:
        best = result.captions[0]
        documents, arrays = to_stored(result.captions)
        seconds = {
            "decode_image": pending.decode_image_seconds,
            "queue": result.queue_seconds,
            "encode": result.encode_seconds,
            "decode_words": result.decode_words_seconds,
        }
        return StoredCaption(
            id=caption_id,
            created_at=datetime.now(UTC),
            caption=best.text,
            probability=best.probability,
            confidence=best.confidence,
            width=pending.frame.width,
            height=pending.frame.height,
            model_version=pending.serving.model_version,
            warnings=warnings_json(best) or None,
            document={
                "captions": documents,
                "seen_box": list(pending.frame.seen_box),
                "options": pending.options.to_json(),
                "seconds": seconds,
            },
            arrays=arrays,
        )
