"""Flask-Limiter for requests that take much processor time."""

import re

from flask import Flask, request
from flask_limiter import Limiter, RequestLimit

from service.access.minute_limits import SCHEME, client_of, seconds_until

_UPLOAD_PATH = re.compile("/api/(captions|datasets|models|trainings|collections|collections/[^/]+/photos)")
_COLLECTION_WORK_PATH = re.compile("/api/collections/[^/]+/(caption-again|replace|dataset)")
_EXPORT_PATH = re.compile("/api/collections/[^/]+/export")
_COLLECTIONS = "/api/collections"
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
    """Return whether a request is expensive: captions, translations, maps, pictures, uploads, trainings, exports.

    translates: whether the query names a language to translate a stored caption to.
    """
    if method in ("POST", "OPTIONS"):
        is_work = path == _TRANSLATIONS_PATH or _COLLECTION_WORK_PATH.fullmatch(path) is not None
        return is_upload(method, path) or (method == "POST" and is_work)
    if _EXPORT_PATH.fullmatch(path):
        return True
    is_drawn = path == _MATRIX_PATH or _DRAWING_PATH.fullmatch(path) is not None
    return is_drawn or (translates and _CAPTION_PATH.fullmatch(path) is not None)


def is_upload(method: str, path: str) -> bool:
    """Return whether a request stores something: photos, data sets, captioners, trainings and collections."""
    return method == "POST" and _UPLOAD_PATH.fullmatch(path) is not None


def limit_rates(app: Flask, per_minute: int, redis_url: str | None = None, upload_bytes: int = 20_000_000) -> None:
    """Limit the expensive requests of each client, from the next `before_request` of the app on.

    per_minute: 0 for no limit. redis_url: Redis in which replicas share counts. upload_bytes: size for
    each of which photos of a collection count as one request more. A refused request is not counted, and raises
    RateLimitExceeded.
    """

    def cost() -> int:
        if not is_upload(request.method, request.path) or not request.path.startswith(_COLLECTIONS):
            return 1
        return min(per_minute, 1 + (request.content_length or 0) // upload_bytes)

    Limiter(
        _client_of_request,
        app=app,
        application_limits=[f"{per_minute} per minute"],
        application_limits_cost=cost,
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
