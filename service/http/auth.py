"""Who may change what others see: whoever has the token."""

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from captioner.errors import ConfigError
from captioner.files import write_atomically
from service.http.minute_limits import MinuteLimit
from service.settings import Settings

TOKEN_FILE = "admin-token"
FAILURES = 10
"""Wrong tokens from one address in a minute; beyond that, it is not looked at until the minute has passed."""

_GUARDED = ("/api/datasets", "/api/trainings", "/api/models")
_OPEN = "/api/models/current"
_CAPTION = re.compile("/api/captions/[^/]+")
_LARGE = ("/api/datasets", "/api/models")


class TokenMissing(Exception):
    """A request that needs the token has none."""


class TokenWrong(Exception):
    """A request has a token that is not the one."""


class TooManyFailures(Exception):
    """`seconds` must pass before a request from this address is looked at again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def needs_token(method: str, path: str) -> bool:
    """Whether a request may change what others see, or tell of what only those who may do so should know."""
    if method == "DELETE" and _CAPTION.fullmatch(path):
        return True
    return path != _OPEN and any(path == prefix or path.startswith(f"{prefix}/") for prefix in _GUARDED)


def takes_large_body(method: str, path: str) -> bool:
    """Whether what comes with a request may be as large as a data set."""
    return method == "POST" and path in _LARGE


def admin_token(settings: Settings) -> tuple[str, bool]:
    """The token that the settings name, or else the one of the data folder, made where there is none.

    -> the token, whether it may be printed: one that was set on purpose is known already. Raises ConfigError.
    """
    if settings.admin_token is not None:
        return settings.admin_token.get_secret_value(), False
    path = settings.home / TOKEN_FILE
    try:
        return _read(path) or _made(path), True
    except OSError as error:
        raise ConfigError(
            f"the token cannot be kept in {path} ({error.strerror or error}): see that it can be read and written, or"
            " set CAPTIONER_ADMIN_TOKEN"
        ) from error


def _read(path: Path) -> str | None:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except ValueError:
        return None
    os.chmod(path, 0o600)
    return token or None


def _made(path: Path) -> str:
    """Create the token. Processes that do so at the same time all get the same one."""
    if path.exists() and _read(path) is None:
        path.unlink()  # empty or damaged
    with contextlib.suppress(FileExistsError):
        write_atomically(path, secrets.token_urlsafe(32) + "\n", permissions=0o600, replace=False)
    token = _read(path)
    assert token is not None
    return token


class Guard:
    """Knows the token, and who has guessed at it too often. Threads share it, and replicas with a Redis its count."""

    def __init__(self, token: str, redis_url: str | None = None) -> None:
        self._token = token.encode()
        self._failures = MinuteLimit(FAILURES, "wrong tokens", redis_url)

    def check(self, authorization: str | None, address: str) -> None:
        """Let a request with this Authorization header pass, or raise TokenMissing, TokenWrong or TooManyFailures."""
        if not authorization:
            raise TokenMissing
        if (seconds := self._failures.refused_for(address)) is not None:
            raise TooManyFailures(seconds)
        if not self.knows(authorization):
            self._failures.count(address)
            raise TokenWrong

    def knows(self, authorization: str | None) -> bool:
        """Whether a header has the token; compared in a time that tells nothing of how much of it is right."""
        kind, _, token = (authorization or "").partition(" ")
        return hmac.compare_digest(token.strip().encode(), self._token) and kind.lower() == "bearer"

    def lets_pass(self, headers: Mapping[str, str], address: str) -> bool:
        """Whether `check` would, without counting; `headers` as waitress names them."""
        return self.knows(headers.get("AUTHORIZATION")) and self._failures.refused_for(address) is None
