"""Server-sent events of things that change: trainings and collections."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from flask import Response

from service.errors import Problem
from service.http.pools import FOLLOWERS
from service.inference.captioning import CaptionService

_POLL_SECONDS = 0.5
_KEEPALIVE_SECONDS = 10.0

_followers = threading.BoundedSemaphore(FOLLOWERS)

Poll = Callable[[], tuple[Sequence[str], bool]]
"""Returns the new events, and whether the stream ends with them."""


def event(name: str, data: str, event_id: int | None = None) -> str:
    """Return a server-sent event. data: JSON in one line."""
    id_line = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{id_line}data: {data}\n\n"


def follow(service: CaptionService, poll: Poll) -> Response:
    """Return a stream of the events of `poll`, which is called twice a second. Raises Problem (503)."""
    if not _followers.acquire(blocking=False):
        raise Problem(
            503,
            f"{FOLLOWERS} clients already follow trainings and collections: poll without /events.",
            retry_after=10,
        )
    response = Response(
        _stream(service, poll),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    response.call_on_close(_followers.release)
    return response


def _stream(service: CaptionService, poll: Poll) -> Iterator[str]:
    sent_at = time.monotonic()
    while not service.is_stopping:
        events, is_last = poll()
        if events:
            yield "".join(events)
            sent_at = time.monotonic()
        elif time.monotonic() - sent_at > _KEEPALIVE_SECONDS:
            yield ": still here\n\n"  # detects a client that has disconnected
            sent_at = time.monotonic()
        if is_last:
            return
        time.sleep(_POLL_SECONDS)
