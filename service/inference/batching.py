"""Batching: a bounded queue, and one thread that captions concurrent requests in one forward pass."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.images.fitting import ImageFrame

log = logging.getLogger(__name__)

BACKGROUND_BATCH_SIZE = 4
"""Maximum number of background photos in one forward pass: a request that arrives meanwhile waits for them."""
QUIET_BATCH_SIZE = 8
"""The same after `QUIET_SECONDS` without a request: a photo takes less time in a larger batch."""
QUIET_SECONDS = 10.0
BACKGROUND_WINDOW_SECONDS = 0.25
"""Time that a background photo waits for others to share its batch."""
BACKGROUND_PATIENCE_SECONDS = 5.0
"""Time since the last batch of background photos after which one runs first, although other photos wait."""

OnCaptionWords = Callable[[Caption], None]
"""Called in the model's thread with a photo's caption whenever more of its words are settled; must not block."""


class QueueFull(Exception):
    """The queue is full."""


class DeadlinePassed(Exception):
    """A request waited beyond its deadline."""


class Stopping(Exception):
    """The service is stopping and accepts no new photos."""


@dataclass(frozen=True)
class CaptionResult:
    """Result for one photo."""

    captions: list[Caption]
    """Best first."""
    queue_seconds: float
    encode_seconds: float
    """Encoding time of the photo's whole batch."""
    decode_words_seconds: float
    """Decoding time of all photos of the batch with the same options."""


@dataclass(frozen=True)
class _Job:
    pixels: np.ndarray  # [S, S, 3]
    frame: ImageFrame
    options: DecodingOptions
    deadline: float  # on the clock of time.monotonic
    on_words: OnCaptionWords | None
    in_background: bool
    submitted_at: float = field(default_factory=time.monotonic)
    future: Future[CaptionResult] = field(default_factory=Future)


