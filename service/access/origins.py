"""Checks of the Host and Origin headers: browsers may only send requests from the service's own pages."""

from flask import Request, current_app, request
from werkzeug.exceptions import SecurityError

from service.hosts import is_own_origin, is_trusted

_SAFE = ("GET", "HEAD", "OPTIONS")
_FOREIGN = ("cross-site", "same-site")
"""Sec-Fetch-Site of other origins; same-site covers other ports and sibling domains."""
_SETTING = "CAPTIONER_TRUSTED_HOSTS"


class UntrustedHost(Exception):
    """The Host header names no trusted host."""


class ForeignOrigin(Exception):
    """A page of another site sends a request that changes something."""


class HostCheckedRequest(Request):
    """A request whose Host header Flask compares with TRUSTED_HOSTS.

    `is_trusted` is checked first, since Werkzeug's comparison supports neither IPv6 addresses nor capitals.
    """

    _names: list[str] | None = None

    @property
    def trusted_hosts(self) -> list[str] | None:
        """The names that Werkzeug compares the host with; None if it is already trusted."""
        if self._names is None or is_trusted(self.environ.get("HTTP_HOST"), self._names):
            return None
        return self._names

    @trusted_hosts.setter
    def trusted_hosts(self, names: list[str] | None) -> None:
        self._names = names


def refuse_untrusted() -> None:
    """Raise UntrustedHost, and ForeignOrigin for unsafe methods from other origins; each says what to do."""
    if isinstance(request.routing_exception, SecurityError):
        raise UntrustedHost(
            f"The host {request.environ.get('HTTP_HOST', '')[:100]!r} is not trusted by this service: use localhost or"
            f" its IP address, or ask its administrator to add the name to {_SETTING}"
        )
    if request.method in _SAFE:
        return
    origin = request.headers.get("Origin")
    trusted = [name for name in current_app.config["TRUSTED_ORIGINS"] if name != "*"]
    is_foreign = request.headers.get("Sec-Fetch-Site") in _FOREIGN
    if is_foreign or (origin is not None and not is_own_origin(origin, request.headers.get("Host"), trusted)):
        page = f"A page of another site ({origin[:100]})" if origin else "A page of another site"
        raise ForeignOrigin(
            f"{page} may not do this: use the service's own page, or its API directly. If a proxy gives the service"
            f" another name, its administrator must add that name to {_SETTING}"
        )
