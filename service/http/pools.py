"""Thread pools of the server, one for each kind of request, so that no kind can block another.

Requests wait for models, locks and disks, up to their deadline. With a single pool, a hundred requests that waited for
one lock blocked the page and even the health checks.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

from service.settings import Settings, cores

FOLLOWERS = 16
"""Maximum number of clients that follow trainings and collections at once; each occupies a thread."""
THREADS = {
    "alive": 1,  # separate, so that slow checks and hanging disks cannot delay it
    "health": 2,
    "following": FOLLOWERS + 2,  # two more to refuse further clients
    "drawing": 16,
    "translating": 8,
    "sending": 8,
    "exporting": 4,
    "changing": 8,
    "reading": 32,
}
"""Threads for each kind of request; captioning depends on the settings."""

_DRAWING_PATH = re.compile(
    r"/api/(captions/[^/]+/(evidence|steps|figure\.png|overlays/[^/]+)|models/[^/]+/bundle\.zip|trainings/[^/]+/samples/[^/]+)"
)
_TRANSLATING_PATH = re.compile(r"/api/(captions/[^/]+|translations)/matrix\.png")
_FOLLOWING_PATH = re.compile(r"/api/(trainings|collections)/[^/]+/events")
_EXPORTING_PATH = re.compile(r"/api/collections/[^/]+/export")
_CAPTION_PATH = re.compile(r"/api/captions/[^/]+")
_SENDING_PATH = re.compile(
    r"/api/(datasets|models|trainings|models/rollback|models/[^/]+/promote|collections|collections/[^/]+/(photos|dataset))"
)


def kind_of(method: str, path: str, query: str = "") -> str:
    """Return the kind of a request, which selects its pool."""
    if method == "POST" and path == "/api/captions":
        return "captioning"
    if method == "POST" and path == "/api/translations":
        return "translating"
    if method == "POST" and _SENDING_PATH.fullmatch(path):
        return "sending"
    if method not in ("GET", "HEAD", "OPTIONS"):
        return "changing"
    if path == "/api/health/live":
        return "alive"
    if path in ("/api/health/ready", "/metrics"):
        return "health"
    if _FOLLOWING_PATH.fullmatch(path):
        return "following"
    if _EXPORTING_PATH.fullmatch(path):
        return "exporting"
    if _TRANSLATING_PATH.fullmatch(path) or (_CAPTION_PATH.fullmatch(path) and "language" in parse_qs(query)):
        return "translating"
    return "drawing" if _DRAWING_PATH.fullmatch(path) else "reading"


def pool_sizes(settings: Settings) -> dict[str, int]:
    """Return the number of threads of each pool. Captioning: for decoding photos, the queue and the batch."""
    return {"captioning": settings.queue_size + settings.batch_size + cores(), **THREADS}


class Pools:
    """One waitress task dispatcher for each kind of request."""

    def __init__(self, sizes: dict[str, int], kind_of: Callable[[str, str, str], str] = kind_of) -> None:
        self._sizes, self._kind_of = sizes, kind_of
        self._pools = {kind: ThreadedTaskDispatcher() for kind in sizes}

    def start(self) -> None:
        for kind, pool in self._pools.items():
            pool.set_thread_count(self._sizes[kind])

    def add_task(self, channel: HTTPChannel) -> None:
        """Queue the next request of a connection in the pool of its kind."""
        request = channel.requests[0]
        # Requests that waitress refuses are quick, and may have no method or path.
        kind = "reading" if request.error else self._kind_of(request.command, request.path, request.query)
        self._pools[kind].add_task(channel)

    def shutdown(self, seconds: float) -> bool:
        """Stop all threads and drop queued requests -> whether all threads ended in time."""
        deadline = time.monotonic() + seconds
        for pool in self._pools.values():
            pool.set_thread_count(0)
        for pool in self._pools.values():
            pool.shutdown(timeout=max(0.1, deadline - time.monotonic()))
        return not any(pool.threads for pool in self._pools.values())