class Batcher:
    """Captions prepared photos of many threads in batches.

    When the model is free, the queued photos form a batch of at most `batch_size`. A batch waits up to `window_seconds`
    for more photos if some are being prepared (`announce`), or if its first photo had to wait for the model: then a
    client that was just answered is likely to send another. A lone photo never waits.

    Background photos form batches of their own, small ones while requests arrive. They run while no other photo waits
    or is being prepared, and once after `BACKGROUND_PATIENCE_SECONDS`.
    """

    def __init__(
        self,
        captioner: Captioner,
        batch_size: int,
        window_seconds: float,
        queue_size: int,
        on_batch: Callable[[int], None] = lambda size: None,
        on_start: Callable[[], Any] = lambda: None,
    ) -> None:
        """on_batch: called with the size of each batch.
        on_start: called first, in the model's thread: `started` has its result.
        """
        self._captioner = captioner
        self._batch_size, self._window_seconds, self._queue_size = batch_size, window_seconds, queue_size
        self._on_batch, self._on_start = on_batch, on_start
        self.started: Future[Any] = Future()
        """Result of `on_start`, or its exception."""
        self._queue: deque[_Job] = deque()
        self._background: deque[_Job] = deque()
        self._upcoming = 0
        self._requested_at = -math.inf
        self._free_since = self._background_ended_at = time.monotonic()
        self._busy_since: float | None = None
        self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the model's thread is running."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Number of queued photos, without those of the background."""
        return len(self._queue)

    @property
    def busy_seconds(self) -> float:
        """Time that the model has spent on the current batch; 0 if it is free."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @contextmanager
    def announce(self) -> Iterator[None]:
        """Announce a photo that the caller prepares in this context and then submits."""
        with self._condition:
            self._upcoming += 1
        try:
            yield
        finally:
            with self._condition:
                self._upcoming -= 1
                self._condition.notify_all()

    def submit(
        self,
        pixels: np.ndarray,
        frame: ImageFrame,
        options: DecodingOptions,
        deadline: float,
        on_words: OnCaptionWords | None = None,
        in_background: bool = False,
    ) -> Future[CaptionResult]:
        """Queue a photo from `Captioner.prepare`: pixels [S, S, 3]. deadline: a time of `time.monotonic`.

        in_background: let other photos go first. The caller bounds the number of its photos; the queue does not.
        The future fails with DeadlinePassed if the deadline passes in the queue. Cancelling it removes the photo.
        Raises QueueFull or Stopping.
        """
        job = _Job(pixels, frame, options, deadline, on_words, in_background)
        with self._condition:
            if self._closed:
                raise Stopping
            if not in_background and len(self._queue) >= self._queue_size:
                raise QueueFull
            (self._background if in_background else self._queue).append(job)
            if not in_background:
                self._requested_at = job.submitted_at
            self._condition.notify_all()
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Refuse new photos, caption the queued ones, and end. timeout: in seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self.started.set_result(self._on_start())
        except BaseException as error:
            self.started.set_exception(error)
        while batch := self._next_batch():
            jobs = [job for job in batch if _can_run(job)]
            if jobs:
                self._on_batch(len(jobs))
                self._busy_since = time.monotonic()
                self._caption(jobs)
                self._busy_since = None
            self._free_since = time.monotonic()
            if batch[0].in_background:
                self._background_ended_at = self._free_since

    def _next_batch(self) -> list[_Job]:
        """Return the next batch; empty once the batcher is closed and the queue is empty."""
        with self._condition:
            while not self._queue and not self._closed and (seconds := self._background_seconds()) != 0:
                self._condition.wait(seconds)
            if not self._queue or self._is_background_overdue():
                return self._take(self._background, self._background_size())
            while len(self._queue) < self._batch_size and not self._closed:
                submitted_at = self._queue[0].submitted_at
                if not self._upcoming and submitted_at > self._free_since:
                    break
                seconds_left = max(submitted_at, self._free_since) + self._window_seconds - time.monotonic()
                if seconds_left <= 0:
                    break
                self._condition.wait(seconds_left)
            return self._take(self._queue, self._batch_size)

    def _take(self, queue: deque[_Job], size: int) -> list[_Job]:
        return [queue.popleft() for _ in range(min(len(queue), size))]

    def _background_seconds(self) -> float | None:
        """Return the seconds until a batch of background photos may run; None if there are none."""
        if not self._background:
            return None
        if self._upcoming:  # let the photo that is being prepared go first
            return max(0, self._background_overdue_at() - time.monotonic())
        if len(self._background) >= self._background_size():
            return 0
        return max(0, self._background[0].submitted_at + BACKGROUND_WINDOW_SECONDS - time.monotonic())

    def _background_size(self) -> int:
        """Return the maximum number of background photos of the next batch."""
        is_quiet = time.monotonic() - self._requested_at > QUIET_SECONDS
        return min(self._batch_size, QUIET_BATCH_SIZE if is_quiet else BACKGROUND_BATCH_SIZE)

    def _is_background_overdue(self) -> bool:
        return bool(self._background) and time.monotonic() >= self._background_overdue_at()

    def _background_overdue_at(self) -> float:
        since = max(self._background[0].submitted_at, self._background_ended_at)
        return since + BACKGROUND_PATIENCE_SECONDS

    def _caption(self, batch: Sequence[_Job]) -> None:
        """Caption a batch. If it fails, caption each photo separately, so that one photo cannot fail others."""
        try:
            self._caption_together(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            log.exception("A batch of %d photos failed: captioning them one by one", len(batch))
            for job in batch:
                if not job.future.done():
                    self._caption([job])

    def _caption_together(self, batch: Sequence[_Job]) -> None:
        started_at = time.monotonic()
        annotations = self._captioner.encode(np.stack([job.pixels for job in batch]))  # [B, H, W, D]
        encoded_at = time.monotonic()
        for options in dict.fromkeys(job.options for job in batch):
            rows = [row for row, job in enumerate(batch) if job.options == options]
            jobs = [batch[row] for row in rows]
            own_annotations = annotations if len(jobs) == len(batch) else annotations[rows]  # which copies them
            decoding_at = time.monotonic()
            captions = self._captioner.caption_annotations(
                own_annotations, [job.frame for job in jobs], options, _combine_callbacks(jobs)
            )
            seconds = time.monotonic() - decoding_at
            for job, job_captions in zip(jobs, captions, strict=True):
                job.future.set_result(
                    CaptionResult(job_captions, started_at - job.submitted_at, encoded_at - started_at, seconds)
                )


def _can_run(job: _Job) -> bool:
    """Return whether a job is neither cancelled nor past its deadline, which fails it."""
    if not job.future.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.future.set_exception(DeadlinePassed())
        return False
    return True


def _combine_callbacks(jobs: Sequence[_Job]) -> Callable[[int, Caption], None] | None:
    if all(job.on_words is None for job in jobs):
        return None

    def on_words(image: int, caption: Caption) -> None:
        if (callback := jobs[image].on_words) is not None:
            callback(caption)

    return on_words
