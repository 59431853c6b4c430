"""From the bytes of a photo to a caption that is kept: what the service does, apart from HTTP."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from captioner.bundle import Bundle
from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.encoder_weights import tensors_sha256
from captioner.images import ImageFrame, open_image
from service.batching import Batcher, Captioned, DeadlinePassed, Watch
from service.documents import to_stored
from service.metrics import Metrics
from service.photos import PhotoFolder
from service.settings import Settings, cores
from service.store import Store, StoredCaption


@dataclass(frozen=True)
class Begun:
    """A photo whose caption is on its way."""

    photo: Image.Image
    frame: ImageFrame
    options: DecodingOptions
    decode_image_seconds: float
    deadline: float
    """On the clock of time.monotonic."""
    future: Future[Captioned]


class CaptionService:
    """One captioner, its queue, and what it has captioned. Threads share it."""

    def __init__(self, settings: Settings, captioner: Captioner) -> None:
        """Raises ConfigError where the data folder cannot be used."""
        self.settings = settings
        self.captioner = captioner
        self.model_version = model_version(captioner.bundle)
        self.store = Store(settings.database_url)
        self.photos = PhotoFolder(settings.photos_folder)
        self.photos.remove_orphans(self.store.ids())
        self.grid = warm_up(captioner)
        self.metrics = Metrics(queue_depth=lambda: self.batcher.depth)
        self.batcher = Batcher(
            captioner,
            settings.batch_size,
            settings.batch_window_ms / 1000,
            settings.queue_size,
            on_batch=self.metrics.batch,
        )
        # A large photo takes half a gigabyte while it is decoded: no more of them at once than there are cores.
        self._decoders = threading.BoundedSemaphore(cores())
        self._stopping = threading.Event()

    @property
    def ready(self) -> bool:
        return self.batcher.alive and not self._stopping.is_set()

    def stopping(self) -> None:
        """From now on the service says that it is not ready; it goes on answering."""
        self._stopping.set()

    def close(self) -> None:
        """Caption what waits, and close the database."""
        self.stopping()
        self.batcher.close(self.settings.deadline_seconds)
        self.store.close()

    def begin(self, data: bytes, options: DecodingOptions, watch: Watch | None = None) -> Begun:
        """Decode a photo and queue it.

        Raises ImageError for a photo that cannot be read, QueueFull, DeadlinePassed or Stopping.
        """
        deadline = time.monotonic() + self.settings.deadline_seconds
        with self.batcher.coming(), self._decoder(deadline):
            started = time.monotonic()
            photo = open_image(data, "the photo", self.settings.max_megapixels * 1_000_000)
            pixels, frame = self.captioner.prepare(photo)
            seconds = time.monotonic() - started
            future = self.batcher.submit(pixels, frame, options, deadline, watch)
        return Begun(photo, frame, options, seconds, deadline, future)

    def finish(self, begun: Begun) -> StoredCaption:
        """Wait for the caption, and keep it with its photo. Raises DeadlinePassed."""
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
        for old in self.store.trim(self.settings.history):
            self.photos.delete(old)
        return entry

    def delete(self, caption_id: str) -> bool:
        """Forget a caption and its photo; False where there is none."""
        if not self.store.delete(caption_id):
            return False
        self.photos.delete(caption_id)
        return True

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
            width=begun.frame.width,
            height=begun.frame.height,
            model_version=self.model_version,
            document={
                "captions": [to_stored(caption) for caption in captioned.captions],
                "seen_box": list(begun.frame.seen_box),
                "options": begun.options.to_json(),
                "seconds": seconds,
            },
        )


def model_version(bundle: Bundle) -> str:
    """Twelve hex digits that differ between any two captioners that may caption differently."""
    parts = [bundle.config.to_json(), bundle.decoding.to_json(), list(bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    return digest.hexdigest()[:12]


def warm_up(captioner: Captioner) -> tuple[int, int]:
    """Caption a grey photo, so that the first real one does not wait for what is set up once -> grid rows, columns."""
    size = captioner.model.config.image_size
    (best, *_), *_ = captioner.captions([Image.fromarray(np.full((size, size, 3), 127, dtype=np.uint8))])
    rows, columns = best.alphas.shape[1:]
    return rows, columns
