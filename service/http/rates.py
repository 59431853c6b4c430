"""Flask-Limiter for requests that take much processor time."""

import re

from flask import Flask, request
from flask_limiter import Limiter, RequestLimit

from service.http.minute_limits import SCHEME, client_of, seconds_until

_UPLOAD_PATHS = ("/api/captions", "/api/datasets", "/api/models", "/api/trainings")
_TRANSLATIONS_PATH = "/api/translations"
_MATRIX_PATH = f"{_TRANSLATIONS_PATH}/matrix.png"
_DRAWING_PATH = re.compile(r"/api/captions/[^/]+/(evidence|steps|figure\.png|matrix\.png|overlays/[^/]+)")
_CAPTION_PATH = re.compile(r"/api/captions/[^/]+")


class RateLimitExceeded(Exception):
    """A client has reached the limit. `seconds`: time until its next request may succeed."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def is_costly(method: str, path: str, translates: bool = False) -> bool:
    """Return whether a request is expensive: captions, translations, maps, steps, drawn pictures, uploads, trainings.

    translates: whether the query names a language to translate a stored caption to.
    """
    if method in ("POST", "OPTIONS"):
        return is_upload(method, path) or (method, path) == ("POST", _TRANSLATIONS_PATH)
    is_drawn = path == _MATRIX_PATH or _DRAWING_PATH.fullmatch(path) is not None
    return is_drawn or (translates and _CAPTION_PATH.fullmatch(path) is not None)


def is_upload(method: str, path: str) -> bool:
    """Return whether a request stores something: photos, data sets, captioners and trainings."""
    return method == "POST" and path in _UPLOAD_PATHS


def limit_rates(app: Flask, per_minute: int, redis_url: str | None = None) -> None:
    """Limit the expensive requests of each client, from the next `before_request` of the app on.

    per_minute: 0 for no limit. redis_url: Redis in which replicas share counts. A refused request is not counted, and
    raises RateLimitExceeded.
    """
    Limiter(
        _client_of_request,
        app=app,
        application_limits=[f"{per_minute} per minute"],
        application_limits_exempt_when=lambda: not is_costly(request.method, request.path, "language" in request.args),
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
