"""Threads of the server, in one pool for each kind of request: none of them can take the threads of another.

Requests wait for models, locks and disks, each for up to its deadline. In one pool for all of them, a hundred that wait
for the same lock kept the page and even the health checks from being answered.
"""

import re
import time
from collections.abc import Callable

from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

from service.settings import Settings, cores

FOLLOWERS = 16
"""Clients that may follow trainings at once, each of which takes a thread of its own."""
THREADS = {
    "alive": 1,  # of its own, so that slow checks and hanging disks cannot delay it
    "health": 2,
    "following": FOLLOWERS + 2,  # these answer that there are enough
    "drawing": 16,
    "sending": 8,
    "changing": 8,
    "reading": 32,
}
"""By kind of request, beside captions."""

_DRAWN = re.compile(
    r"/api/(captions/[^/]+/(evidence|figure\.png|overlays/[^/]+)|models/[^/]+/bundle\.zip|trainings/[^/]+/samples/[^/]+)"
)
_FOLLOWED = re.compile(r"/api/trainings/[^/]+/events")
_SENT = re.compile(r"/api/(datasets|models|trainings|models/rollback|models/[^/]+/promote)")


def kind_of(method: str, path: str) -> str:
    """The pool whose threads answer a request."""
    if method == "POST" and path == "/api/captions":
        return "captioning"
    if method == "POST" and _SENT.fullmatch(path):
        return "sending"
    if method not in ("GET", "HEAD", "OPTIONS"):
        return "changing"
    if path == "/api/health/live":
        return "alive"
    if path in ("/api/health/ready", "/metrics"):
        return "health"
    if _FOLLOWED.fullmatch(path):
        return "following"
    return "drawing" if _DRAWN.fullmatch(path) else "reading"


def pool_sizes(settings: Settings) -> dict[str, int]:
    """The number of threads of each kind. For captioning: those that decode a photo, wait, or are in the batch."""
    return {"captioning": settings.queue_size + settings.batch_size + cores(), **THREADS}


class Pools:
    """Waitress's dispatcher of tasks, once for each kind of request."""

    def __init__(self, sizes: dict[str, int], kind_of: Callable[[str, str], str] = kind_of) -> None:
        self._sizes, self._kind_of = sizes, kind_of
        self._pools = {kind: ThreadedTaskDispatcher() for kind in sizes}

    def start(self) -> None:
        for kind, pool in self._pools.items():
            pool.set_thread_count(self._sizes[kind])

    def add_task(self, channel: HTTPChannel) -> None:
        """Let the next request of a connection be answered by a thread of its kind."""
        request = channel.requests[0]
        # What waitress refuses itself takes no time, and may have neither method nor path.
        kind = "reading" if request.error else self._kind_of(request.command, request.path)
        self._pools[kind].add_task(channel)

    def shutdown(self, seconds: float) -> bool:
        """End all threads; drop what still waits for one -> whether all have ended in time."""
        end = time.monotonic() + seconds
        for pool in self._pools.values():
            pool.set_thread_count(0)
        for pool in self._pools.values():
            pool.shutdown(timeout=max(0.1, end - time.monotonic()))
        return not any(pool.threads for pool in self._pools.values())
