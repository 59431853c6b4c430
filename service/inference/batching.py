"""Concurrent requests share one forward pass: a bounded queue, and the one thread that runs the model."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.images.photo import ImageFrame

log = logging.getLogger(__name__)

OnCaptionWords = Callable[[Caption], None]
"""Called in the model's thread with the caption of one photo whenever more of its words are sure; must not block."""


class QueueFull(Exception):
    """More requests wait already than the queue holds."""


class DeadlinePassed(Exception):
    """A request waited longer than it may."""


class Stopping(Exception):
    """The service ends and takes no new work."""


@dataclass(frozen=True)
class Captioned:
    """What became of one photo."""

    captions: list[Caption]
    """Best first."""
    queue_seconds: float
    encode_seconds: float
    """Of the whole batch that the photo was in."""
    decode_words_seconds: float
    """Of all photos of that batch that have the same options."""


@dataclass(frozen=True)
class _Job:
    pixels: np.ndarray  # [S, S, 3]
    frame: ImageFrame
    options: DecodingOptions
    deadline: float  # on the clock of time.monotonic
    watch: OnCaptionWords | None
    submitted: float = field(default_factory=time.monotonic)
    future: Future[Captioned] = field(default_factory=Future)


class Batcher:
    """Captions prepared photos for many threads at once.

    A batch is what waits when the model is free, at most `batch_size` photos. It waits for more up to `window_seconds`
    after its first photo was submitted and the model was free, where others are known to come (`coming`), or likely to:
    where a photo had to wait for the model, whoever was just answered often comes again. A lone photo never waits.
    """

    def __init__(
        self,
        captioner: Captioner,
        batch_size: int,
        window_seconds: float,
        queue_size: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        """`on_batch` is told the size of every batch."""
        self._captioner = captioner
        self._batch_size, self._window_seconds, self._queue_size = batch_size, window_seconds, queue_size
        self._on_batch = on_batch
        self._queue: deque[_Job] = deque()
        self._coming = 0
        self._free_since = time.monotonic()
        self._busy_since: float | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether photos are captioned, as opposed to only collected."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Photos that wait."""
        return len(self._queue)

    @property
    def busy_seconds(self) -> float:
        """For which the model has been at its batch; 0 where it is free."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While a thread prepares a photo that it will submit at the end of this context."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def submit(
        self,
        pixels: np.ndarray,
        frame: ImageFrame,
        options: DecodingOptions,
        deadline: float,
        watch: OnCaptionWords | None = None,
    ) -> Future[Captioned]:
        """Queue a photo from `Captioner.prepare`: pixels [S, S, 3]. `deadline` is a time of `time.monotonic`.

        The future fails with DeadlinePassed where the deadline came before its turn. Cancelling it takes the photo out.
        Raises QueueFull or Stopping.
        """
        job = _Job(pixels, frame, options, deadline, watch)
        with self._changed:
            if self._closed:
                raise Stopping
            if len(self._queue) >= self._queue_size:
                raise QueueFull
            self._queue.append(job)
            self._changed.notify_all()
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Take no more photos, caption those that wait, and end; `timeout` in seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while batch := self._next_batch():
            live = [job for job in batch if _is_wanted(job)]
            if live:
                self._on_batch(len(live))
                self._busy_since = time.monotonic()
                self._caption(live)
                self._busy_since = None
            self._free_since = time.monotonic()

    def _next_batch(self) -> list[_Job]:
        """What is captioned next; nothing once all is done and the batcher is closed."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            while self._queue and len(self._queue) < self._batch_size and not self._closed:
                submitted = self._queue[0].submitted
                if not self._coming and submitted > self._free_since:
                    break
                left = max(submitted, self._free_since) + self._window_seconds - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_size))]

    def _caption(self, batch: Sequence[_Job]) -> None:
        """Caption a batch; where that fails, each photo by itself, so that one photo's failure stays its own."""
        try:
            self._caption_together(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            log.exception("A batch of %d photos failed: captioning each by itself", len(batch))
            for job in batch:
                if not job.future.done():
                    self._caption([job])

    def _caption_together(self, batch: Sequence[_Job]) -> None:
        started = time.monotonic()
        annotations = self._captioner.encode(np.stack([job.pixels for job in batch]))  # [B, H, W, D]
        encoded = time.monotonic()
        for options in dict.fromkeys(job.options for job in batch):
            rows = [row for row, job in enumerate(batch) if job.options == options]
            jobs = [batch[row] for row in rows]
            begun = time.monotonic()
            captions = self._captioner.caption_annotations(
                annotations[rows], [job.frame for job in jobs], options, _watch_of(jobs)
            )
            seconds = time.monotonic() - begun
            for job, found in zip(jobs, captions, strict=True):
                job.future.set_result(Captioned(found, started - job.submitted, encoded - started, seconds))


def _is_wanted(job: _Job) -> bool:
    """Whether a job's turn came in time, and nobody has taken it back."""
    if not job.future.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.future.set_exception(DeadlinePassed())
        return False
    return True


def _watch_of(jobs: Sequence[_Job]) -> Callable[[int, Caption], None] | None:
    if all(job.watch is None for job in jobs):
        return None

    def watch(image: int, caption: Caption) -> None:
        if (own := jobs[image].watch) is not None:
            own(caption)

    return watch
