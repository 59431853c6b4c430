"""The captioner that answers, and how another takes its place while photos are being captioned."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from captioner.captioner import Captioner
from captioner.errors import BundleError, CaptionerError
from service.inference.batching import Batcher
from service.store.fingerprint import model_version
from service.store.versions import BUILT_IN, Version, Versions

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""After which a version that another process has promoted serves, at the latest, once it is loaded."""


@dataclass(frozen=True)
class Serving:
    """A captioner with the queue before it."""

    version: str
    """An id of Versions."""
    captioner: Captioner
    model_version: str
    grid: tuple[int, int]
    batcher: Batcher


class Switch:
    """Holds the captioner that answers, and follows what the versions say is current."""

    def __init__(
        self,
        versions: Versions,
        load: Callable[[Path], Captioner],
        make_batcher: Callable[[Captioner], Batcher],
        drain_seconds: float,
        built_in: Captioner | None = None,
    ) -> None:
        """load: reads a captioner from its bundle; the built-in one, too, unless `built_in` is given. drain_seconds:
        for what the former captioner still has to do.

        Where the current version cannot be used, the built-in one serves. Raises CaptionerError where that cannot.
        """
        self._versions, self._load, self._make_batcher = versions, load, make_batcher
        self._drain_seconds, self._built_in = drain_seconds, built_in
        self._lock = threading.RLock()
        self._refused: str | None = None
        self._closed = threading.Event()
        current = versions.current
        try:
            self.serving = self._loaded(current)
        except CaptionerError as error:
            if current.id == BUILT_IN:
                raise
            log.error("Model version %s cannot be used, so the built-in captioner serves: %s", current.id, error)
            self._refused = current.id
            self.serving = self._loaded(versions.get(BUILT_IN))
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def promote(self, version_id: str) -> Version:
        """Let a version answer the next request. Raises UnknownVersion, or BundleError where it cannot be used."""
        with self._lock:
            return self._change(self._versions.get(version_id), lambda: self._versions.promote(version_id))

    def rollback(self) -> Version:
        """Let the version answer that did before. Raises VersionInUse where there is none, BundleError."""
        with self._lock:
            return self._change(self._versions.before(), self._versions.rollback)

    def close(self) -> None:
        """Caption what waits, and follow no more."""
        self._closed.set()
        with self._lock:
            self.serving.batcher.close(self._drain_seconds)

    def _change(self, version: Version, write: Callable[[], Version]) -> Version:
        # Loaded before it is written down: what cannot be used never becomes the current one.
        loaded = self.serving if version.id == self.serving.version else self._loaded(version)
        try:
            version = write()
        except BaseException:
            if loaded is not self.serving:
                loaded.batcher.close()
            raise
        self._exchange(loaded)
        return version

    def _watch(self) -> None:
        is_away = False
        while not self._closed.wait(POLL_SECONDS):
            try:
                self._follow()
                is_away = False
            except SQLAlchemyError as error:  # what serves goes on
                if not is_away:
                    log.error("Which model version is current cannot be read: %s", error)
                is_away = True
            except Exception:
                log.exception("The current model version cannot be used: the one before goes on serving")

    def _follow(self) -> None:
        """Take what another process has promoted."""
        current = self._versions.current
        if current.id == self.serving.version:
            self._refused = None
            return
        with self._lock:
            current = self._versions.current
            if current.id in (self.serving.version, self._refused) or self._closed.is_set():
                return
            self._refused = current.id  # until it is loaded: what fails is not tried twice a second
            self._exchange(self._loaded(current))
            self._refused = None

    def _loaded(self, version: Version) -> Serving:
        if version.id == BUILT_IN and self._built_in is not None:
            captioner = self._built_in
        else:
            captioner = self._load(version.bundle)
        made = model_version(captioner.bundle)
        if version.id not in (made, BUILT_IN):
            raise BundleError(
                f"{version.bundle} is not what it was when it became version {version.id}: delete it, and add it anew"
            )
        return Serving(version.id, captioner, made, warm_up(captioner), self._make_batcher(captioner))

    def _exchange(self, loaded: Serving) -> None:
        former, self.serving = self.serving, loaded
        if former is not loaded:
            log.info("Model version %s serves", loaded.version)
            # What waits for the former one is captioned by it; who comes too late to wait there comes again.
            threading.Thread(target=former.batcher.close, args=(self._drain_seconds,), daemon=True).start()


def warm_up(captioner: Captioner) -> tuple[int, int]:
    """Caption a grey photo, so that the first real one does not wait for what is set up once -> grid rows, columns."""
    size = captioner.model.config.image_size
    (best, *_), *_ = captioner.captions([Image.fromarray(np.full((size, size, 3), 127, dtype=np.uint8))])
    rows, columns = best.alphas.shape[1:]
    return rows, columns
