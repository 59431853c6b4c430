"""Bearer-token authentication for admin operations."""

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from captioner.errors import ConfigError
from captioner.files import write_atomically
from service.access.minute_limits import MinuteLimit, client_of
from service.settings import Settings

TOKEN_FILE = "admin-token"
MAX_FAILURES = 10
"""Wrong tokens allowed per client and minute; beyond that, requests with a token are refused unchecked."""

_GUARDED = ("/api/datasets", "/api/trainings", "/api/models")
_OPEN = "/api/models/current"
_CAPTION = re.compile("/api/captions/[^/]+")
_COLLECTION = re.compile("/api/collections/[^/]+")
_COLLECTION_DATA_SET = re.compile("/api/collections/[^/]+/dataset")
_LARGE = re.compile("/api/(datasets|models|collections|collections/[^/]+/photos)")


class TokenMissing(Exception):
    """The request needs the token and has none."""


class TokenWrong(Exception):
    """The token of the request is wrong."""


class TooManyFailures(Exception):
    """Too many wrong tokens from one address. seconds: wait before the next attempt."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def needs_token(method: str, path: str) -> bool:
    """Return whether a request needs the token: it changes shared state, or reads data of administrators."""
    if method == "DELETE" and _CAPTION.fullmatch(path):
        return True
    if path == "/api/collections":  # the address of a collection is known to those who made it, or were given it
        return method not in ("POST", "OPTIONS")
    if path.startswith("/api/collections/"):
        changes = method == "DELETE" or (method == "PATCH" and _COLLECTION.fullmatch(path) is not None)
        return changes or _COLLECTION_DATA_SET.fullmatch(path) is not None
    return path != _OPEN and any(path == prefix or path.startswith(f"{prefix}/") for prefix in _GUARDED)


def takes_large_body(method: str, path: str) -> bool:
    """Return whether the body of a request with the token may be as large as a data set."""
    return method == "POST" and _LARGE.fullmatch(path) is not None


def admin_token(settings: Settings) -> tuple[str, bool]:
    """Return the token of the settings, or the token in the data folder, which is created if missing.

    -> the token, and whether to print it: a token from the settings is not printed.
    Raises ConfigError if the token file cannot be read or written.
    """
    if settings.admin_token is not None:
        return settings.admin_token.get_secret_value(), False
    path = settings.home / TOKEN_FILE
    try:
        return _read_token(path) or _create_token(path), True
    except OSError as error:
        raise ConfigError(
            f"the token file {path} cannot be used ({error.strerror or error}): make it readable and writable, or"
            " set CAPTIONER_ADMIN_TOKEN"
        ) from error


def _read_token(path: Path) -> str | None:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except ValueError:
        return None
    os.chmod(path, 0o600)
    return token or None


def _create_token(path: Path) -> str:
    """Create the token. Processes that do so at the same time all get the same one."""
    if path.exists() and _read_token(path) is None:
        path.unlink()  # empty or damaged
    with contextlib.suppress(FileExistsError):
        write_atomically(path, secrets.token_urlsafe(32) + "\n", permissions=0o600, replace=False)
    token = _read_token(path)
    assert token is not None
    return token


class Guard:
    """Checks tokens and limits wrong ones per client. Thread-safe; with Redis, replicas share the count."""

    def __init__(self, token: str, redis_url: str | None = None) -> None:
        self._token = token.encode()
        self._failures = MinuteLimit(MAX_FAILURES, "wrong tokens", redis_url)

    def check(self, authorization: str | None, address: str) -> None:
        """Check an Authorization header. Raises TokenMissing, TokenWrong or TooManyFailures."""
        if not authorization:
            raise TokenMissing
        client = client_of(address)
        if (seconds := self._failures.seconds_to_wait(client)) is not None:
            raise TooManyFailures(seconds)
        if not self.has_token(authorization):
            self._failures.count(client)
            raise TokenWrong

    def has_token(self, authorization: str | None) -> bool:
        """Return whether a header has the token, compared in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        return hmac.compare_digest(token.strip().encode(), self._token) and scheme.lower() == "bearer"

    def allows(self, headers: Mapping[str, str], address: str) -> bool:
        """Return whether `check` would pass, without counting a failure. headers: with waitress's names."""
        has_token = self.has_token(headers.get("AUTHORIZATION"))
        return has_token and self._failures.seconds_to_wait(client_of(address)) is None
