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
from captioner.images.photo import ImageFrame, open_image
from service.inference.batching import Batcher, Captioned, DeadlinePassed, OnCaptionWords, Stopping
from service.inference.documents import to_stored
from service.inference.occlusion import WAITING, OcclusionMaps
from service.inference.steps import StepRecomputation
from service.inference.switching import Serving, Switch
from service.jobs import process as training_process
from service.jobs.queue import TrainingQueue
from service.jobs.trainings import Trainings
from service.metrics import Metrics
from service.readiness import Fault, Readiness
from service.settings import Settings, cores
from service.store.captions import Store, StoredCaption
from service.store.database import Database
from service.store.datasets import DataSets
from service.store.disk import Storage
from service.store.photos import PhotoFolder, as_kept
from service.store.turns import Turns
from service.store.versions import Versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A photo that is being captioned."""

    serving: Serving
    photo: Image.Image
    """Scaled down to the stored size: at full size, each queued request could hold 300 MB."""
    frame: ImageFrame
    options: DecodingOptions
    decode_image_seconds: float
    deadline: float
    """A time of time.monotonic."""
    future: Future[Captioned]


class CaptionService:
    """The captioner in use, its queue and the stored captions. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        captioner: Captioner | None = None,
        run_training: training_process.Run = training_process.run,
    ) -> None:
        """captioner: the built-in one; by default read from the bundle in the settings.
        run_training: runs `training inspect` and `fit --check`; by default in a separate process.

        Raises ConfigError if the data folder cannot be used, CaptionerError if the captioner cannot be loaded.
        """
        self.settings = settings
        self.storage = Storage(settings.home, settings.max_home_bytes)
        self.database = Database(settings.database, settings.home)
        self.store = Store(self.database)
        self.photos = PhotoFolder(settings.photos_folder)
        self.photos.remove_orphans(self.store.ids())
        computing = Turns(WAITING, settings.deadline_seconds)
        self.evidence = OcclusionMaps(self.photos, computing)
        self.steps = StepRecomputation(self.photos, computing)
        self.versions = Versions(self.database, settings.home, settings.built_in_bundle)
        self.run_training = run_training
        self.datasets = DataSets(settings, self.database, run_training)
        self.trainings = Trainings(self.database, settings.trainings_folder)
        self.queue = TrainingQueue(settings)
        self.readiness = Readiness(settings, self.database, self.trainings)
        self.metrics = Metrics(queue_depth=lambda: self.serving.batcher.depth)
        load = functools.partial(captioner_package.load, device=settings.device, runtime=settings.runtime)
        self.switch = Switch(self.versions, load, self._batcher, settings.deadline_seconds, captioner)
        # Decoding a large photo takes half a gigabyte: decode at most one photo per core at a time.
        self._decoders = threading.BoundedSemaphore(cores())
        self._stopping = threading.Event()

    @property
    def serving(self) -> Serving:
        """The captioner in use. It may change: read it once for related attributes."""
        return self.switch.serving

    def faults(self) -> list[Fault]:
        """Return the current faults; empty if everything works."""
        return self.readiness.faults(self.serving.batcher)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stopping(self) -> None:
        """Report not ready from now on; requests are still answered."""
        self._stopping.set()

    def close(self) -> None:
        """Caption the queued photos, and close the database."""
        self.stopping()
        self.switch.close()
        self.database.close()

    def begin(self, data: bytes, options: DecodingOptions, on_words: OnCaptionWords | None = None) -> Begun:
        """Decode a photo and queue it.

        Raises ImageError if the photo cannot be read; QueueFull, DeadlinePassed or Stopping.
        """
        deadline = time.monotonic() + self.settings.deadline_seconds
        while True:
            serving = self.serving
            try:
                return self._begun(serving, data, options, deadline, on_words)
            except Stopping:
                if serving is self.serving:  # else retry with the captioner that replaced it
                    raise

    def finish(self, begun: Begun) -> StoredCaption:
        """Wait for the caption, and store it with its photo. Raises DeadlinePassed."""
        caption_id = uuid.uuid4().hex
        try:
            self.photos.save(caption_id, begun.photo)  # while the model works
            captioned = self._wait(begun)
            entry = self._entry(caption_id, begun, captioned)
            self.store.add(entry)
        except BaseException:
            begun.future.cancel()
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
            for old in self.store.trim(history - spare, history // 2, spare):
                self.photos.delete(old)
        except (SQLAlchemyError, OSError) as error:
            log.warning("The oldest captions could not be deleted yet: %s", error)

    def _batcher(self, captioner: Captioner) -> Batcher:
        settings = self.settings
        window = settings.batch_window_ms / 1000
        return Batcher(captioner, settings.batch_size, window, settings.queue_size, on_batch=self.metrics.batch)

    def _begun(
        self, serving: Serving, data: bytes, options: DecodingOptions, deadline: float, on_words: OnCaptionWords | None
    ) -> Begun:
        with ExitStack() as announced:
            announced.enter_context(serving.batcher.coming())
            with self._decoder(deadline):
                started = time.monotonic()
                seconds_left = max(0.0, deadline - started)
                photo = open_image(data, "the photo", self.settings.max_megapixels * 1_000_000, seconds_left)
                pixels, frame = serving.captioner.prepare(photo)
                seconds = time.monotonic() - started
                future = serving.batcher.submit(pixels, frame, options, deadline, on_words)
                announced.close()  # the batch does not wait for the scaling below
                try:
                    kept = as_kept(photo)
                except BaseException:
                    future.cancel()
                    raise
        return Begun(serving, kept, frame, options, seconds, deadline, future)

    @contextmanager
    def _decoder(self, deadline: float) -> Iterator[None]:
        if not self._decoders.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlinePassed
        try:
            yield
        finally:
            self._decoders.release()

    def _wait(self, begun: Begun) -> Captioned:
        try:
            return begun.future.result(max(0.0, begun.deadline - time.monotonic()))
        except FutureTimeout as error:
            raise DeadlinePassed from error

    def _entry(self, caption_id: str, begun: Begun, captioned: Captioned) -> StoredCaption:
        best = captioned.captions[0]
        documents, arrays = to_stored(captioned.captions)
        seconds = {
            "decode_image": begun.decode_image_seconds,
            "queue": captioned.queue_seconds,
            "encode": captioned.encode_seconds,
            "decode_words": captioned.decode_words_seconds,
        }
        return StoredCaption(
            id=caption_id,
            created_at=datetime.now(UTC),
            caption=best.text,
            probability=best.probability,
            confidence=best.confidence,
            width=begun.frame.width,
            height=begun.frame.height,
            model_version=begun.serving.model_version,
            warnings=warnings_json(best) or None,
            document={
                "captions": documents,
                "seen_box": list(begun.frame.seen_box),
                "options": begun.options.to_json(),
                "seconds": seconds,
            },
            arrays=arrays,
        )
