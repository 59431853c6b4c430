"""Trusted host names, as protection against DNS rebinding.

A browser lets a page read responses from its own host name. With DNS rebinding, that name resolves to 127.0.0.1 or to
another private address, so every request must name a trusted host (`TRUSTED_HOSTS` of Flask). IP addresses cannot be
rebound, so all of them pass.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

LOOPBACK = ("localhost", ".localhost")
_NAME = re.compile(r"\.?[^\s.:/\[\]@?#*\\]+(\.[^\s.:/\[\]@?#*\\]+)*(:\d+)?")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@?#\\]+)(:(?P<port>\d{0,5}))?")
_PORTS = {"http": 80, "https": 443}


def read_names(setting: str | None) -> list[str]:
    """Split a setting into names, without ports. A leading dot means all subdomains, `*` any name.

    Raises ValueError if an entry is not a host name.
    """
    names = []
    for entry in re.split(r"[,\s]+", setting or ""):
        if not entry:
            continue
        entry = entry.removeprefix("*") if entry.startswith("*.") else entry
        if entry != "*" and not is_address(entry) and not _NAME.fullmatch(entry):
            raise ValueError(f"{entry} is not a host name")
        if not is_address(entry):  # addresses are always trusted
            names.append(_normalise(entry.partition(":")[0]))
    return names


def trusted_names(host: str, setting: str | None) -> list[str]:
    """Return the loopback names, the name of the host that the service listens on, and the listed names.

    If the service listens on a non-loopback address, the name of this machine is trusted as well.
    """
    name = host
    if is_address(host):
        name = "" if ipaddress.ip_address(host).is_loopback else socket.gethostname()
    return list(dict.fromkeys([*LOOPBACK, *([_normalise(name)] if name else []), *read_names(setting)]))


def is_trusted(host: str | None, names: Collection[str]) -> bool:
    """Return whether a Host header names one of `names` or an IP address. A missing header passes."""
    if host is None:
        return True
    if (match := _HOST.fullmatch(host)) is None:
        return False
    return is_address(match["name"]) or _matches_any(match["name"], names)


def is_own_origin(origin: str, host: str | None, trusted: Collection[str]) -> bool:
    """Return whether an Origin header is the service's own origin, given the Host header of the request.

    If a proxy changes Host or drops its port, the name of the origin must be in `trusted`.
    """
    try:
        parts = urlsplit(origin)
        name, port = _normalise(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    if not name or parts.scheme not in _PORTS:
        return False
    match = _HOST.fullmatch(host or "")
    if match is not None and _normalise(match["name"].strip("[]")) == name:
        if port == int(match["port"] or _PORTS[parts.scheme]):
            return True
        if match["port"]:
            return False
    return _matches_any(name, trusted)


def is_address(host: str) -> bool:
    """Return whether a host is an IP address in URL notation: 127.0.0.1, [::1], with or without a port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host
    if name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _matches_any(name: str, names: Collection[str]) -> bool:
    name = _normalise(name)
    return any(
        pattern == "*" or name == pattern.removeprefix(".") or (pattern.startswith(".") and name.endswith(pattern))
        for pattern in names
    )


def _normalise(name: str) -> str:
    """Return a name in lower case and ASCII (IDNA), without a trailing dot."""
    name = name.lower().removesuffix(".")
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
