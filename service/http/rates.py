"""Flask-Limiter for requests that take much processor time."""

import re

from flask import Flask, request
from flask_limiter import Limiter, RequestLimit

from service.http.minute_limits import SCHEME, client_of, seconds_until

_POST_PATHS = ("/api/captions", "/api/datasets", "/api/models", "/api/trainings")
_DRAWING_PATH = re.compile(r"/api/captions/[^/]+/(evidence|steps|figure\.png|overlays/[^/]+)")


class RateLimitExceeded(Exception):
    """A client has reached the limit. `seconds`: time until its next request may succeed."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def is_costly(method: str, path: str) -> bool:
    """Return whether a request is expensive: captions, maps, steps, drawn pictures, uploads, starts of trainings."""
    return method == "POST" and path in _POST_PATHS or method != "OPTIONS" and _DRAWING_PATH.fullmatch(path) is not None


def limit_rates(app: Flask, per_minute: int, redis_url: str | None = None) -> None:
    """Limit the expensive requests of each client, from the next `before_request` of the app on.

    per_minute: 0 for no limit. redis_url: Redis in which replicas share counts. A refused request is not counted, and
    raises RateLimitExceeded.
    """
    Limiter(
        _client_of_request,
        app=app,
        application_limits=[f"{per_minute} per minute"],
        application_limits_exempt_when=lambda: not is_costly(request.method, request.path),
        strategy="moving-window",
        storage_uri=f"{SCHEME}://",
        storage_options={"name": "costly requests", "redis_url": redis_url},
        on_breach=_raise_limit_exceeded,
        enabled=per_minute > 0,
    )


def _raise_limit_exceeded(limit: RequestLimit) -> None:
    raise RateLimitExceeded(seconds_until(limit.window.reset_time))


def _client_of_request() -> str:
    return client_of(request.remote_addr)
