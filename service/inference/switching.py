"""Switching of the captioner in use, without interrupting requests."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from captioner.captioner import Captioner
from captioner.errors import CaptionerError
from service.inference.batching import Batcher
from service.inference.following import Follower
from service.store.fingerprint import model_version
from service.store.versions import BUILT_IN, Version, Versions, changed_bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Serving:
    """A loaded captioner with its queue."""

    version: str
    """Id in Versions."""
    captioner: Captioner
    model_version: str
    grid: tuple[int, int]
    batcher: Batcher


class Switch:
    """Holds the captioner in use, and follows the current version in the database."""

    def __init__(
        self,
        versions: Versions,
        load: Callable[[Path], Captioner],
        make_batcher: Callable[[Captioner], Batcher],
        drain_seconds: float,
        built_in: Captioner | None = None,
    ) -> None:
        """load: reads a captioner from its bundle, including the built-in one unless `built_in` is given.
        make_batcher: makes its queue, whose thread starts with `warm_up`.
        drain_seconds: time for the previous captioner to finish its queue.

        If the current version cannot be used, the built-in one is. Raises CaptionerError if neither can.
        """
        self._versions, self._load, self._make_batcher = versions, load, make_batcher
        self._drain_seconds, self._built_in = drain_seconds, built_in
        self._lock = threading.RLock()
        self._rejected: str | None = None
        self._closing: list[threading.Thread] = []
        """Threads in which earlier captioners finish their queues."""
        current = versions.current
        try:
            self.serving = self._load_version(current)
        except CaptionerError as error:
            if current.id == BUILT_IN:
                raise
            log.error("Model version %s cannot be used, the built-in captioner is used instead: %s", current.id, error)
            self._rejected = current.id
            self.serving = self._load_version(versions.get(BUILT_IN))
        self._follower = Follower(self._follow, "model version")

    def promote(self, version_id: str) -> Version:
        """Use a version from the next request on. Raises UnknownVersion, or BundleError if it cannot be used."""
        with self._lock:
            return self._change(self._versions.get(version_id), lambda: self._versions.promote(version_id))

    def rollback(self) -> Version:
        """Return to the previous version. Raises VersionInUse if there is none, BundleError if it cannot be used."""
        with self._lock:
            return self._change(self._versions.previous(), self._versions.rollback)

    def close(self) -> None:
        """Caption the queued photos, also those of earlier captioners, and stop following."""
        self._follower.close()
        with self._lock:
            self.serving.batcher.close(self._drain_seconds)
            for thread in self._closing:
                thread.join(self._drain_seconds)

    def _change(self, version: Version, write: Callable[[], Version]) -> Version:
        # Load before writing, so that a broken version never becomes current.
        serving = self.serving if version.id == self.serving.version else self._load_version(version)
        try:
            version = write()
        except BaseException:
            if serving is not self.serving:
                serving.batcher.close()
            raise
        self._exchange(serving)
        return version

    def _follow(self) -> None:
        """Load a version that another process has promoted."""
        current = self._versions.current
        if current.id == self.serving.version:
            self._rejected = None
            return
        with self._lock:
            current = self._versions.current
            if current.id in (self.serving.version, self._rejected) or self._follower.is_closed:
                return
            self._rejected = current.id  # until it is loaded, so that a failure is not retried at every poll
            self._exchange(self._load_version(current))
            self._rejected = None

    def _load_version(self, version: Version) -> Serving:
        if version.id == BUILT_IN and self._built_in is not None:
            captioner = self._built_in
        else:
            captioner = self._load(version.bundle)
        actual_version = model_version(captioner.bundle)
        if version.id not in (actual_version, BUILT_IN):
            raise changed_bundle(version)
        batcher = self._make_batcher(captioner)
        try:
            return Serving(version.id, captioner, actual_version, batcher.started.result(), batcher)
        except BaseException:
            batcher.close()
            raise

    def _exchange(self, serving: Serving) -> None:
        previous, self.serving = self.serving, serving
        if previous is not serving:
            log.info("Model version %s is now in use", serving.version)
            # The previous captioner finishes its queue; requests that it refuses retry with the new one.
            thread = threading.Thread(target=previous.batcher.close, args=(self._drain_seconds,), daemon=True)
            thread.start()
            self._closing = [*(each for each in self._closing if each.is_alive()), thread]


def warm_up(captioner: Captioner) -> tuple[int, int]:
    """Caption a grey photo to do one-time work before the first request -> grid rows, columns.

    The networks prepare memory for each thread that runs them, so this belongs into the thread of the captions.
    """
    size = captioner.model.config.image_size
    (best, *_), *_ = captioner.captions([Image.fromarray(np.full((size, size, 3), 127, dtype=np.uint8))])
    rows, columns = best.alphas.shape[1:]
    return rows, columns
